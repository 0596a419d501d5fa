"""What the leader tells those who follow, message by message."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from common import subjects
from common.bus import NotConnected, Received
from common.messages import MOST_ENTRIES, Briefing, Flight, Waiting
from common.subjects import MAX_MESSAGE_BYTES
from common.text import Text
from coordinator.core.changes import TaskBegan
from coordinator.core.events import AttemptTold, Settled
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskStatus
from coordinator.engine.briefing import (
    ASK_AGAIN_SECONDS,
    GATHER_SECONDS,
    IDLE_SECONDS,
    Briefed,
    Briefer,
)
from sandbox.virtual.time import virtual
from tests.engine.following import OTHER, TASK, Following, outcome, stored

RUNNING = stored(status=TaskStatus.RUNNING, revision=2, nodes=2)


class Said:
    """A bus that takes everything, or is away."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.briefings: list[Briefing] = []
        self.away = False

    def publish(self, subject: str, payload: bytes) -> None:
        """As ``Bus.publish``."""
        if self.away:
            raise NotConnected("away")
        self.subjects.append(subject)
        if subject == subjects.BRIEFING:
            assert len(payload) <= MAX_MESSAGE_BYTES
            self.briefings.append(msgspec.json.decode(payload, type=Briefing))


class Follower:
    """One that follows, and hears."""

    def __init__(self) -> None:
        self.following = Following()
        self.bus = Said()
        following = self.following
        is_over = following.tasks.is_over
        self.briefed = Briefed(self.bus, following.core, following.feed, is_over)

    def hear(self, number: int, *flights: Flight, epoch: int = 9, **more: object) -> None:
        """One message of a leader."""
        briefing = Briefing(epoch=epoch, number=number, flights=list(flights))
        briefing = msgspec.structs.replace(briefing, **more)
        data = msgspec.json.encode(briefing)
        self.briefed.on_briefing(Received(subjects.BRIEFING, data, ""))

    def told(self) -> list[tuple[str, bool]]:
        """Of which nodes the core was told, and whether they had accepted."""
        return [
            (event.key.node, event.accepted)
            for event in self.following.fed
            if isinstance(event, AttemptTold)
        ]


def flight(node: str = "n1", attempt: int = 1, task: str = TASK) -> Flight:
    """An attempt that was accepted."""
    return Flight(task=task, node=node, attempt=attempt, instance="i", accepted=True)


@virtual
async def test_who_heard_everything_is_complete() -> None:
    """From one repetition on, as long as no number is missing."""
    it = Follower()
    it.hear(4)
    assert not it.briefed.is_complete
    assert it.bus.subjects == [subjects.BRIEFING_WANTED]
    it.hear(5)
    it.hear(6, since=5)
    assert it.briefed.is_complete
    it.hear(7)
    assert it.briefed.is_complete
    it.hear(9)
    assert not it.briefed.is_complete
    it.hear(10, since=8)
    assert not it.briefed.is_complete
    it.hear(11, since=11)
    assert it.briefed.is_complete


@virtual
async def test_a_gap_is_asked_about_now_and_then() -> None:
    """Not with every message."""
    it = Follower()
    for number in range(3, 30):
        it.hear(number)
    assert it.bus.subjects == [subjects.BRIEFING_WANTED]
    await asyncio.sleep(ASK_AGAIN_SECONDS)
    it.bus.away = True
    it.hear(30)
    it.bus.away = False
    await asyncio.sleep(ASK_AGAIN_SECONDS)
    it.hear(31)
    assert it.bus.subjects == [subjects.BRIEFING_WANTED] * 2


@virtual
async def test_a_new_leader_is_heard_from_its_first_word_and_an_old_one_no_more() -> None:
    """What the old one said of waiting tasks is forgotten."""
    it = Follower()
    it.hear(1, since=1, waiting=[Waiting(task=OTHER, message="old")])
    assert it.briefed.why(OTHER, lambda _: None) == Text("old")
    it.hear(1, since=1, epoch=11)
    assert it.briefed.is_complete
    assert it.briefed.why(OTHER, lambda _: Text("own")) == Text("own")
    it.hear(2, epoch=9, waiting=[Waiting(task=OTHER, message="old")])
    assert it.briefed.is_complete
    assert it.briefed.why(OTHER, lambda _: Text("own")) == Text("own")


