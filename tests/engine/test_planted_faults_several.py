"""Plausible bugs of several coordinators, each found by one fast test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.bus import BusError, Draft
from coordinator.core.in_flight import InFlight
from coordinator.engine import leader
from coordinator.engine.briefing import Briefed, Briefer
from coordinator.engine.lookups import Lookups
from coordinator.engine.loop import Loop
from coordinator.engine.publisher import Publisher
from coordinator.engine.replica import Replica
from coordinator.engine.service import Service
from tests.core import test_told as told
from tests.core.test_following import follower
from tests.engine import test_briefing as briefing
from tests.engine import test_cluster_followers as followers
from tests.engine import test_leadership as leadership
from tests.engine import test_lookups as lookups
from tests.engine import test_publisher as publisher
from tests.engine.planting import FOUND, nothing, nothing_at_all

Plant = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[tuple[Plant, Callable[[], None]]] = []


def found_by(test: Callable[..., None], *arguments: Any) -> Callable[[Plant], Plant]:
    """A plausible bug, and the test that is to find it."""

    def plant(fault: Plant) -> Plant:
        FAULTS.append((fault, lambda: test(*(make() for make in arguments))))
        return fault

    return plant


@found_by(briefing.test_who_heard_everything_is_complete)
def a_gap_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    """Whatever was missed in between."""
    on_briefing = Briefed.on_briefing

    def trusting(self: Briefed, received: Any) -> None:
        on_briefing(self, received)
        self._unbroken_since = 0

    patch.setattr(Briefed, "on_briefing", trusting)


@found_by(briefing.test_only_who_follows_at_once_and_without_a_gap_succeeds)
def who_led_in_between_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The last word counts, whoever said it."""
    patch.setattr(Briefed, "succeeds", lambda self, _: self.is_complete and self._last > 0)


@found_by(briefing.test_what_is_ahead_waits_until_the_rest_is_known)
def what_is_ahead_is_lost(patch: pytest.MonkeyPatch) -> None:
    """The leader was faster than the store."""
    patch.setattr(Briefed, "_keep_early", nothing)


@found_by(briefing.test_everything_is_told_at_the_start_and_to_whoever_wants_it)
def who_asks_again_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    """Only the start is told whole."""
    patch.setattr(Briefer, "wanted", nothing)


@found_by(told.test_what_was_sent_and_not_answered_is_sent_again_by_who_takes_over, follower)
def an_answer_that_nobody_hears_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    """The one before has asked."""
    resume = InFlight._resume

    def trusting(self: InFlight, attempt: Any, now: float) -> None:
        sent_to = attempt.sent_to
        resume(self, attempt, now)
        attempt.sent_to = sent_to or attempt.sent_to

    patch.setattr(InFlight, "_send_or_give_up", nothing)
    patch.setattr(InFlight, "_resume", trusting)


@found_by(told.test_a_leader_hears_no_other, follower)
def a_deposed_leader_is_believed(patch: pytest.MonkeyPatch) -> None:
    """By the one that leads now."""
    take_in = InFlight.told

    def credulous(self: InFlight, event: Any, now: float) -> None:
        self.leads, leads = False, self.leads
        take_in(self, event, now)
        self.leads = leads

    patch.setattr(InFlight, "told", credulous)


@found_by(lookups.test_all_who_ask_at_once_share_one_reading)
def everybody_reads(patch: pytest.MonkeyPatch) -> None:
    """A crowd that asks for one task asks the store as often."""

    async def alone(self: Lookups, task: str) -> None:
        stored = await self._store.load_head(task)
        if stored is not None:
            self._tasks.learn(stored)

    patch.setattr(Lookups, "find", alone)


@found_by(lookups.test_a_store_that_is_away_is_told_to_all_who_ask)
def a_store_that_is_away_has_no_such_task(patch: pytest.MonkeyPatch) -> None:
    """What cannot be read does not exist."""
    find = Lookups.find

    async def glib(self: Lookups, task: str) -> None:
        try:
            await find(self, task)
        except BusError:
            return

    patch.setattr(Lookups, "find", glib)


@found_by(publisher.test_what_was_sent_by_a_leader_that_is_none_any_more_is_refused)
def a_batch_follows_anything(patch: pytest.MonkeyPatch) -> None:
    """The store takes what is late."""

    def loose(_: Publisher, batch: Any) -> list[Draft]:
        return [Draft(item.subject, item.payload) for item in batch]

    patch.setattr(Publisher, "_drafts", loose)


@found_by(publisher.test_who_holds_no_lease_publishes_nothing)
def the_lease_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Before events are published."""
    patch.setattr(Publisher, "_until_held", nothing_at_all)


@found_by(followers.test_a_leader_that_stood_still_assigns_nothing)
def who_stood_still_acts_on(patch: pytest.MonkeyPatch) -> None:
    """As if no time had passed."""
    attach = Loop.attach
    patch.setattr(Loop, "attach", lambda self, performers, _leads=None: attach(self, performers))


@found_by(followers.test_a_leader_that_stops_in_order_hands_over_within_a_second)
def the_last_word_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """The lease is given back, and that is all."""
    patch.setattr(Briefer, "end", nothing)


@found_by(followers.test_who_has_missed_the_last_word_asks_the_agents)
def nobody_is_asked(patch: pytest.MonkeyPatch) -> None:
    """A new leader knows everything."""
    patch.setattr(leader, "SETTLE_SECONDS", 0.0)


@found_by(followers.test_a_node_that_was_assigned_is_so_everywhere)
def places_are_kept_to_oneself(patch: pytest.MonkeyPatch) -> None:
    """What is in flight is heard from agents alone."""
    patch.setattr(Briefed, "_take_in", nothing)


@found_by(followers.test_why_a_retry_waits_is_said_everywhere)
def why_a_task_waits_is_guessed(patch: pytest.MonkeyPatch) -> None:
    """Each by its own lights."""
    patch.setattr(Replica, "_why_waiting", lambda self, task: self.why_waiting(task))


@found_by(leadership.test_who_asks_for_what_was_just_created_elsewhere_gets_it)
def only_the_own_copy_is_asked(patch: pytest.MonkeyPatch) -> None:
    """A read after a write elsewhere misses."""

    async def find(self: Service, task_id: str) -> Any:
        return self._readable().tasks.head(task_id)

    patch.setattr(Service, "find", find)


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_it_is_found(
    fault: Plant, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test fails once the bug is there."""
    fault(monkeypatch)
    with pytest.raises(FOUND):
        test()
