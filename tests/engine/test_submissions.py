"""Creating and cancelling against whatever else writes, and against answers that never come."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from common.bus import BusError
from common.subjects import AttemptKey
from coordinator.core.changes import AttemptDecided
from coordinator.core.events import Event, OutcomeStored
from coordinator.core.node_run import NodePhase
from coordinator.core.scheduler import Core, Decision, Limits
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.finished_folds import FinishedFolds
from coordinator.engine.lookups import Lookups
from coordinator.engine.loop import Loop
from coordinator.engine.persistence import Persistently
from coordinator.engine.progress_board import ProgressBoard
from coordinator.engine.submissions import CREATE_TRIES, READING_SECONDS, Submissions
from coordinator.engine.tasks import TaskTable
from coordinator.port import AlreadyOver, IdempotencyKey, KeyReused, NoSuchTask, StoreAway
from coordinator.store import NAMED, KeyRecord
from sandbox.virtual.time import virtual
from tests.core.stage import pulled, spec
from tests.engine.stored import HEADS_STREAM, OTHER, Contended, bus_in_memory, now

KEY = IdempotencyKey("k" * 64, "body")
KEY_NAME = f"idem.{KEY.key_hash}"


class Desk:
    """Submissions over a real table and core; nobody watches the store unless a test does."""

    def __init__(self, store: Contended) -> None:
        self.store = store
        self.core = Core(Limits(), now())
        self.loop = Loop(self.core, now)
        self.seen: list[Event] = []
        self.counted: list[str] = []
        """The nodes of which the core has made something of an outcome: events tell of these."""
        self.loop.observe(self._see)
        self.jobs: list[asyncio.Task[Any]] = []
        self.failures: list[BusError] = []
        self.ids = (f"{number:08x}" for number in itertools.count(1))
        self.tasks = TaskTable(
            store=store,
            core=self.core,
            board=ProgressBoard(self.core),
            folds=FinishedFolds(store),
            why_waiting=lambda _: None,
            feed=self.loop.feed,
            clock=now,
            spawn=self.spawn,
            persistently=Persistently(random.Random(1)),
        )
        lookups = Lookups(store, self.tasks, self.core, self.spawn)
        self.loop.observe(lookups.observe)
        self.submissions = Submissions(
            store=store,
            tasks=self.tasks,
            lookups=lookups,
            clock=now,
            draw=lambda _: next(self.ids),
            max_pending=1000,
            spawn=self.spawn,
            failed=self.failures.append,
        )
        self._seq = 0

    def _see(self, event: Event, decision: Decision) -> None:
        self.seen.append(event)
        for change in decision.changes:
            if isinstance(change, AttemptDecided):
                self.counted.append(change.node)

    def spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        """Have a job done."""
        self.jobs.append(asyncio.create_task(job))

    async def create(self, key: IdempotencyKey | None = None) -> TaskHead:
        """A new task of one image."""
        return (await self.submissions.create(spec(), None, key, None)).head

    async def running(self, *nodes: str) -> str:
        """A task that has started on these nodes."""
        found = await self.create()
        stored = self.tasks.stored(found.id)
        assert stored is not None
        await self.store.save_list(found.id, "nodes", nodes)
        started = replace(
            found, status=TaskStatus.RUNNING, started_at=0, nodes=len(nodes), node_list="nodes"
        )
        self.tasks.learn(await self.store.swap_head(stored, started), nodes=nodes)
        await asyncio.gather(*self.jobs)
        return found.id

    async def outcome(self, task: str, node: str) -> None:
        """An agent's outcome is stored and comes in."""
        self._seq += 1
        key = AttemptKey(task, node, 1)
        await self.store.store_outcome(key, pulled())
        await self.tasks.take_in([OutcomeStored(key, pulled(), self._seq, now())])

    def outcomes(self) -> list[str]:
        """Of which nodes the core was told an outcome."""
        return [event.key.node for event in self.seen if isinstance(event, OutcomeStored)]


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """A desk on an empty store."""
    async with bus_in_memory() as bus:
        it = Desk(Contended(bus))
        yield it
        await asyncio.gather(*it.jobs)


# ── created ──


@virtual
async def test_what_is_created_is_stored_and_known() -> None:
    """Its id says when; its names are stored with it."""
    async with desk() as it:
        created = await it.submissions.create(spec(names_nodes=True), ["n1", "n2"], None, OTHER)
        assert created.is_new
        assert created.head.id == "task-20260101-000000-00000001"
        assert await it.store.truth(created.head.id) == created.head
        assert it.tasks.head(created.head.id) == created.head
        assert await it.store.load_list(created.head.id, NAMED) == ["n1", "n2"]
        assert created.head.retry_of == OTHER


