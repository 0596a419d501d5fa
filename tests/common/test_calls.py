"""Calls that wait for their answer."""

from __future__ import annotations

import asyncio

from common.bus import BusError, TimedOut
from common.bus.calls import PendingCalls
from common.bus.session import Delivery
from sandbox.virtual.time import virtual


@virtual
async def test_each_call_ends_in_its_time() -> None:
    """However long the others may take, and those that were answered or not sent not at all."""
    calls, loop = PendingCalls("inbox"), asyncio.get_running_loop()
    began, ends = loop.time(), list[tuple[str, float]]()

    def expect(name: str, within: float) -> str:
        def ended(answer: bytes | BusError) -> None:
            said = answer.decode() if isinstance(answer, bytes) else type(answer).__name__
            ends.append((f"{name} {said}", loop.time() - began))

        return calls.expect(within, ended)

    expect("long", 9.0)
    answered, unsent = expect("answered", 2.0), expect("unsent", 2.0)
    await asyncio.sleep(1)
    expect("short", 2.0)
    calls.receive(Delivery(answered, b"yes", "", None))
    calls.drop(unsent)
    await asyncio.sleep(20)
    expect("next", 2.0)
    await asyncio.sleep(3)
    assert ends == [
        ("answered yes", 1.0),
        ("short TimedOut", 3.0),
        ("long TimedOut", 9.0),
        ("next TimedOut", 23.0),
    ]


@virtual
async def test_a_callback_that_fails_keeps_no_other_waiting() -> None:
    """Nor the deadlines of those behind it."""
    calls, told = PendingCalls("inbox"), list[object]()

    def fails(answer: bytes | BusError) -> None:
        raise RuntimeError(str(answer))

    calls.expect(1.0, fails)
    calls.expect(1.0, told.append)
    await asyncio.sleep(2)
    assert [type(one) for one in told] == [TimedOut]
