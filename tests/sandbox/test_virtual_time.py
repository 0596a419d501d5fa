from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sandbox.virtual.time import Deadlock, OutOfTime, VirtualLoop, in_virtual_time, virtual


def now() -> float:
    """The loop's own time."""
    return asyncio.get_running_loop().time()


@virtual
async def test_a_day_is_over_at_once() -> None:
    """Its timers come in their order and at their time."""
    came: list[tuple[float, str]] = []

    async def wait(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        came.append((now(), name))

    began = time.process_time()
    await asyncio.gather(wait(86400, "day"), wait(0.5, "half"), wait(3600, "hour"))
    assert came == [(0.5, "half"), (3600, "hour"), (86400, "day")]
    assert time.process_time() - began < 5


@virtual
async def test_no_time_passes_while_somebody_has_something_to_do() -> None:
    """However many turns that takes."""
    timer = asyncio.create_task(asyncio.sleep(0.001))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert now() == 0
    await timer
    assert now() == pytest.approx(0.001)


def test_who_waits_for_nothing_is_named() -> None:
    """A task, and the line where it waits."""

    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        await asyncio.sleep(7)
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_ever(), name="the forgotten one")

    with pytest.raises(Deadlock, match=r"at 7 s:(?s:.*)the forgotten one in Event.wait, line \d+"):
        in_virtual_time(work())


def test_a_run_has_an_end() -> None:
    """In virtual seconds, and in steps for what never lets time pass."""

    async def sleeps() -> None:
        while True:
            await asyncio.sleep(1)

    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(OutOfTime, match="virtual seconds"):
        in_virtual_time(sleeps(), seconds=100)
    with pytest.raises(OutOfTime, match="steps"):
        in_virtual_time(spins(), steps=1000)


@virtual
async def test_work_for_threads_is_done_in_the_loop() -> None:
    """One after the other, with its result or its exception."""
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        return number

    assert await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(20))) == done
    assert done == list(range(20))
    with pytest.raises(KeyError):
        await asyncio.to_thread({1: 1}.__getitem__, 0)


@virtual
async def test_a_time_limit_is_virtual_too() -> None:
    """And a loop that stands still meets its timers late."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await asyncio.Event().wait()
    assert now() == 60
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    sleeping = asyncio.create_task(asyncio.sleep(1))
    await asyncio.sleep(0)
    loop.stand_still(100)
    await sleeping
    assert now() == 160


@virtual
async def test_there_is_no_network() -> None:
    """A socket would be ready at some time of the machine's."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RuntimeError, match="no sockets"):
        asyncio.get_running_loop().add_reader(ours, print)


def test_tasks_of_a_set_end_in_one_order() -> None:
    """A group that fails cancels its tasks out of a set: not by their addresses in memory."""

    async def ends() -> list[int]:
        ended: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(number)

        async def fail() -> None:
            await asyncio.sleep(1)
            raise ValueError

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                for n in range(50):
                    group.create_task(wait(n))
                group.create_task(fail())

        with pytest.raises(ExceptionGroup):
            await together()
        return ended

    assert in_virtual_time(ends()) == in_virtual_time(ends()) == list(range(50))