@virtual
async def test_an_id_that_is_drawn_twice_is_drawn_again() -> None:
    """The first task keeps it."""
    async with desk() as it:
        it.ids = iter(["aa", "aa", "bb"])  # type: ignore[assignment]
        first, second = await it.create(), await it.create()
        assert (first.id[-2:], second.id[-2:]) == ("aa", "bb")


@virtual
async def test_ids_that_are_always_taken_are_given_up() -> None:
    """A user gets an answer all the same."""
    async with desk() as it:
        it.ids = iter(["aa"] * (CREATE_TRIES + 1))  # type: ignore[assignment]
        await it.create()
        with pytest.raises(StoreAway):
            await it.create()


@virtual
async def test_a_create_whose_answer_is_lost_landed_all_the_same() -> None:
    """The user is told that it is not known; with a key, the same request finds the task."""
    async with desk() as it:
        it.store.before_write.append(it.store.lose_the_answer)
        with pytest.raises(StoreAway):
            await it.create(KEY)
        assert len(it.failures) == 1
        again = await it.submissions.create(spec(), None, KEY, None)
        assert not again.is_new
        assert again.head == await it.store.truth(again.head.id)
        assert it.tasks.head(again.head.id) == again.head


@virtual
async def test_a_create_that_is_refused_is_not_stored() -> None:
    """With its key, the same request creates it later under the id that the key was given."""
    async with desk() as it:
        await it.store.refuse()
        with pytest.raises(StoreAway):
            await it.create(KEY)
        it.store.accept()
        claimed = await it.store.load_key(KEY_NAME)
        assert claimed is not None
        assert (await it.create(KEY)).id == claimed[0].task


# ── keys ──


@virtual
async def test_all_who_ask_at_once_with_one_key_get_one_task() -> None:
    """One of them created it."""
    async with desk() as it:
        created = await asyncio.gather(
            *(it.submissions.create(spec(), None, KEY, None) for _ in range(20))
        )
        assert len({one.head.id for one in created}) == 1
        assert [one.is_new for one in created].count(True) == 1
        assert len(it.tasks) == 1


@virtual
async def test_two_coordinators_that_are_asked_with_one_key_create_one_task() -> None:
    """The one that loses the key to the other one gives its task; both learn it."""
    async with desk() as it:
        other = Desk(Contended(it.store.bus))
        other.ids = (f"{number:08x}" for number in itertools.count(100))
        created = await asyncio.gather(
            *(one.submissions.create(spec(), None, KEY, None) for one in (it, other) * 5)
        )
        assert len({one.head.id for one in created}) == 1
        assert [one.is_new for one in created].count(True) == 1


@virtual
async def test_a_key_with_another_body_is_refused() -> None:
    """Whether or not its task has come to be."""
    async with desk() as it:
        task = (await it.create(KEY)).id
        with pytest.raises(KeyReused) as refused:
            await it.create(IdempotencyKey(KEY.key_hash, "another"))
        assert refused.value.task_id == task
        unborn = IdempotencyKey("u" * 64, "body")
        await it.store.claim_key(f"idem.{unborn.key_hash}", KeyRecord(OTHER_ID, "another"))
        with pytest.raises(KeyReused):
            await it.create(unborn)


@virtual
async def test_what_a_key_has_created_is_found_by_it_alone() -> None:
    """Whatever could be created by now, at another coordinator too."""
    async with desk() as it:
        assert await it.submissions.created_before(KEY) is None
        task = (await it.create(KEY)).id
        other = Desk(it.store)
        found = await other.submissions.created_before(KEY)
        assert found is not None
        assert (found.head.id, found.is_new) == (task, False)
        with pytest.raises(KeyReused):
            await it.submissions.created_before(IdempotencyKey(KEY.key_hash, "another"))


OTHER_ID = "task-20260101-000000-0000beef"


@virtual
async def test_a_key_whose_task_was_removed_is_free() -> None:
    """The janitor had not come to it yet."""
    async with desk() as it:
        first = await it.create(KEY)
        stored = it.tasks.stored(first.id)
        assert stored is not None
        await it.store.delete_head(stored)
        second = await it.submissions.create(spec(), None, KEY, None)
        assert second.is_new
        assert second.head.id != first.id
        claimed = await it.store.load_key(KEY_NAME)
        assert claimed is not None
        assert claimed[0].task == second.head.id


# ── cancelled ──


