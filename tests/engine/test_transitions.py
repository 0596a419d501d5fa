"""What the leader stores: each swap that is lost, refused or not answered, and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from common.bus import BusError, StoreUnavailable
from common.messages import Outcome
from common.subjects import RESULTS, AttemptKey
from common.texts import TASK_NODES_GONE, WEBHOOK_REFUSED
from coordinator.core.commands import FinishTask, StartTask, StoreVerdict
from coordinator.core.events import Event, FinishFailed, StartFailed, VerdictFailed
from coordinator.core.task import PendingNotification, TaskCounts, TaskHead, TaskStatus
from coordinator.engine.transitions import VERDICTS_AT_A_TIME, Transitions
from coordinator.store import StoredHead
from sandbox.virtual.time import virtual
from tests.core.stage import REMOVAL, head, pulled, spec
from tests.engine.stored import TASK, Contended, Table, bus_in_memory, now, unfinished

COUNTS = TaskCounts(total=1, completed=1)
FINISH = FinishTask(TASK, TaskStatus.COMPLETED, COUNTS, 7, None)
EVENT, WEBHOOK = PendingNotification.EVENT, PendingNotification.WEBHOOK
FIRST, SECOND = AttemptKey(TASK, "n1", 1), AttemptKey(TASK, "n1", 2)


class Leading:
    """Transitions of one leader, and what they say."""

    def __init__(self, store: Contended, table: Table, epoch: int = 1) -> None:
        self.store, self.table = store, table
        self.fed: list[Event] = []
        self.failures: list[BusError] = []
        self.transitions = Transitions(
            store=store,
            tasks=table,
            epoch=epoch,
            clock=now,
            feed=self.fed.append,
            failed=self.failures.append,
        )

    @property
    def known(self) -> TaskHead:
        """The head in the table."""
        found = self.table.head(TASK)
        assert found is not None
        return found


@asynccontextmanager
async def leading(stored: TaskHead) -> AsyncIterator[Leading]:
    """Transitions with one task in the store."""
    async with bus_in_memory() as bus:
        store, table = Contended(bus), Table()
        table.apply(await store.create_head(stored))
        yield Leading(store, table)


def cancelled(old: TaskHead) -> TaskHead:
    """The head after somebody has cancelled it."""
    return replace(old, status=TaskStatus.CANCELLED)


# ── start ──


@virtual
async def test_a_start_stores_the_list_and_then_the_head() -> None:
    """The head says how many nodes and batches, and which list is meant."""
    async with leading(head(TASK, spec(batch_size=2))) as it:
        await it.transitions.start(StartTask(TASK, ("n1", "n2", "n3")))
        true = await it.store.truth()
        assert it.known == true
        assert (true.status, true.nodes, true.batches) == (TaskStatus.RUNNING, 3, 2)
        assert true.started_at == int(now() * 1000)
        assert await it.store.load_list(TASK, true.node_list or "") == ["n1", "n2", "n3"]
        assert (it.fed, it.failures) == ([], [])


@virtual
async def test_a_start_that_lost_to_a_cancel_learns_of_it() -> None:
    """What is stored counts; the core is told that its own start is not."""
    async with leading(head(TASK)) as it:
        it.store.before_write.append(lambda: it.store.rewrite(cancelled))
        await it.transitions.start(StartTask(TASK, ("n1",)))
        assert it.known.status is TaskStatus.CANCELLED
        assert it.fed == [StartFailed(TASK)]
        assert it.failures == []


@virtual
async def test_a_start_that_lost_and_cannot_read_is_tried_again() -> None:
    """Nothing is known, so the core asks for it once more; then what is stored is learned."""

    async def unreadable() -> None:
        raise StoreUnavailable("away")

    async with leading(head(TASK)) as it:
        it.store.before_write.append(lambda: it.store.rewrite(cancelled))
        it.store.before_load.append(unreadable)
        await it.transitions.start(StartTask(TASK, ("n1",)))
        known = it.known
        assert known.status is TaskStatus.PENDING
        assert it.fed == [StartFailed(TASK)]
        await it.transitions.start(StartTask(TASK, ("n1",)))
        known = it.known
        assert known.status is TaskStatus.CANCELLED


@virtual
async def test_a_start_whose_answer_is_lost_happened_once() -> None:
    """Repeated, it loses to itself, and what it had stored is learned, its first list too."""
    async with leading(head(TASK)) as it:
        it.store.before_write.append(it.store.lose_the_answer)
        await it.transitions.start(StartTask(TASK, ("n1", "n2")))
        assert it.known.status is TaskStatus.PENDING
        assert it.fed == [StartFailed(TASK)]
        assert len(it.failures) == 1
        landed = await it.store.truth()
        await it.transitions.start(StartTask(TASK, ("n1", "n2", "n3")))
        assert it.known == landed == await it.store.truth()
        assert await it.store.load_list(TASK, landed.node_list or "") == ["n1", "n2"]


@virtual
async def test_a_start_that_is_refused_leaves_the_task_pending() -> None:
    """It is tried again when the store takes writes again."""
    async with leading(head(TASK)) as it:
        await it.store.refuse()
        await it.transitions.start(StartTask(TASK, ("n1",)))
        assert it.fed == [StartFailed(TASK)]
        assert len(it.failures) == 1
        it.store.accept()
        await it.transitions.start(StartTask(TASK, ("n1",)))
        assert (await it.store.truth()).status is TaskStatus.RUNNING


@virtual
async def test_only_what_waits_is_started() -> None:
    """The start or end that is known is on its way to the core already."""
    async with leading(unfinished()) as it:
        before = it.known
        await it.transitions.start(StartTask(TASK, ("n1",)))
        await it.transitions.start(StartTask("task-20260101-000000-0000dead", ("n1",)))
        assert (it.known, it.fed) == (before, [])


@virtual
async def test_a_start_that_is_repeated_keeps_no_node_of_the_first() -> None:
    """The first list was longer; its last chunks must not be read as part of the second."""

    async def away() -> None:
        raise StoreUnavailable("not now")

    async with leading(head(TASK)) as it:
        it.store.before_write.append(away)
        many = tuple(f"a-node-with-quite-a-long-name-{number:05}" for number in range(12_000))
        await it.transitions.start(StartTask(TASK, many))
        await it.transitions.start(StartTask(TASK, many[:3]))
        running = await it.store.truth()
        assert await it.store.load_list(TASK, running.node_list or "") == list(many[:3])


@virtual
async def test_a_deposed_leader_does_not_touch_the_list_that_counts() -> None:
    """It writes its list late, between the new leader's list and head, and after both."""
    async with leading(head(TASK)) as old:
        new = Leading(Contended(old.store.bus), old.table, epoch=2)
        old_table = Table()
        known = old.table.stored(TASK)
        assert known is not None
        old_table.apply(known)
        late = Leading(Contended(old.store.bus), old_table)

        async def deposed_writes() -> None:
            await late.transitions.start(StartTask(TASK, ("n1",)))

        async def deposed_saves() -> None:
            late.store.before_write.append(late.store.refuse)
            await deposed_writes()
            late.store.accept()

        new.store.before_write.append(deposed_saves)
        await new.transitions.start(StartTask(TASK, ("n2", "n3")))
        await deposed_writes()
        true = await new.store.truth()
        assert await new.store.load_list(TASK, true.node_list or "") == ["n2", "n3"]
        assert old_table.head(TASK) == true


