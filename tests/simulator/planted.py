"""Plausible bugs of product code, planted one at a time, that the simulator is to find."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from agent.ledger import Ledger
from agent.outbox import Outbox
from common import subjects
from common.bus import Conflict, Draft
from coordinator.core import in_flight
from coordinator.core.in_flight import InFlight
from coordinator.core.node_run import NodePhase, NodeRun
from coordinator.core.queue import Queue
from coordinator.core.run import Ending, TaskRun
from coordinator.core.scheduler import Core
from coordinator.core.task import PendingNotification, TaskCounts
from coordinator.engine import ending, leader, submissions, transitions
from coordinator.engine.end_notifications import EndNotifications
from coordinator.engine.heads import KeptHead
from coordinator.engine.intake import Intake
from coordinator.engine.publisher import Item, Publisher
from coordinator.engine.task_events import TaskEvents
from coordinator.engine.tasks import TaskTable
from coordinator.engine.transitions import Transitions
from coordinator.lease import Lease, LeaseLost
from coordinator.store import Store, StoredHead, _encode
from sandbox.simulator.history import Lived, live
from sandbox.simulator.places import Receiver
from sandbox.simulator.strikes import Kind, Plan, Strike, draw

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fault:
    """A plausible bug, and the histories in which it is looked for."""

    plant: Plant
    among: str
    """Which those are, for people."""
    draw: Callable[[int], Plan]

    @property
    def name(self) -> str:
        """In words."""
        return self.plant.__name__.replace("_", " ")

    def find(
        self, most: int, patch: pytest.MonkeyPatch, first: int = 0
    ) -> tuple[int, Lived] | None:
        """The first seed, of so many at most, in whose history a law is broken, and that one."""
        self.plant(patch)
        for seed in range(first, first + most):
            lived = live(self.draw(seed))
            if lived.broken is not None:
                return seed, lived
        return None


FAULTS: list[Fault] = []


def planted(*only: Kind, story: Callable[[int], Plan] | None = None) -> Callable[[Plant], Plant]:
    """A plausible bug; found by these strikes alone, where some are named, or in a story."""

    def note(plant: Plant) -> Plant:
        among = "a story" if story else ", ".join(kind.name for kind in only) or "all"
        FAULTS.append(Fault(plant, among, story or partial(draw, only=only)))
        return plant

    return note


Moment = tuple[float, Kind, float, float, int]
"""When (seconds), what, who (0 to 1), for how long, and how much."""
STREAM_OF_HEADS, STREAM_OF_LISTS, STREAM_OF_OUTCOMES = 0.05, 0.19, 0.81
"""Who that is, for a strike at a stream."""
AGENTS_DISTURBED: tuple[Moment, ...] = tuple(
    (0.0, Kind.DISTURB, who, 60.0, 12) for who in (0.5, 0.7, 0.9)
)
"""Where there are two coordinators and three nodes."""


def story(*moments: Moment, jitter: float = 2.0, **fields: Any) -> Callable[[int], Plan]:
    """Histories in which the same befalls the same, each time a little later or earlier."""

    def told(seed: int) -> Plan:
        source = random.Random(f"story/{seed}")
        strikes = [
            Strike(round(at + source.uniform(0.0, jitter), 3), kind, who, seconds, size)
            for at, kind, who, seconds, size in moments
        ]
        plan = Plan(
            seed=seed,
            coordinators=2,
            nodes=3,
            heartbeat_seconds=10.0,
            pull_seconds=3.0,
            link_delay=0.0,
            max_nodes_in_flight=0,
            max_repairs=3,
            strikes=tuple(sorted(strikes, key=lambda strike: strike.at)),
        )
        return dataclasses.replace(plan, **fields)

    return told


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


async def nothing_later(*_arguments: Any, **_options: Any) -> None:
    """The same, where it is awaited."""


# ── the core ──


@planted()
def a_retry_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at what is due."""
    patch.setattr(TaskRun, "next_retry", property(lambda _: None, nothing), raising=False)


@planted()
def a_node_counts_with_each_attempt(patch: pytest.MonkeyPatch) -> None:
    """One that failed three times is three that failed."""
    counts = TaskRun.counts

    def doubled(self: TaskRun) -> TaskCounts:
        failures = sum(node.failures for node in self.nodes if node.phase is NodePhase.FAILED)
        return replace(counts(self), failed=failures)

    patch.setattr(TaskRun, "counts", doubled)