@virtual
async def test_a_pending_task_is_cancelled() -> None:
    """It never ran: nothing counts."""
    async with desk() as it:
        task = (await it.create()).id
        head = await it.submissions.cancel(task)
        assert (head.status, head.counts, head.results_seq) == (TaskStatus.CANCELLED, None, 0)
        assert await it.store.truth(task) == head == it.tasks.head(task)
        assert task not in it.core.waiting


@virtual
async def test_nothing_is_cancelled_twice_or_unknown() -> None:
    """Of two who ask at once, one has done it."""
    async with desk() as it:
        task = (await it.create()).id
        one, two = await asyncio.gather(
            it.submissions.cancel(task), it.submissions.cancel(task), return_exceptions=True
        )
        assert isinstance(one, TaskHead)
        assert isinstance(two, AlreadyOver)
        with pytest.raises(NoSuchTask):
            await it.submissions.cancel(OTHER_ID)


@virtual
async def test_an_outcome_that_comes_in_during_a_cancel_counts_for_nobody() -> None:
    """The head says what counted before; the core hears of the outcome only when all is over."""
    async with desk() as it:
        task = await it.running("n1", "n2")
        await it.outcome(task, "n1")
        it.store.before_write.append(lambda: it.outcome(task, "n2"))
        head = await it.submissions.cancel(task)
        assert head.counts is not None
        assert (head.counts.completed, head.counts.cancelled, head.results_seq) == (1, 1, 1)
        assert task not in it.core.runs
        assert (it.outcomes(), it.counted) == (["n1", "n2"], ["n1"])
        run = (await it.tasks.read_snapshot(task)).run
        assert run is not None
        assert run.in_phase[NodePhase.SUCCEEDED] == 1


@virtual
async def test_an_outcome_that_is_stored_and_not_read_yet_counts() -> None:
    """The leader may have told of it: whoever cancels reads first what there is."""
    async with desk() as it:
        task = await it.running("n1", "n2")
        key = AttemptKey(task, "n1", 1)
        await it.store.store_outcome(key, pulled())
        cancelling = asyncio.create_task(it.submissions.cancel(task))
        await asyncio.sleep(1.0)
        assert not cancelling.done()
        await it.tasks.take_in([OutcomeStored(key, pulled(), 1, now())])
        counts = (await cancelling).counts
        assert counts is not None
        assert (counts.completed, counts.cancelled) == (1, 1)


@virtual
async def test_a_cancel_where_nothing_is_read_any_more_is_refused() -> None:
    """After some seconds: it may be asked for again, anywhere."""
    async with desk() as it:
        task = await it.running("n1", "n2")
        await it.store.store_outcome(AttemptKey(task, "n1", 1), pulled())
        with pytest.raises(StoreAway):
            await it.submissions.cancel(task)
        assert (await it.store.truth(task)).status is TaskStatus.RUNNING


@virtual
async def test_what_was_stored_before_a_start_was_known_counts_for_a_cancel() -> None:
    """A start is learned, its earlier outcomes are still being read, and somebody cancels."""
    async with desk() as it:
        task = (await it.create()).id
        stored = it.tasks.stored(task)
        assert stored is not None
        await it.store.save_list(task, "nodes", ["n1", "n2"])
        running = replace(
            stored.head, status=TaskStatus.RUNNING, started_at=0, nodes=2, node_list="nodes"
        )
        swapped = await it.store.swap_head(stored, running)
        await it.outcome(task, "n1")
        it.tasks.learn(swapped)
        counts = (await it.submissions.cancel(task)).counts
        assert counts is not None
        assert (counts.completed, counts.cancelled) == (1, 1)


@virtual
async def test_a_cancel_that_loses_its_swap_reads_again() -> None:
    """A start came between: the task runs by now, and is cancelled all the same."""
    async with desk() as it:
        task = (await it.create()).id
        start = lambda old: replace(old, status=TaskStatus.RUNNING, started_at=5)  # noqa: E731
        it.store.before_write.append(lambda: it.store.rewrite(start, task))
        head = await it.submissions.cancel(task)
        assert (head.status, head.started_at) == (TaskStatus.CANCELLED, 5)
        assert await it.store.truth(task) == head


@virtual
async def test_a_cancel_that_loses_to_an_end_says_so() -> None:
    """The task completed a moment before: that is its end, with all that counted."""
    async with desk() as it:
        task = await it.running("n1")
        finish = lambda old: replace(old, status=TaskStatus.COMPLETED, results_seq=9)  # noqa: E731
        it.store.before_write.append(lambda: it.store.rewrite(finish, task))
        with pytest.raises(AlreadyOver) as over:
            await it.submissions.cancel(task)
        assert over.value.status is TaskStatus.COMPLETED
        assert it.tasks.head(task) == await it.store.truth(task)


