"""Plausible bugs that are planted one at a time, and the fast tests that are to find them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from sandbox.virtual.time import Deadlock

FOUND = (AssertionError, TimeoutError, Deadlock, pytest.fail.Exception)
"""How a test says no. Anything else is a fault of the planting."""

Plant = Callable[[pytest.MonkeyPatch], None]


class Faults:
    """The faults of one file, each with the module whose tests are to find it."""

    def __init__(self) -> None:
        self.all: list[tuple[ModuleType, Plant]] = []

    def found_by(self, ring: ModuleType) -> Callable[[Plant], Plant]:
        """A plausible bug, to be found by the tests of a module."""

        def plant(fault: Plant) -> Plant:
            self.all.append((ring, fault))
            return fault

        return plant

    @property
    def names(self) -> list[str]:
        """What each is called."""
        return [fault.__name__ for _, fault in self.all]


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


async def nothing_at_all(*_arguments: Any, **_options: Any) -> None:
    """The same, where it is awaited."""


def expect_found(ring: ModuleType) -> None:
    """Run the tests of a module until one fails, as one has to."""
    with pytest.raises(FOUND):
        run_all(ring)


def ring_of(module: ModuleType) -> Iterator[Callable[[], None]]:
    """The tests of a module that need no fixture, each with all its parameters."""
    for name, test in vars(module).items():
        if name.startswith("test_") and callable(test):
            for arguments in cases_of(test):
                missing = inspect.signature(test).parameters.keys() - arguments
                if not missing:
                    yield partial(test, **arguments)


def run_all(module: ModuleType) -> None:
    """Run the tests of a module until one fails."""
    for test in ring_of(module):
        test()


def cases_of(test: Any) -> Iterator[dict[str, Any]]:
    """What pytest would call a test with."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for values in product(*(mark.args[1] for mark in marks)):
        case: dict[str, Any] = {}
        for mark, value in zip(marks, values, strict=True):
            names = mark.args[0]
            case |= {names: value} if isinstance(names, str) else zip(names, value, strict=True)
        yield case
