"""Which functions of the programs are entered, in order, from one moment to another.

A function counts as it is entered, a coroutine once however often it goes on; what a comprehension
or a lambda is entered for is not counted.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
COORDINATOR: Final = ("coordinator/", "common/")
BY_THE_CLOCK: Final = frozenset(
    {
        *("coordinator/lease.py", "coordinator/engine/reception.py"),
        *("coordinator/engine/store_health.py", "coordinator/engine/store_clock.py"),
        "coordinator/engine/nodes.py",
    }
)
"""What works at its own times, beside any task: lease, pings, heartbeats."""
FUNCTIONS_BY_THE_CLOCK: Final = frozenset({"on_heartbeat", "_watch_bus", "_tell_waiting"})
"""The same, in modules that do other things too: the last tells followers why tasks wait."""
_GENERATOR: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_PROLOGUE: Final = 8
"""Up to this instruction a generator has not begun."""


class Entry(NamedTuple):
    """One function that was entered."""

    file: str
    """From the repository's root on."""
    name: str
    """Qualified: ``Class.method``."""


class CallTrace:
    """What was entered from ``begin`` until a stored outcome has counted.

    What is entered by an agent in the same process is left out, and what works by the clock.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.over = asyncio.Event()
        self._objects: dict[int, object] = {}
        """Kept, so that no other object gets the same id."""
        self._from_outside: Counter[int] = Counter()
        self._hidden = 0
        self._decided = False

    def begin(self) -> None:
        """Look at every call from now on."""
        sys.setprofile(self._see)

    def end(self) -> None:
        """Look at nothing any more."""
        sys.setprofile(None)

    def changes(self, files: Collection[str] = COORDINATOR) -> int:
        """How often the module changes from one entry to the next, in files that begin so."""
        seen = [entry.file for entry in self.entries if entry.file.startswith(tuple(files))]
        return sum(before != after for before, after in pairwise(seen))

    def entered(self) -> Counter[str]:
        """How often each object was entered by others: the type's name, the most of its objects."""
        found: Counter[str] = Counter()
        for key, count in self._from_outside.items():
            name = type(self._objects[key]).__name__
            found[name] = max(found[name], count)
        return found

    def methods(self) -> Counter[str]:
        """How often any method of each class was entered, by itself too."""
        return Counter(
            f"{entry.file}:{entry.name.split('.')[0]}"
            for entry in self.entries
            if "." in entry.name
        )

    def _see(self, frame: FrameType, event: str, _arg: Any) -> None:
        code = frame.f_code
        if event not in {"call", "return"} or not code.co_filename.startswith(f"{ROOT}/"):
            return
        file = code.co_filename.removeprefix(f"{ROOT}/")
        if not file.startswith(COORDINATOR):
            return
        if file in BY_THE_CLOCK or code.co_name in FUNCTIONS_BY_THE_CLOCK:
            self._hidden += 1 if event == "call" else -1
        elif self._hidden == 0 and event == "call":
            self._enter(file, frame)
        elif self._hidden == 0 and self._decided and code.co_name == "feed":
            self.end()
            self.over.set()

    def _enter(self, file: str, frame: FrameType) -> None:
        code = frame.f_code
        goes_on = code.co_flags & _GENERATOR and frame.f_lasti > _PROLOGUE
        callers = list(_callers(frame))
        if goes_on or code.co_name.startswith("<") or any(_is_of_agent(f) for f in callers):
            return
        self.entries.append(Entry(file, code.co_qualname))
        self._decided = self._decided or code.co_name == "_outcome_stored"
        one = frame.f_locals.get("self")
        ours = (f for f in callers if f.f_code.co_filename.startswith(f"{ROOT}/"))
        caller = next(ours, None)
        if one is None or code.co_name == "__init__":
            return
        if caller is None or caller.f_locals.get("self") is not one:
            self._objects[id(one)] = one
            self._from_outside[id(one)] += 1


def _callers(frame: FrameType) -> Iterator[FrameType]:
    caller = frame.f_back
    while caller is not None:
        yield caller
        caller = caller.f_back


def _is_of_agent(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(f"{ROOT}/agent/")
