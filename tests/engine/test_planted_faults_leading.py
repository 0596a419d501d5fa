"""Plausible bugs of what leads, each of them found by a test of this folder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

import pytest
from msgspec.structs import replace

from common.bus import Conflict, Draft
from coordinator.core.events import VerdictFailed
from coordinator.core.task import PendingNotification, TaskHead
from coordinator.engine import leader, webhooks
from coordinator.engine.dispatcher import Dispatcher
from coordinator.engine.end_notifications import EndNotifications
from coordinator.engine.failed_pulls import FailedPulls
from coordinator.engine.janitor import Janitor
from coordinator.engine.leader import Leader
from coordinator.engine.publisher import Item, Publisher
from coordinator.engine.submissions import Submissions
from coordinator.engine.task_events import TaskEvents
from coordinator.engine.tasks import TaskTable
from coordinator.engine.transitions import Transitions
from coordinator.store import KeyRecord
from coordinator.views import tasks as views
from sandbox.virtual.time import Deadlock, OutOfTime
from tests.engine import (
    test_cluster_leaders,
    test_dispatcher,
    test_end_notifications,
    test_janitor,
    test_journal,
    test_leader,
    test_publisher,
    test_submissions,
    test_task_events,
    test_transitions,
    test_webhooks,
)

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[tuple[Fault, Callable[[], None]]] = []
FOUND = (AssertionError, TimeoutError, Deadlock, OutOfTime, pytest.fail.Exception)
"""What a test says when it finds something."""


def found_by(test: Callable[..., None], *arguments: object) -> Callable[[Fault], Fault]:
    """A plausible bug, and the test that is to find it."""

    def plant(fault: Fault) -> Fault:
        FAULTS.append((fault, lambda: test(*arguments)))
        return fault

    return plant


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


async def nothing_later(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line that is awaited does."""


