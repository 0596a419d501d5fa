"""What the world is told of a task: each once, in order, whoever led when it happened."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec.structs import replace

from common import subjects
from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import TaskOver
from coordinator.core.events import Event, OutcomeStored, TaskCreated, TaskEnded, TaskStarted
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.persistence import Persistently
from coordinator.engine.publisher import Publisher
from coordinator.engine.task_events import TaskEvents
from coordinator.snapshots import Snapshot
from coordinator.store import Store
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.core.stage import FLAKY, head, pulled, spec
from tests.engine.stored import TASK, bus_in_memory, now

DAY = 86_400.0
ALL = [
    "task.created",
    "task.started",
    "node.retrying/n1/1",
    "node.succeeded/n2/1",
    "node.succeeded/n1/2",
    "task.completed",
]
"""The ids of what happens in ``History``, each behind the task's."""
OUTCOMES = (("n1", 1, FLAKY), ("n2", 1, pulled()), ("n1", 2, pulled()))


class History:
    """One task from its creation to its end, with what of it is in the store."""

    def __init__(self, bus: VirtualBus) -> None:
        self.bus, self.store = bus, Store(bus)
        at = int(now() * 1000)
        self.pending = replace(head(TASK, spec(max_retries=2)), created_at=at)
        self.running = replace(
            self.pending, status=TaskStatus.RUNNING, started_at=at, nodes=2, node_list="nodes"
        )
        self.over = replace(
            self.running, status=TaskStatus.COMPLETED, finished_at=at, results_seq=len(OUTCOMES)
        )
        self.events: list[Event] = [
            TaskCreated(self.pending, 1),
            TaskStarted(self.running, 1, ("n1", "n2")),
        ]

    async def write(self) -> None:
        """Store its list and outcomes."""
        await self.store.save_list(TASK, "nodes", ["n1", "n2"])
        for node, attempt, outcome in OUTCOMES:
            await self.store.store_outcome(AttemptKey(TASK, node, attempt), outcome)
        self.events += [event async for event in self.store.load_outcomes(TASK, 100)]
        self.events.append(TaskEnded(self.over))

    def head(self, events: int) -> TaskHead | None:
        """The task's head after so many events."""
        if events == 0:
            return None
        if events == len(ALL):
            return self.over
        return self.pending if events == 1 else self.running

    async def told(self) -> list[str]:
        """The ids of all kept events without the task's, progress as such."""
        return [told["id"].removeprefix(f"{TASK}/") for told in await self.kept()]

    async def kept(self) -> list[dict[str, str]]:
        """All kept events; every progress has the id ``progress``."""
        found = []
        async for records in self.bus.replay(subjects.EVENTS):
            for record in records:
                event = msgspec.json.decode(record.data)
                if event["type"] == "task.progress":
                    event["id"] = "progress"
                found.append(event)
        return found


class Term:
    """A core that follows, and from ``lead`` on tells the world."""

    def __init__(self, history: History, epoch: int) -> None:
        self.core = Core(Limits(), now())
        self.lasts: list[str] = []
        self._history = history
        self._leads = False
        self._heads: dict[str, TaskHead] = {}
        self._jobs: list[asyncio.Task[None]] = []
        self._seen = 0
        self.publisher = Publisher(history.bus, self._last_told)
        self.events = TaskEvents(
            publisher=self.publisher,
            outcomes=history.store,
            tasks=self,
            runs=self.core.runs,
            source="/ips/test",
            epoch=epoch,
            clock=now,
            persistently=Persistently(random.Random(epoch)),
        )

    async def _last_told(self, task: str) -> None:
        self.lasts.append(task)
        self.events.forget(task)

    def snapshot(self, task_id: str) -> Snapshot | None:
        """As the table of tasks has it."""
        found = self._heads.get(task_id)
        run = self.core.runs.get(task_id)
        return None if found is None else Snapshot(found, int(now() * 1000), run=run)

    def tell(self, *events: Event) -> None:
        """Let these happen; only a leader's are observed."""
        for event in events:
            if isinstance(event, TaskCreated | TaskStarted | TaskEnded):
                self._heads[event.head.id] = event.head
            elif isinstance(event, OutcomeStored):
                self._seen = event.seq
            decision = self.core.handle(event, now())
            if self._leads:
                self.events.observe(event, decision)
                for change in decision.changes:
                    if isinstance(change, TaskOver):
                        self.events.ended(Snapshot(change.head, int(now() * 1000)))

    def lead(self, known: TaskHead | None, *, publish: bool = True) -> None:
        """Take over, as ``Leader`` does."""
        self._leads = True
        if known is not None and known.status is TaskStatus.PENDING:
            self.events.tell_created(known)
        elif known is not None and known.status is TaskStatus.RUNNING:
            self.events.hold(known.id)
            self._jobs.append(asyncio.create_task(self.events.catch_up(known, self._seen)))
        elif known is not None:
            self._jobs.append(asyncio.create_task(self._tell_end(known)))
        self._jobs.append(asyncio.create_task(self.events.report_progress()))
        if publish:
            self._jobs.append(asyncio.create_task(self.publisher.run()))

    async def _tell_end(self, over: TaskHead) -> None:
        await self.events.catch_up(over, over.results_seq or 0)
        if not self.events.knows_end(over):
            self.events.ended(Snapshot(over, int(now() * 1000)))

    async def die(self) -> None:
        """End at once."""
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)


@asynccontextmanager
async def history() -> AsyncIterator[History]:
    """A task whose outcomes are stored; who tells of it is up to the test."""
    async with bus_in_memory() as bus:
        it = History(bus)
        await it.write()
        yield it


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
