"""Work that needs the store, while it is away."""

from __future__ import annotations

import asyncio
import random

import pytest

from common.bus import Conflict
from coordinator.engine.persistence import LONGEST_PAUSE_SECONDS, Persistently
from sandbox.virtual.time import virtual
from tests.engine.following import AWAY


class Work:
    """Fails so often, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.at: list[float] = []

    async def __call__(self) -> str:
        """One try."""
        self.at.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@virtual
async def test_work_is_tried_until_the_store_takes_it() -> None:
    """At once, then after growing pauses, none of them longer than a bound."""
    work = Work(*[AWAY] * 50, Conflict("lost"))
    assert await Persistently(random.Random(1))(work) == "done"
    assert len(work.at) == 52
    pauses = [later - sooner for sooner, later in zip(work.at, work.at[1:], strict=False)]
    assert pauses[0] == 0.0
    assert 0.25 < max(pauses) <= LONGEST_PAUSE_SECONDS
    assert len(set(pauses)) > 40


@virtual
async def test_what_is_no_fault_of_the_store_passes() -> None:
    """It would be the same for ever."""
    work = Work(AWAY, ValueError("ours"))
    with pytest.raises(ValueError, match="ours"):
        await Persistently(random.Random(1))(work)
    assert len(work.at) == 2


@virtual
async def test_waiting_can_be_ended() -> None:
    """A replica that ends waits for no store."""
    waiting = asyncio.create_task(Persistently(random.Random(1))(Work(*[AWAY] * 1000)))
    await asyncio.sleep(60.0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
