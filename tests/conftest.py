"""Fixtures of all rings, one module for each thing that they start."""

import signal

from hypothesis import settings

# A shell's job in the background ignores SIGINT, and so would whatever the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On shared cores a deadline of a property would measure the neighbours.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

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