@planted()
def only_what_pulls_has_a_place(patch: pytest.MonkeyPatch) -> None:
    """What is assigned and not yet accepted is not counted."""

    def has_place(run: TaskRun) -> bool:
        return run.in_phase[NodePhase.PULLING] < run.spec.batch_size

    patch.setattr(in_flight, "has_place", has_place)


@planted()
def silence_is_not_watched(patch: pytest.MonkeyPatch) -> None:
    """Who never answers is waited for for ever."""
    patch.setattr(InFlight, "_watch", nothing)


@planted(Kind.KILL_COORDINATOR, Kind.CREATE)
def what_agents_hold_is_forgotten_at_a_take_over(patch: pytest.MonkeyPatch) -> None:
    """A new leader thinks that nobody has anything."""

    def deaf(_self: InFlight, *_: object) -> bool:
        return True

    patch.setattr(InFlight, "_claim", deaf)


@planted(
    story=story(
        (0.0, Kind.CREATE, 0.5, 1.0, 5),
        (28.0, Kind.FILL, STREAM_OF_OUTCOMES, 15.0, 1),
    )
)
def a_verdict_that_was_refused_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """The store did not take it, and nobody tries again."""
    patch.setattr(InFlight, "verdict_failed", nothing)


@planted(Kind.FILL, Kind.ELECT_ALL, Kind.CREATE)
def an_end_that_was_refused_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """The task runs for ever."""
    patch.setattr(Core, "_finish_failed", nothing)


@planted(
    story=story(
        (0.0, Kind.FILL, STREAM_OF_LISTS, 8.0, 1),
        (2.0, Kind.CREATE, 0.5, 1.0, 1),
        (20.0, Kind.CREATE, 0.5, 1.0, 1),
    )
)
def a_start_that_was_refused_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """The task waits for ever."""
    patch.setattr(Queue, "start_failed", nothing)


@planted()
def what_was_refused_is_not_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A lost message has no effect, for ever, and the place stays taken."""
    patch.setattr(InFlight, "send_again", nothing)
    patch.setattr(InFlight, "_give_up", nothing)


@planted(Kind.RUNTIME_FAILS, Kind.CREATE)
def an_image_that_arrived_has_to_arrive_again(patch: pytest.MonkeyPatch) -> None:
    """The newest outcome of an image is the one that counts."""
    absorb = NodeRun.absorb

    def forgetful(self: NodeRun, outcome: Any, work: Any) -> Any:
        self.images.clear()
        return absorb(self, outcome, work)

    patch.setattr(NodeRun, "absorb", forgetful)


# ── agents ──


@planted(
    story=story(
        *AGENTS_DISTURBED,
        (2.0, Kind.CREATE, 0.5, 1.0, 1),
        (4.0, Kind.CREATE, 0.5, 1.0, 2),
        (7.0, Kind.STOP_COORDINATOR, 0.5, 30.0, 12),
    )
)
def a_stale_epoch_is_accepted(patch: pytest.MonkeyPatch) -> None:
    """An agent obeys whoever speaks."""
    execute = Ledger._execute

    def credulous(self: Ledger, command: Any, now: float) -> str:
        return execute(self, replace(command, epoch=max(command.epoch, self._epoch)), now)

    patch.setattr(Ledger, "_execute", credulous)


@planted()
def a_cancel_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """What an agent has begun it ends."""
    patch.setattr(Ledger, "_cancel", nothing)


@planted(
    story=story(
        *AGENTS_DISTURBED,
        (2.0, Kind.CREATE, 0.5, 1.0, 1),
        (2.0, Kind.CREATE, 0.5, 1.0, 2),
        (6.0, Kind.CANCEL, 0.1, 1.0, 1),
        (6.0, Kind.CANCEL, 0.9, 1.0, 1),
    )
)
def a_cancelled_task_is_forgotten_at_once(patch: pytest.MonkeyPatch) -> None:
    """An assignment that is late begins it again."""
    remember = Ledger._remember

    def forgetful(self: Ledger, task: str, attempt: int | None, now: float) -> None:
        if attempt is not None:
            remember(self, task, attempt, now)

    patch.setattr(Ledger, "_remember", forgetful)


@planted()
def an_outcome_is_dropped_while_the_store_is_away(patch: pytest.MonkeyPatch) -> None:
    """One try has to do."""
    until_stored = Outbox._until_stored

    async def once(self: Outbox, key: Any) -> None:
        trying = asyncio.create_task(until_stored(self, key))
        try:
            await asyncio.wait([trying], timeout=5.0)
        finally:
            trying.cancel()

    patch.setattr(Outbox, "_until_stored", once)


# ── what is stored ──


@planted(
    story=story(
        (0.0, Kind.CREATE, 0.5, 1.0, 5),
        (31.0, Kind.LOSE_ANSWERS, 0.5, 1.0, 1),
        coordinators=1,
    )
)
def an_outcome_of_the_leader_overwrites(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes last has decided."""

    async def store_outcome(self: Store, key: Any, outcome: Any) -> None:
        await self._bus.store(subjects.result(*key), _encode(outcome), expect_last=None)

    patch.setattr(Store, "store_outcome", store_outcome)


