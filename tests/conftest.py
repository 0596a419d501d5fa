"""Fixtures of all rings, one module for each thing that they start."""

import os
import signal

import pytest
from hypothesis import settings

# A shell's job in the background ignores SIGINT, and so would whatever the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On shared cores a deadline of a property would measure the neighbours. What the fast ring looks at
# shortly, `make test-long` searches for long.
settings.register_profile("short", deadline=None, max_examples=25)
settings.register_profile("long", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("IPS_TEST_SEARCH", "short"))

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.containerd",
    "tests.fixtures.disk",
    "tests.fixtures.fleet",
    "tests.fixtures.kubernetes",
    "tests.fixtures.nats",
    "tests.fixtures.network",
    "tests.fixtures.registry",
]


@pytest.hookimpl(trylast=True)  # behind Hypothesis' own, which marks its tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End a search that hangs from outside.

    Hypothesis would take an exception of pytest-timeout for a fault that was found, look for the
    smallest example, and hang for good.
    """
    for item in items:
        if item.get_closest_marker("hypothesis") or item.get_closest_marker("deep"):
            item.add_marker(pytest.mark.timeout(900, method="thread"))