@virtual
async def test_only_who_follows_at_once_and_without_a_gap_succeeds() -> None:
    """The lease was given back by one write, and taken by the next."""
    it = Follower()
    it.hear(1, since=1)
    assert not it.briefed.succeeds(22)
    it.hear(2, last=20)
    assert it.briefed.succeeds(22)
    assert not it.briefed.succeeds(21)
    assert not it.briefed.succeeds(23)
    it.hear(1, epoch=15)
    assert not it.briefed.succeeds(22)
    other = Follower()
    other.hear(1, since=1)
    other.hear(3, last=20)
    assert not other.briefed.succeeds(22)
    early = Follower()
    early.hear(1, Flight(task=TASK, node="n1", attempt=1, started_at=5), since=1)
    early.hear(2, last=20)
    assert not early.briefed.succeeds(22), "what was told is not all taken in yet"


@virtual
async def test_what_is_ahead_waits_until_the_rest_is_known() -> None:
    """A task's start, or the outcome of the attempt before."""
    it = Follower()
    core = it.following.core
    it.hear(1, flight(), flight("n2", attempt=2), flight(task=OTHER), since=1)
    assert it.told() == []
    it.following.tasks.begin(RUNNING.head, RUNNING.order, ["n1", "n2"])
    it.briefed.observe(Settled(), Decision([], [TaskBegan(RUNNING.head)]))
    assert it.told() == [("n1", True)]
    late = outcome(1, "n2")
    decision = core.handle(late, it.following.clock())
    it.briefed.observe(late, decision)
    assert it.told() == [("n1", True)]  # it has succeeded: no second attempt
    assert it.briefed.is_complete


@virtual
async def test_what_is_told_of_a_task_that_is_over_is_not_kept() -> None:
    """Cancelled here a moment ago: the leader, which had just assigned it, has not read that."""
    it = Follower()
    it.hear(1, since=1)
    it.following.tasks.learn(stored(status=TaskStatus.CANCELLED, revision=3))
    it.hear(2, flight(), waiting=[Waiting(task=TASK, message="old")])
    it.hear(3, last=20)
    assert it.briefed.succeeds(22), "nothing waits to be taken in"
    assert it.briefed.why(TASK, lambda _: None) is None


@virtual
async def test_what_an_old_leader_told_ahead_is_forgotten_with_it() -> None:
    """The new one tells all of it again."""
    it = Follower()
    it.hear(1, flight(), since=1)
    it.hear(2, last=20)
    assert not it.briefed.succeeds(22)
    it.hear(1, epoch=50, since=1)
    it.hear(2, epoch=50, last=60)
    assert it.briefed.succeeds(62)


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 99_999, b'{"epoch":1,"number":0}', b"\xff"])
@virtual
async def test_what_is_no_briefing_is_refused(data: bytes) -> None:
    """The reception counts what is raised."""
    it = Follower()
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)):
        it.briefed.on_briefing(Received(subjects.BRIEFING, data, ""))
    assert not it.briefed.is_complete


@virtual
async def test_everything_is_told_at_the_start_and_to_whoever_wants_it() -> None:
    """In as many messages as it takes; the last one says that this was all."""
    following, bus = Following(), Said()
    for number in range(MOST_ENTRIES + 1):
        task = f"task-20260101-000000-{number:08x}"
        following.tasks.learn(stored(task, revision=number + 1))
    briefer = Briefer(bus, following.core, lambda _: Text("waits"), 7)
    job = asyncio.create_task(briefer.run())
    await asyncio.sleep(0.1)
    last = bus.briefings[-1]
    told = [w.task for b in bus.briefings if b.number >= last.since for w in b.waiting]
    assert len(told) == len(set(told)) == MOST_ENTRIES + 1
    assert [b.number for b in bus.briefings] == list(range(1, len(bus.briefings) + 1))
    bus.briefings.clear()
    await asyncio.sleep(4.0)
    assert [b.waiting for b in bus.briefings] == [[]] * 3
    bus.briefings.clear()
    briefer.wanted(Received(subjects.BRIEFING_WANTED, b"", ""))
    await asyncio.sleep(0.1)
    assert sum(len(b.waiting) for b in bus.briefings) == MOST_ENTRIES + 1
    briefer.end(40)
    assert bus.briefings[-1].last == 40
    await asyncio.sleep(5.0)
    assert bus.briefings[-1].last == 40
    job.cancel()
    await asyncio.wait([job])


@virtual
async def test_a_leader_without_tasks_looks_less_often_and_tells_of_the_first_one() -> None:
    """It says as often as before that there is nothing; what comes is told within a second."""
    following, bus = Following(), Said()
    briefer = Briefer(bus, following.core, lambda _: Text("waits"), 7)
    job = asyncio.create_task(briefer.run())
    await asyncio.sleep(8 * IDLE_SECONDS)
    assert len(bus.briefings) == 4
    bus.briefings.clear()
    following.tasks.learn(stored())
    await asyncio.sleep(IDLE_SECONDS + GATHER_SECONDS)
    assert [w.task for b in bus.briefings for w in b.waiting] == [TASK]
    job.cancel()
    await asyncio.wait([job])