@planted()
def a_head_is_written_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes last has swapped."""

    async def swap_head(self: Store, old: StoredHead, new: Any) -> StoredHead:
        if new.order is None:
            new = replace(new, order=old.order)
        entry = await self._heads.get(new.id)
        assert entry is not None
        return StoredHead(new, await self._heads.update(new.id, _encode(new), entry.revision))

    patch.setattr(Store, "swap_head", swap_head)


@planted(
    story=story(
        (0.0, Kind.CREATE, 0.5, 1.0, 3),
        (4.0, Kind.CANCEL, 0.5, 1.0, 1),
        link_delay=0.2,
    )
)
def a_cancel_loses_to_an_outcome(patch: pytest.MonkeyPatch) -> None:
    """It counts for the core, and not in the head."""

    @contextmanager
    def open_door(_self: TaskTable, _task: str) -> Iterator[None]:
        yield

    patch.setattr(TaskTable, "withholding", open_door)


@planted(
    story=story(
        (0.0, Kind.CREATE, 0.5, 1.0, 3),
        (4.0, Kind.CANCEL, 0.5, 1.0, 1),
        link_delay=0.2,
    )
)
def a_cancel_counts_what_was_never_decided(patch: pytest.MonkeyPatch) -> None:
    """The sequence of what counts is forgotten."""
    ended = ending.ended

    def blind(head: Any, status: Any, now: int, counted: Ending | None, *rest: Any) -> Any:
        return replace(ended(head, status, now, counted, *rest), results_seq=2**40)

    patch.setattr(submissions, "ended", blind)
    patch.setattr(transitions, "ended", blind)


@planted(Kind.ELECT_ALL, Kind.FILL, Kind.PAUSE_SERVER, Kind.CREATE)
def a_create_is_answered_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    """It will be, most likely."""
    create_head = Store.create_head

    async def hasty(self: Store, head: Any) -> StoredHead:
        storing = asyncio.ensure_future(create_head(self, head))
        storing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait([storing], timeout=2.0)
        return storing.result() if storing.done() else StoredHead(head, 1)

    patch.setattr(Store, "create_head", hasty)


# ── replicas and leaders ──


@planted(Kind.KILL_COORDINATOR, Kind.CREATE)
def outcomes_before_a_start_are_not_read(patch: pytest.MonkeyPatch) -> None:
    """A replica begins with the running tasks, and each as if nobody had done anything."""

    async def load_running(self: Intake, kept: KeptHead, _outcomes_end: int) -> None:
        self._tasks.begin(kept.head, kept.order, await self._tasks.nodes_of(kept.head))

    patch.setattr(Intake, "_load_running", load_running)


@planted()
def a_replica_stops_to_follow_heads(patch: pytest.MonkeyPatch) -> None:
    """After some changes its reading ends."""
    watch = Intake._watch_heads

    async def some(self: Intake, start: int) -> None:
        watching = asyncio.ensure_future(watch(self, start))
        try:
            await asyncio.wait([watching], timeout=20.0)
        finally:
            watching.cancel()

    patch.setattr(Intake, "_watch_heads", some)


@planted()
def a_leader_never_steps_down(patch: pytest.MonkeyPatch) -> None:
    """It does not believe that the lease is lost, and goes on to publish and to command."""
    keep = Lease._keep

    async def stubborn(self: Lease) -> None:
        try:
            await keep(self)
        except LeaseLost:
            await asyncio.sleep(1.0)

    patch.setattr(Lease, "_keep", stubborn)


@planted()
def every_epoch_is_the_first(patch: pytest.MonkeyPatch) -> None:
    """The lease's revision is not used."""
    acquire = Lease.acquire

    async def always_one(self: Lease) -> int:
        await acquire(self)
        return 1

    patch.setattr(Lease, "acquire", always_one)