def made_with(patch: pytest.MonkeyPatch, kind: type, **attributes: Any) -> None:
    """Let every object of a kind have these attributes from its beginning."""
    make = kind.__init__  # type: ignore[misc]

    def made(self: object, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        for name, value in attributes.items():
            setattr(self, name, value)

    patch.setattr(kind, "__init__", made)


# ── stored ──


@found_by(test_transitions.test_a_start_that_lost_to_a_cancel_learns_of_it)
def a_lost_swap_is_not_read_again(patch: pytest.MonkeyPatch) -> None:
    """The core tries again, with the same old head, for ever."""

    async def stubborn(self: Transitions, _task: str, otherwise: Any) -> None:
        self._feed(otherwise)

    patch.setattr(Transitions, "_read_again", stubborn)


@found_by(test_transitions.test_a_finish_whose_answer_is_lost_happened_once)
def a_transition_without_an_answer_is_not_said_to_be_one(patch: pytest.MonkeyPatch) -> None:
    """The task runs for ever, with nothing left to do."""
    patch.setattr(Transitions, "_refused", nothing)


@found_by(test_transitions.test_a_deposed_leader_does_not_touch_the_list_that_counts)
def lists_of_two_leaders_have_one_name(patch: pytest.MonkeyPatch) -> None:
    """The deposed one writes over what the head speaks of."""
    made_with(patch, Transitions, _epoch=0)


@found_by(test_transitions.test_a_start_that_is_repeated_keeps_no_node_of_the_first)
def lists_of_two_starts_have_one_name(patch: pytest.MonkeyPatch) -> None:
    """Chunks of the longer one stay."""
    made_with(patch, Transitions, _lists=itertools.repeat(1))


@found_by(test_transitions.test_both_notifications_at_once_are_both_taken_off)
def a_lost_mark_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """Whoever was faster has done it, one thinks."""

    async def once(
        self: Transitions, task: str, what: PendingNotification, _refused: object = None
    ) -> None:
        stored = self._tasks.stored(task)
        assert stored is not None
        left = tuple(other for other in stored.head.notify if other is not what)
        with suppress(Conflict):
            swapped = await self._store.swap_head(stored, replace(stored.head, notify=left))
            self._tasks.learn(swapped)

    patch.setattr(Transitions, "mark_notified", once)


@found_by(test_transitions.test_a_verdict_is_stored_unless_the_agent_was_faster)
def a_verdict_that_came_late_is_a_failure(patch: pytest.MonkeyPatch) -> None:
    """It is stored again and again."""

    async def decide(self: Transitions, command: Any) -> None:
        try:
            await self._store.store_outcome(command.key, command.outcome)
        except Conflict:
            self._feed(VerdictFailed(command.key, command.outcome))

    patch.setattr(Transitions, "decide", decide)


# ── submitted ──


@found_by(test_submissions.test_an_outcome_that_comes_in_during_a_cancel_counts_for_nobody)
def a_cancel_loses_to_an_outcome(patch: pytest.MonkeyPatch) -> None:
    """It counts for the core, and not in the head."""

    @contextmanager
    def open_door(_self: TaskTable, _task: str) -> Iterator[None]:
        yield

    patch.setattr(TaskTable, "withholding", open_door)


@found_by(test_submissions.test_a_cancel_that_is_not_answered_and_landed_lets_nothing_count)
def a_cancel_without_an_answer_lets_outcomes_go(patch: pytest.MonkeyPatch) -> None:
    """As if it had not landed."""

    async def hasty(self: Submissions, task: str, withheld: ExitStack) -> None:
        withheld.close()
        await self._tasks.read_anew(task)

    patch.setattr(Submissions, "_read_anew", hasty)


@found_by(test_submissions.test_all_who_ask_at_once_with_one_key_get_one_task)
def a_lost_key_is_used_all_the_same(patch: pytest.MonkeyPatch) -> None:
    """Each of them creates its own task."""

    async def claim(self: Submissions, key: Any, _claim: Any, new_id: str) -> str:
        name = f"idem.{key.key_hash}"
        with suppress(Conflict):
            await self._store.claim_key(name, KeyRecord(new_id, key.body_hash), None)
        return new_id

    patch.setattr(Submissions, "_claim", claim)


# ── published ──


@found_by(test_task_events.test_a_change_of_leader_at_any_point, "all published")
def events_are_told_twice_after_a_start(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks what is kept."""

    async def kept_ids(_self: Publisher, _task: str) -> set[str]:
        return set()

    patch.setattr(Publisher, "kept_ids", kept_ids)


@found_by(test_task_events.test_a_change_of_leader_at_any_point, "all published")
def what_was_held_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """What happened while a leader caught up is never told."""

    async def catch_up(self: TaskEvents, head: TaskHead, upto: int) -> None:
        async with self._readers:
            await self._persistently(lambda: self._tell_missing(head, upto))
        self._behind.pop(head.id, None)

    patch.setattr(TaskEvents, "catch_up", catch_up)


@found_by(test_task_events.test_a_change_of_leader_at_any_point, "nothing published")
def nothing_is_held(patch: pytest.MonkeyPatch) -> None:
    """What happens now overtakes what happened before."""
    patch.setattr(TaskEvents, "hold", nothing)


@found_by(test_task_events.test_what_would_be_gone_from_the_stream_by_now_is_not_told_again)
def old_events_are_told_again(patch: pytest.MonkeyPatch) -> None:
    """Their ids are not kept any more."""
    patch.setattr(TaskEvents, "_is_old", lambda *_: False)


@found_by(test_task_events.test_progress_never_follows_the_end)
def progress_is_told_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """The table still knows the task."""

    async def report(self: TaskEvents) -> NoReturn:
        while True:
            await asyncio.sleep(1.0)
            changed, self._changed = self._changed, set()
            for task in changed:
                shot = self._tasks.snapshot(task)
                if shot is not None and shot.head.started_at is not None:
                    data = views.summary(shot)
                    self._tell(self._progress(task, data, shot.now))

    patch.setattr(TaskEvents, "report_progress", report)


@found_by(test_task_events.test_while_the_stream_refuses_one_progress_waits)
def progress_piles_up(patch: pytest.MonkeyPatch) -> None:
    """One for each second in which the store is away."""
    patch.setattr(Publisher, "progress_waits", lambda *_: False)


@found_by(test_publisher.test_a_lost_answer_doubles_nothing_and_loses_nothing)
def what_landed_without_an_answer_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    """Nobody reads it back."""
    patch.setattr(Publisher, "_settle_doubt", nothing_later)


@found_by(test_publisher.test_a_stream_that_refuses_is_waited_for)
def the_end_overtakes_what_waits(patch: pytest.MonkeyPatch) -> None:
    """It is the most important event."""
    put = Publisher.put

    def eager(self: Publisher, item: Item) -> None:
        put(self, item)
        if item.is_last:
            self._queue.rotate(1)

    patch.setattr(Publisher, "put", eager)


@found_by(test_publisher.test_the_end_waits_for_the_answer_to_what_comes_before_it)
def a_batch_is_forgotten_before_it_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """Sent is stored, one thinks."""
    publish_next = Publisher._publish_next

    async def hasty(self: Publisher) -> None:
        if not self._queue or self._queue[0].once:
            await publish_next(self)
            return
        batch = self._next_batch()
        for _ in batch:
            self._queue.popleft()
        await self._bus.store_batch([Draft(item.subject, item.payload) for item in batch])

    patch.setattr(Publisher, "_publish_next", hasty)


@found_by(test_publisher.test_what_was_published_before_is_not_published_again)
def ends_are_published_without_an_expectation(patch: pytest.MonkeyPatch) -> None:
    """Each leader tells the end once more."""

    async def publish(self: Publisher, item: Item) -> None:
        await self._bus.store(item.subject, item.payload, expect_last=None)
        if item.is_last:
            await self._on_last(item.about)

    patch.setattr(Publisher, "_publish_once", publish)


# ── told ──


@found_by(test_end_notifications.test_an_end_is_told_by_event_and_webhook_each_marked)
def webhooks_are_never_marked(patch: pytest.MonkeyPatch) -> None:
    """Each leader delivers them once more."""
    tell = EndNotifications._tell

    async def forgetful(self: EndNotifications, head: TaskHead) -> None:
        self._mark_notified = nothing_later
        await tell(self, head)

    patch.setattr(EndNotifications, "_tell", forgetful)


@found_by(test_end_notifications.test_an_end_whose_event_is_kept_is_only_marked)
def an_end_that_is_kept_is_told_again(patch: pytest.MonkeyPatch) -> None:
    """And marked twice."""
    patch.setattr(TaskEvents, "knows_end", lambda *_: False)


@found_by(test_webhooks.test_a_dead_receiver_is_given_up_after_a_day)
def dead_receivers_are_tried_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Their tasks are never removed."""
    patch.setattr(webhooks, "GIVE_UP_SECONDS", float("inf"))


@found_by(test_journal.test_what_succeeded_was_removed_or_is_replayed_is_not_told)
def failures_of_before_are_told_again(patch: pytest.MonkeyPatch) -> None:
    """Each start tells of every failure there ever was."""

    def talkative(self: FailedPulls, _event: Any, decision: Any) -> None:
        for change in decision.changes:
            if hasattr(change, "step"):
                self._tell_of(change.task, change.node)

    patch.setattr(FailedPulls, "observe", talkative)


# ── removed ──


@found_by(test_janitor.test_heads_that_cannot_be_deleted_now_are_deleted_later)
def the_janitor_forgets_before_it_deletes(patch: pytest.MonkeyPatch) -> None:
    """What could not be deleted is never looked at again."""

    async def hasty(self: Janitor) -> None:
        for stored in self._tasks:
            if self._expires(stored) <= self._time.now():
                self._tasks.forget(stored.head.id)
                await self._store.delete_head(stored.stored)
                await self._store.purge_task(stored.id, stored.head.key)

    patch.setattr(Janitor, "_remove_expired", hasty)


@found_by(test_janitor.test_heads_that_cannot_be_deleted_now_are_deleted_later)
def the_rest_goes_before_the_head(patch: pytest.MonkeyPatch) -> None:
    """A task without outcomes looks as if nothing had been done."""
    remove = Janitor._remove_expired

    async def backwards(self: Janitor) -> None:
        for stored in self._tasks:
            if self._expires(stored) <= self._time.now():
                await self._store.purge_task(stored.id, stored.head.key)
        await remove(self)

    patch.setattr(Janitor, "_remove_expired", backwards)


@found_by(test_janitor.test_a_purge_that_a_crash_has_undone_is_done_again_by_the_next_term)
def nothing_is_swept(patch: pytest.MonkeyPatch) -> None:
    """What a crash brought back stays."""
    patch.setattr(Janitor, "_sweep", nothing_later)


# ── led ──


@found_by(test_dispatcher.test_an_agent_that_knows_a_newer_leader_deposes_this_one)
def the_epoch_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Two lead."""
    made_with(patch, Dispatcher, _deposed=nothing)


@found_by(test_leader.test_an_agent_that_knows_a_newer_leader_deposes_this_one)
def a_deposed_leader_leads_on(patch: pytest.MonkeyPatch) -> None:
    """Every assignment of its term is refused."""
    patch.setattr(Leader, "_deposed", nothing)


@found_by(test_leader.test_a_new_leader_asks_what_is_held_before_it_assigns)
def a_new_leader_does_not_listen_first(patch: pytest.MonkeyPatch) -> None:
    """It assigns what others do already."""
    patch.setattr(leader, "SETTLE_SECONDS", 0.0)


@found_by(
    test_cluster_leaders.test_a_leader_killed_at_a_phase_is_followed_without_loss,
    "over, not known",
)
def a_new_leader_does_not_look_back(patch: pytest.MonkeyPatch) -> None:
    """What the one before it did not get to say is never said."""
    patch.setattr(Leader, "_catch_up", nothing)


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_it_is_found(
    fault: Fault, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted fault breaks the test that is about it, so the tests bite."""
    fault(monkeypatch)
    with pytest.raises(FOUND):
        test()
