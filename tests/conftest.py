"""Fixtures of all rings, one module for each thing that they start."""

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.containerd",
    "tests.fixtures.fleet",
    "tests.fixtures.kubernetes",
    "tests.fixtures.nats",
    "tests.fixtures.registry",
]
