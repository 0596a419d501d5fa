"""What the world is told of a task: each once, in order, whoever led when it happened."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from common import subjects
from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.events import OutcomeStored, TaskCreated, TaskEnded
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.snapshots import Snapshot
from sandbox.virtual.time import virtual
from tests.core.stage import head, spec
from tests.engine.stored import TASK, now
from tests.engine.terms import ALL, History, Term, history

DAY = 86_400.0


def without_progress(told: Sequence[str]) -> list[str]:
    """What is told once."""
    return [one for one in told if one != "progress"]


@virtual
async def test_one_leader_tells_all_in_order() -> None:
    """A last progress comes before the end, and nothing behind it."""
    async with history() as it:
        term = Term(it, 1)
        term.lead(None)
        term.tell(*it.events)
        await asyncio.sleep(5)
        assert await it.told() == [*ALL[:-1], "progress", ALL[-1]]
        assert term.lasts == [TASK]
        assert not term.events._kept
        await term.die()


async def first_term(it: History, events: int, how: str) -> None:
    """A leader dies after so many events; what it got to publish is said by ``how``."""
    first = Term(it, 1)
    first.lead(None, publish=how != "nothing published")
    first.tell(*it.events[: events - 1] if events else ())
    if how != "nothing published":
        await asyncio.sleep(0.5)
    it.bus.link.answers_to_lose = int(how == "answer lost")
    first.tell(*it.events[events - 1 : events] if events else ())
    await asyncio.sleep(0.0 if how == "nothing published" else 0.3)
    await first.die()
    it.bus.link.answers_to_lose = 0


HOW = ("nothing published", "all published", "answer lost")


@pytest.mark.parametrize("how", HOW)
@virtual
async def test_a_change_of_leader_at_any_point(
    how: str,
) -> None:
    """What happens while the new one catches up waits behind that."""
    for events in range(len(ALL) + 1):
        async with history() as it:
            await first_term(it, events, how)
            second = Term(it, 2)
            second.tell(*it.events[:events])
            second.lead(it.head(events))
            second.tell(*it.events[events:])
            await asyncio.sleep(10)
            told = await it.told()
            assert without_progress(told) == ALL, (events, how)
            assert told[-1] == ALL[-1]
            await second.die()


@virtual
async def test_a_leader_that_dies_while_it_catches_up_is_followed_by_one_that_does() -> None:
    """Two changes at any two points, the second of them before anything, or all, was told."""
    for early in range(1, len(ALL)):
        for late in range(early, len(ALL)):
            for seconds in (0.0, 0.5):
                async with history() as it:
                    await first_term(it, early, "all published")
                    second = Term(it, 2)
                    second.tell(*it.events[:early])
                    second.lead(it.head(early))
                    second.tell(*it.events[early:late])
                    await asyncio.sleep(seconds)
                    await second.die()
                    third = Term(it, 3)
                    third.tell(*it.events[:late])
                    third.lead(it.head(late))
                    third.tell(*it.events[late:])
                    await asyncio.sleep(5)
                    assert without_progress(await it.told()) == ALL, (early, late, seconds)
                    await third.die()


@virtual
async def test_catching_up_waits_for_a_store_that_is_away() -> None:
    """What happens meanwhile is held until then, and read again it is told once."""
    for stream in (subjects.EVENTS, subjects.RESULTS, f"KV_{subjects.LISTS_BUCKET}"):
        async with history() as it:
            await first_term(it, 3, "nothing published")
            it.bus.jetstream.lead(stream, leads=False)
            second = Term(it, 2)
            second.tell(*it.events[:3])
            second.lead(it.head(3))
            second.tell(*it.events[3:])
            await asyncio.sleep(60)
            assert "node.succeeded/n2/1" not in _known_to(second)
            it.bus.jetstream.lead(stream, leads=True)
            await asyncio.sleep(30)
            assert without_progress(await it.told()) == ALL, stream
            await second.die()


def _known_to(term: Term) -> str:
    return " ".join(item.id for item in term.publisher._queue)


@virtual
async def test_what_would_be_gone_from_the_stream_by_now_is_not_told_again() -> None:
    """Events are kept for a day; a leader that begins later must not begin from the start."""
    async with history() as it:
        await first_term(it, 4, "all published")
        await asyncio.sleep(2 * DAY)
        assert await it.told() == []
        second = Term(it, 2)
        second.tell(*it.events[:4])
        second.lead(it.head(4))
        late = it.events[4]
        assert isinstance(late, OutcomeStored)
        late = OutcomeStored(late.key, late.outcome, late.seq, now())
        second.tell(late, TaskEnded(replace(it.over, finished_at=int(now() * 1000))))
        await asyncio.sleep(10)
        assert without_progress(await it.told()) == ALL[4:]
        await second.die()


# ── progress ──


@virtual
async def test_progress_is_told_at_most_once_a_second_and_only_of_changes() -> None:
    """However often something changes; a task that stands still is not told of."""
    async with history() as it:
        term = Term(it, 1)
        term.lead(None)
        term.tell(*it.events[:2])
        for _ in range(100):
            term.events.mark_changed(TASK, "n1")
            await asyncio.sleep(0.1)
        assert (await it.told()).count("progress") in {9, 10, 11}
        await asyncio.sleep(5)
        settled = len(await it.told())
        await asyncio.sleep(60)
        assert len(await it.told()) == settled
        await term.die()


@virtual
async def test_progress_never_follows_the_end() -> None:
    """Nor is it told of what is unknown, whoever says that it has changed."""
    async with history() as it:
        term = Term(it, 1)
        term.lead(None)
        term.tell(*it.events)
        for _ in range(30):
            term.events.mark_changed(TASK, "n1")
            term.events.mark_changed("task-20260101-000000-0000dead")
            await asyncio.sleep(0.1)
        assert (await it.told())[-1] == ALL[-1]
        await term.die()


@virtual
async def test_while_the_stream_refuses_one_progress_waits() -> None:
    """And the newest is told when it takes events again."""
    async with history() as it:
        term = Term(it, 1)
        term.lead(None)
        term.tell(*it.events[:2])
        await asyncio.sleep(1.5)
        before = (await it.told()).count("progress")
        it.bus.jetstream.refuse(subjects.EVENTS)
        for _ in range(60):
            term.events.mark_changed(TASK)
            await asyncio.sleep(1.0)
        assert len(term.publisher._queue) == 1
        it.bus.jetstream.refuse(subjects.EVENTS, None)
        await asyncio.sleep(5)
        assert (await it.told()).count("progress") == before + 2
        await term.die()


@virtual
async def test_no_progress_overtakes_what_is_caught_up_with() -> None:
    """It is told afterwards."""
    async with history() as it:
        it.bus.jetstream.lead(subjects.RESULTS, leads=False)
        term = Term(it, 1)
        term.tell(*it.events[:4])
        term.lead(it.head(4))
        term.events.mark_changed(TASK)
        await asyncio.sleep(10)
        assert "progress" not in await it.told()
        it.bus.jetstream.lead(subjects.RESULTS, leads=True)
        await asyncio.sleep(30)
        assert await it.told() == [*ALL[:4], "progress"]
        await term.die()


# ── too large ──


def wordy(images: int, nodes: int) -> tuple[TaskHead, TaskRun]:
    """A failed task with images of the longest names, each of which failed on each node."""
    names = [f"registry.example/{number:03}/" + "i" * 980 for number in range(images)]
    over = replace(
        head(TASK, spec(*names), TaskStatus.FAILED),
        created_at=int(now() * 1000),
        started_at=int(now() * 1000),
        finished_at=int(now() * 1000),
    )
    run = TaskRun(over, [f"n{number}" for number in range(nodes)])
    fault = {"state": ImageState.FAILED, "reason": Reason.IMAGE_NOT_FOUND, "message": "m" * 300}
    outcome = Outcome(images=[ImageOutcome(image=name, **fault) for name in names])  # type: ignore[arg-type]
    for number in range(nodes):
        key = AttemptKey(TASK, f"n{number}", 1)
        run.take_in(key, outcome, seq=number, stored_at=now(), now=now())
    return over, run


@virtual
async def test_an_end_with_too_many_details_is_told_without_them() -> None:
    """``/nodes`` has them all; the end itself must be told."""
    async with history() as it:
        term = Term(it, 1)
        term.lead(None)
        over, run = wordy(140, 2)
        term.events.ended(Snapshot(over, int(now() * 1000), run=run))
        await asyncio.sleep(2)
        *_, end = await it.kept()
        assert end["type"] == "task.failed"
        assert "failedNodeDetails" not in end["data"]
        assert term.lasts == [TASK]
        await term.die()


def test_what_no_message_can_hold_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The other events are told."""
    caplog.set_level(logging.ERROR, "coordinator.engine.task_events")

    @virtual
    async def run() -> None:
        async with history() as it:
            term = Term(it, 1)
            term.lead(None)
            huge, _ = wordy(300, 0)
            term.tell(TaskCreated(replace(huge, status=TaskStatus.PENDING), 1))
            other = replace(it.pending, id="task-20260101-000000-00000002")
            term.tell(TaskCreated(other, 2))
            await asyncio.sleep(2)
            assert await it.told() == [f"{other.id}/task.created"]
            await term.die()

    run()
    assert [line.getMessage() for line in caplog.records] == ["an event is too large to be told"]