@planted(Kind.KILL_COORDINATOR, Kind.CREATE)
def a_leader_does_not_wait_for_what_agents_hold(patch: pytest.MonkeyPatch) -> None:
    """It assigns at once."""
    patch.setattr(leader, "SETTLE_SECONDS", 0.0)


# ── what the world is told ──


@planted(
    story=story(
        (0.0, Kind.CREATE, 0.5, 1.0, 5),
        (0.0, Kind.CREATE, 0.5, 1.0, 9),
        (4.0, Kind.SET_STORE_CLOCK, 0.5, 20.0, 3),
        jitter=3.0,
    )
)
def a_deposed_leader_publishes_on(patch: pytest.MonkeyPatch) -> None:
    """Its events do not say which ones they follow."""

    def drafts(_self: Publisher, batch: Sequence[Item]) -> list[Draft]:
        return [Draft(item.subject, item.payload) for item in batch]

    patch.setattr(Publisher, "_drafts", drafts)


@planted(Kind.KILL_COORDINATOR, Kind.CREATE)
def what_happens_while_a_leader_catches_up_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """It was held back, and is never let go."""

    async def catch_up(self: TaskEvents, head: Any, upto: int) -> None:
        async with self._readers:
            await self._persistently(lambda: self._tell_missing(head, upto))
        self._behind.pop(head.id, None)

    patch.setattr(TaskEvents, "catch_up", catch_up)


@planted(Kind.RECEIVER_AWAY, Kind.KILL_COORDINATOR, Kind.CREATE)
def a_webhook_is_forgotten_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Only who saw the end tells of it."""

    async def tell_again(self: EndNotifications, head: Any) -> None:
        left = tuple(each for each in head.notify if each is PendingNotification.EVENT)
        for each in head.notify:
            if each is PendingNotification.WEBHOOK:
                await self._mark_notified(head.id, each)
        await original(self, replace(head, notify=left))

    original = EndNotifications.tell_again
    patch.setattr(EndNotifications, "tell_again", tell_again)


@planted(Kind.KILL_AT_WRITE, Kind.CREATE)
def an_end_that_was_not_told_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A leader takes up running tasks alone."""
    patch.setattr(EndNotifications, "tell_again", nothing_later)


@planted(
    story=story((0.0, Kind.CREATE, 0.5, 1.0, 3), (1.0, Kind.CREATE, 0.5, 1.0, 2), link_delay=0.2)
)
def a_mark_that_lost_a_swap_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """Whoever was faster has done it, one thinks."""

    async def once(
        self: Transitions, task: str, what: PendingNotification, _refused: Any = None
    ) -> None:
        stored = self._tasks.stored(task)
        if stored is None:
            return
        left = tuple(other for other in stored.head.notify if other is not what)
        try:
            swapped = await self._store.swap_head(stored, replace(stored.head, notify=left))
        except Conflict:
            return
        self._tasks.learn(swapped)

    patch.setattr(Transitions, "mark_notified", once)


@planted(Kind.LOSE_ANSWERS, Kind.CREATE)
def an_event_without_an_answer_is_published_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether it has landed."""

    async def hasty(self: Publisher) -> None:
        self._in_doubt = False

    patch.setattr(Publisher, "_settle_doubt", hasty)


@planted()
def each_delivery_has_an_id_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """A receiver cannot tell a second delivery from the first."""
    post, numbers = Receiver.post, itertools.count()

    def numbered(self: Receiver, address: object, *, headers: dict[str, str], **rest: Any) -> Any:
        task, _, event = headers["IPS-Delivery"].partition("/")
        return post(
            self, address, headers={"IPS-Delivery": f"{task}/{event}.{next(numbers)}"}, **rest
        )

    patch.setattr(Receiver, "post", numbered)