# ── finish ──


@virtual
async def test_a_finish_says_what_counts_and_why() -> None:
    """And that the world has still to be told."""
    text = TASK_NODES_GONE()
    hooked = replace(unfinished(), spec=spec(webhook_url="http://h/"))
    async with leading(hooked) as it:
        await it.transitions.finish(FinishTask(TASK, TaskStatus.COMPLETED, COUNTS, 7, text))
        true = await it.store.truth()
        assert it.known == true
        assert (true.status, true.counts, true.results_seq) == (TaskStatus.COMPLETED, COUNTS, 7)
        assert (true.message, true.notify) == (text.message, (EVENT, WEBHOOK))
        assert true.finished_at == int(now() * 1000)


@virtual
async def test_a_finish_that_lost_to_a_cancel_learns_of_it() -> None:
    """A task has one end."""
    async with leading(unfinished()) as it:
        it.store.before_write.append(lambda: it.store.rewrite(cancelled))
        await it.transitions.finish(FINISH)
        assert it.known == await it.store.truth()
        assert it.known.status is TaskStatus.CANCELLED
        assert it.fed == [FinishFailed(TASK)]
        await it.transitions.finish(FINISH)
        assert it.known.status is TaskStatus.CANCELLED


@virtual
async def test_a_finish_whose_answer_is_lost_happened_once() -> None:
    """Repeated, it loses to itself and keeps its first time."""
    async with leading(unfinished()) as it:
        it.store.before_write.append(it.store.lose_the_answer)
        await it.transitions.finish(FINISH)
        assert it.fed == [FinishFailed(TASK)]
        landed = await it.store.truth()
        await it.transitions.finish(FINISH)
        assert it.known == landed == await it.store.truth()


# ── verdicts ──