@virtual
async def test_a_cancel_of_a_task_that_ends_while_it_reads_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end comes in while the store is asked for the task's newest outcome."""
    async with desk() as it:
        task = await it.running("n1")
        newest = it.store.outcomes_end_of

        async def late(of: str) -> int:
            end = await newest(of)
            await it.store.rewrite(lambda old: replace(old, status=TaskStatus.COMPLETED), of)
            await it.tasks.read_anew(of)
            return end

        monkeypatch.setattr(it.store, "outcomes_end_of", late)
        began = now()
        with pytest.raises(AlreadyOver):
            await it.submissions.cancel(task)
        assert now() - began < 1.0


@virtual
async def test_a_cancel_of_what_was_removed_meanwhile() -> None:
    """There is no such task."""
    async with desk() as it:
        task = (await it.create()).id

        async def remove() -> None:
            stored = it.tasks.stored(task)
            assert stored is not None
            await it.store.delete_head(stored)

        it.store.before_write.append(remove)
        with pytest.raises(NoSuchTask):
            await it.submissions.cancel(task)


@virtual
async def test_a_cancel_that_is_not_answered_and_landed_lets_nothing_count() -> None:
    """What came in meanwhile waits until the head can be read, and then comes too late."""
    async with desk() as it:
        task = await it.running("n1", "n2")
        it.store.before_write.append(it.store.lose_the_answer)
        cancelling = asyncio.create_task(it.submissions.cancel(task))
        await asyncio.sleep(1.0)
        await it.outcome(task, "n1")
        assert it.outcomes() == []
        with pytest.raises(StoreAway):
            await cancelling
        await asyncio.gather(*it.jobs)
        head = it.tasks.head(task)
        assert head is not None
        assert head.status is TaskStatus.CANCELLED
        assert head.counts is not None
        assert head.counts.completed == 0
        ended = [type(event).__name__ for event in it.seen[-2:]]
        assert ended == ["TaskEnded", "OutcomeStored"]


@virtual
async def test_a_cancel_that_did_not_land_lets_everything_count() -> None:
    """The store refused, and could not be read for a while: then the task goes on."""
    async with desk() as it:
        task = await it.running("n1", "n2")

        async def away() -> None:
            await it.store.refuse()
            it.store.bus.jetstream.lead(HEADS_STREAM, leads=False)

        it.store.before_write.append(away)
        with pytest.raises(StoreAway):
            await it.submissions.cancel(task)
        await it.outcome(task, "n1")
        await asyncio.sleep(60.0)
        assert it.outcomes() == []
        it.store.bus.jetstream.lead(HEADS_STREAM, leads=True)
        await asyncio.gather(*it.jobs)
        assert it.outcomes() == ["n1"]
        assert it.core.runs[task].in_phase[NodePhase.SUCCEEDED] == 1
        it.store.accept()
        head = await it.submissions.cancel(task)
        assert head.counts is not None
        assert head.counts.completed == 1


@virtual
async def test_a_repeated_cancel_counts_what_came_in_during_the_first() -> None:
    """The first swap never landed; the leader has told of an outcome that is kept back here."""
    async with desk() as it:
        task = await it.running("n1", "n2")
        it.store.before_write.append(it.store.refuse)
        it.store.bus.jetstream.lead(HEADS_STREAM, leads=False)
        with pytest.raises(StoreAway):
            await it.submissions.cancel(task)
        it.store.accept()
        await it.outcome(task, "n1")
        began = now()
        with pytest.raises(StoreAway) as away:
            await it.submissions.cancel(task)
        assert away.value.text.code == "task.unreadable"
        assert now() - began == pytest.approx(READING_SECONDS)
        again = asyncio.create_task(it.submissions.cancel(task))
        await asyncio.sleep(1.0)
        assert it.outcomes() == []
        it.store.bus.jetstream.lead(HEADS_STREAM, leads=True)
        counts = (await again).counts
        assert counts is not None
        assert (counts.completed, counts.cancelled) == (1, 1)


@virtual
async def test_two_cancels_without_an_answer_let_outcomes_go_only_when_both_know() -> None:
    """The first one's reading must not let go what the second one holds."""
    async with desk() as it:
        task = await it.running("n1")
        await it.store.refuse()
        for _ in range(2):
            with pytest.raises(StoreAway):
                await it.submissions.cancel(task)
        it.store.accept()
        await asyncio.gather(*it.jobs)
        it.store.before_write.append(lambda: it.outcome(task, "n1"))
        assert (await it.submissions.cancel(task)).results_seq == 0
        assert it.outcomes() == ["n1"]
