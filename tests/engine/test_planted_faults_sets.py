"""Plausible bugs of what is told of warm sets, each found by one fast test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.stock import Stock
from coordinator.core.sets import diagnosis
from coordinator.core.sets.events import NodesNoted
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.records import Records
from coordinator.core.sets.remembering import Remembering
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.turns import Turns
from coordinator.engine.gate_notes import GateNotes
from coordinator.engine.node_notes import NodeNotes
from coordinator.engine.set_changes import RecentChanges
from coordinator.engine.set_events import SetEvents
from coordinator.engine.set_notes import SetNotes
from coordinator.engine.set_turns import SetTurns
from coordinator.engine.stored_memory import NodesNote
from tests.agent import test_stock as stock
from tests.core import test_sets as sets
from tests.core import test_sets_turns as turns
from tests.engine import test_cluster_set_events as events
from tests.engine import test_cluster_set_memory as memory
from tests.engine import test_set_gates as gates
from tests.engine.planting import FOUND, nothing, nothing_at_all

Plant = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[tuple[Plant, Callable[[], None]]] = []


def found_by(test: Callable[..., None], *arguments: Any) -> Callable[[Plant], Plant]:
    """A plausible bug, and the test that is to find it."""

    def plant(fault: Plant) -> Plant:
        FAULTS.append((fault, lambda: test(*(make() for make in arguments))))
        return fault

    return plant


@found_by(events.test_what_a_leader_did_not_get_to_say_the_next_one_says, pytest.MonkeyPatch)
def nobody_looks_back(patch: pytest.MonkeyPatch) -> None:
    """What the leader before kept to itself is lost."""
    patch.setattr(SetEvents, "_tell_missing", nothing_at_all)


@found_by(events.test_what_a_leader_did_not_get_to_say_the_next_one_says, pytest.MonkeyPatch)
def a_deletion_is_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    """There is no record of it any more."""
    patch.setattr(SetEvents, "_missing_ends", lambda _self: [])


@found_by(events.test_what_a_leader_did_not_get_to_say_the_next_one_says, pytest.MonkeyPatch)
def who_follows_does_not_look_at_nodes(patch: pytest.MonkeyPatch) -> None:
    """It has nothing to tell when it leads."""
    patch.setattr(RecentChanges, "take", lambda _self: iter(()))


@found_by(turns.test_a_restart_is_no_turn)
def a_set_is_judged_before_its_nodes_spoke(patch: pytest.MonkeyPatch) -> None:
    """It is cold at each restart, and ready again."""
    patch.setattr(Turns, "find", nothing)


@found_by(events.test_a_restart_of_all_tells_nothing_and_forgets_no_time)
def notes_are_not_read(patch: pytest.MonkeyPatch) -> None:
    """Each start is the first one."""
    patch.setattr(SetNotes, "_take", nothing)


@found_by(
    events.test_a_webhook_that_a_leader_did_not_get_to_send_the_next_one_sends, pytest.MonkeyPatch
)
def webhooks_are_not_taken_up(patch: pytest.MonkeyPatch) -> None:
    """A receiver waits for a leader that is dead."""
    patch.setattr(SetTurns, "begin", nothing)


@found_by(sets.test_a_node_that_joins_does_not_wait_for_a_long_repair_of_its_set)
def a_further_repair_takes_the_last_place(patch: pytest.MonkeyPatch) -> None:
    """And another set waits for both of them."""

    def greedy(self: Repairs, name: str, _running: Any) -> bool:
        return not self.are_full and name not in self._asked

    patch.setattr(Repairs, "may_begin", greedy)


@found_by(memory.test_the_back_off_of_a_node_goes_on)
def what_was_remembered_is_not_read(patch: pytest.MonkeyPatch) -> None:
    """Each start is the first one."""
    patch.setattr(NodeNotes, "take", nothing)


@found_by(memory.test_the_back_off_of_a_node_goes_on)
def the_first_heartbeat_counts_as_another_agent(patch: pytest.MonkeyPatch) -> None:
    """What was stored is forgotten as soon as the node is heard."""

    def found(self: Records, names: Any, node: str, _instance: str) -> None:
        self.node_changed(names, node)

    patch.setattr(Records, "agent_found", found)


@found_by(memory.test_another_run_of_the_agent_is_tried_at_once)
def nobody_asks_whose_failure_it_was(patch: pytest.MonkeyPatch) -> None:
    """A new agent waits for the back-off of the one before."""
    patch.setattr(Records, "agent_found", nothing)


@found_by(sets.test_a_set_that_a_disk_has_no_room_for_is_not_pulled)
def what_a_set_adds_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A disk is filled by what was known to be too large."""
    patch.setattr(diagnosis, "_lacks_room", nothing)


@found_by(sets.test_other_credentials_are_tried_at_once)
def other_credentials_change_nothing(patch: pytest.MonkeyPatch) -> None:
    """A set waits for an hour with the right password."""
    patch.setattr(Records, "credentials_changed", nothing)


@found_by(stock.test_a_tag_that_is_put_back_to_a_digest_that_its_image_had_is_seen)
def a_list_of_images_is_believed(patch: pytest.MonkeyPatch) -> None:
    """A tag is not looked up while its image is the same."""

    def believing(self: Stock, listed: Mapping[str, str]) -> list[str]:
        known = self._marks
        return [each for each in self._wanted if each in listed and known.get(each) != listed[each]]

    patch.setattr(Stock, "unknown", believing)


@found_by(memory.test_a_newcomer_is_one_still)
def who_is_warm_stays_new(patch: pytest.MonkeyPatch) -> None:
    """It pulls outside of windows for ever."""
    patch.setattr(Records, "warm", lambda self, name, node: self._forget_failure(name, node))


@found_by(memory.test_a_set_that_is_put_anew_is_tried_at_once)
def the_set_of_a_record_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """What failed before a set was put counts after it."""

    def adopt(self: Remembering, head: SetHead, event: NodesNoted, now: float) -> None:
        adopt_nodes(self, head, replace(event, generation=head.generation), now)

    adopt_nodes = Remembering.adopt_nodes
    patch.setattr(Remembering, "adopt_nodes", adopt)


@found_by(memory.test_a_look_that_failed_is_not_made_again_at_once)
@found_by(memory.test_a_set_of_which_a_repair_was_cancelled_rests_on)
def that_a_set_rests_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    """A restart overrules whoever cancelled its repair."""
    patch.setattr(SetTurns, "_rested", nothing)


@found_by(memory.test_what_is_remembered_goes_with_the_set_and_the_node)
def what_is_over_stays_in_the_store(patch: pytest.MonkeyPatch) -> None:
    """Each cold node leaves something behind."""
    save = NodeNotes.save

    async def forgetful(self: NodeNotes, key: str, note: NodesNote | None) -> None:
        if note is not None:
            await save(self, key, note)

    patch.setattr(NodeNotes, "save", forgetful)


@found_by(gates.test_the_time_of_such_a_taint_goes_on_over_leaders)
def when_a_node_was_tainted_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Its age counts under the next leader."""
    patch.setattr(GateNotes, "appeared", lambda *_: {})


@pytest.mark.parametrize(("fault", "test"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_it_is_found(
    fault: Plant, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test fails once the bug is there."""
    fault(monkeypatch)
    with pytest.raises(FOUND):
        test()