@virtual
async def test_a_verdict_is_stored_unless_the_agent_was_faster() -> None:
    """Whoever was first counts; the core reads it back and is told nothing here."""
    async with leading(unfinished()) as it:
        await it.store.store_outcome(FIRST, pulled())
        await it.transitions.decide(StoreVerdict(FIRST, REMOVAL))
        await it.transitions.decide(StoreVerdict(SECOND, REMOVAL))
        found = [event.outcome async for event in it.store.load_outcomes(TASK, 10)]
        assert found == [pulled(), REMOVAL]
        assert (it.fed, it.failures) == ([], [])


@virtual
async def test_a_verdict_that_is_refused_is_said_to_be() -> None:
    """The attempt is undecided still."""
    async with leading(unfinished()) as it:
        it.store.bus.jetstream.refuse(RESULTS)
        await it.transitions.decide(StoreVerdict(FIRST, REMOVAL))
        assert it.fed == [VerdictFailed(FIRST, REMOVAL)]
        assert len(it.failures) == 1


@virtual
async def test_not_all_verdicts_are_stored_at_once() -> None:
    """A thousand nodes vanish; the store takes some at a time, and in the end has all."""
    at_once: list[int] = []

    class Slow(Contended):
        under_way = 0

        async def store_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
            self.under_way += 1
            at_once.append(self.under_way)
            await asyncio.sleep(0.01)
            await super().store_outcome(key, outcome)
            self.under_way -= 1

    async with bus_in_memory() as bus:
        it = Leading(Slow(bus), Table())
        keys = [AttemptKey(TASK, f"n{number}", 1) for number in range(1000)]
        await asyncio.gather(*(it.transitions.decide(StoreVerdict(key, REMOVAL)) for key in keys))
        assert max(at_once) == VERDICTS_AT_A_TIME
        assert len(await bus.subjects(RESULTS)) == len(keys)


# ── told ──


def over(*notify: PendingNotification) -> TaskHead:
    """A task of which the world has still to be told."""
    return replace(unfinished(status=TaskStatus.COMPLETED), finished_at=1, notify=notify)


@virtual
async def test_each_notification_is_taken_off_by_itself() -> None:
    """The other one stays."""
    async with leading(over(EVENT, WEBHOOK)) as it:
        await it.transitions.mark_notified(TASK, WEBHOOK)
        assert (await it.store.truth()).notify == (EVENT,)
        await it.transitions.mark_notified(TASK, EVENT)
        assert (await it.store.truth()).notify == ()
        assert it.known == await it.store.truth()


@virtual
async def test_a_webhook_that_is_refused_is_told_in_the_message() -> None:
    """After what the message said before, if it said anything."""
    why = WEBHOOK_REFUSED(kind="loopback")
    async with leading(over(WEBHOOK)) as it:
        await it.transitions.mark_notified(TASK, WEBHOOK, why)
        told = await it.store.truth()
        assert (told.notify, told.message, told.message_code) == ((), str(why), "webhook.refused")
    async with leading(replace(over(WEBHOOK), message="No node matches.", message_code="x")) as it:
        await it.transitions.mark_notified(TASK, WEBHOOK, why)
        told = await it.store.truth()
        assert (told.message, told.message_code) == (f"No node matches. {why}", None)


@virtual
async def test_both_notifications_at_once_are_both_taken_off() -> None:
    """Whoever loses the swap reads again and takes its own off what is there."""
    async with leading(over(EVENT, WEBHOOK)) as it:
        await asyncio.gather(
            it.transitions.mark_notified(TASK, EVENT), it.transitions.mark_notified(TASK, WEBHOOK)
        )
        assert (await it.store.truth()).notify == ()


@virtual
async def test_a_mark_whose_answer_is_lost_is_found_when_it_is_repeated() -> None:
    """The caller learns that it failed, and tries again; the second time nothing is written."""
    async with leading(over(EVENT)) as it:
        it.store.before_write.append(it.store.lose_the_answer)
        with pytest.raises(StoreUnavailable):
            await it.transitions.mark_notified(TASK, EVENT)
        revision = await revision_of(it.store)
        await it.transitions.mark_notified(TASK, EVENT)
        assert (await it.store.truth()).notify == ()
        assert await revision_of(it.store) == revision


@virtual
async def test_what_is_told_already_or_removed_needs_no_mark() -> None:
    """No write, no error."""
    async with leading(over(WEBHOOK)) as it:
        revision = await revision_of(it.store)
        await it.transitions.mark_notified(TASK, EVENT)
        await it.transitions.mark_notified("task-20260101-000000-0000dead", EVENT)
        assert await revision_of(it.store) == revision
        known = it.table.stored(TASK)
        assert known is not None
        await it.store.delete_head(known)
        await it.transitions.mark_notified(TASK, WEBHOOK)


async def revision_of(store: Contended) -> int:
    """The revision of the stored head."""
    found: StoredHead | None = await store.load_head(TASK)
    assert found is not None
    return found.revision
