"""Whether the search would find plausible bugs of the sets' core: each is planted, and found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from common.inventory import Inventory
from coordinator.core.sets import core, diagnosis
from coordinator.core.sets.core import SetCore
from coordinator.core.sets.decisions import AskInventory, CreateRepair
from coordinator.core.sets.freshness import Freshness
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.looking import Looking
from coordinator.core.sets.membership import Membership, Wanted
from coordinator.core.sets.reconciling import Reconciling
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.telling import Telling
from coordinator.core.sets.warmth import Heard, Warmth
from coordinator.core.sets.windows import Window
from tests.core.set_laws import SetMachine, profile

pytestmark = [pytest.mark.pure, pytest.mark.deep, pytest.mark.timeout(300)]

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[Fault] = []


def planted(fault: Fault) -> Fault:
    """A plausible bug, to be found."""
    FAULTS.append(fault)
    return fault


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


@planted
def a_missed_report_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    """Neither at once nor at the next heartbeat."""
    go_on = SetCore._go_on

    def deaf(self: SetCore, now: float) -> None:
        self._commands[:] = [c for c in self._commands if not isinstance(c, AskInventory)]
        go_on(self, now)

    patch.setattr(SetCore, "_go_on", deaf)


@planted
def a_gap_between_reports_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    """A later report counts although the one before it was lost: its hash covers that up."""
    hear = Warmth.hear

    def careless(
        self: Warmth, node: str, instance: str, report: Inventory, wanted: Wanted
    ) -> Heard:
        row = self._rows.get(node)
        if row is not None and not report.whole and report.number > row.number:
            row.number = report.number - 1
        return hear(self, node, instance, report, wanted)

    patch.setattr(Warmth, "hear", careless)


@planted
def agents_are_not_told_of_another_list(patch: pytest.MonkeyPatch) -> None:
    """Neither when a set changes nor when a heartbeat shows it."""
    patch.setattr(Telling, "_messages", lambda _self, _node: iter(()))


@planted
def two_repairs_of_a_set(patch: pytest.MonkeyPatch) -> None:
    """Whoever became cold meanwhile gets one of its own, whether there is a place or not."""
    patch.setattr(Repairs, "may_begin", lambda _self, _name, _running: True)


@planted
def the_limit_of_all_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Each set repairs by itself."""
    patch.setattr(Repairs, "are_full", property(lambda _self: False))


@planted
def who_a_repair_is_not_done_with_is_repaired_beside_it(patch: pytest.MonkeyPatch) -> None:
    """A node is in two repairs of a set."""
    patch.setattr(diagnosis, "_in_repair", nothing)
    patch.setattr(diagnosis, "_waits_for", nothing)


@planted
def a_refused_repair_is_never_asked_for_again(patch: pytest.MonkeyPatch) -> None:
    """It counts as asked for, for ever."""
    patch.setattr(Repairs, "refused", nothing)


@planted
def the_end_of_a_repair_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    """It keeps its place for ever."""
    patch.setattr(Repairs, "over", nothing)


@planted
def a_paused_set_repairs(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether it is."""
    unavailable = diagnosis._unavailable

    def eager(known: Any, name: str, node: str, now: float) -> Any:
        found = unavailable(known, name, node, now)
        return None if found is not None and found.reason == "Paused" else found

    patch.setattr(diagnosis, "_unavailable", eager)


@planted
def a_window_has_no_end(patch: pytest.MonkeyPatch) -> None:
    """What runs at its end goes on."""
    patch.setattr(Reconciling, "_see_window", nothing)


@planted
def a_schedule_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Nodes are warmed whenever they are cold."""
    patch.setattr(diagnosis.AllKnown, "closed", nothing)


@planted
def a_window_is_looked_up_once(patch: pytest.MonkeyPatch) -> None:
    """It is open, or closed, for ever."""
    patch.setattr(Window, "turns", property(nothing))


@planted
def what_a_look_brought_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody follows it."""
    patch.setattr(diagnosis.AllKnown, "is_outdated", lambda *_arguments: False)


@planted
def who_follows_pulls_only_what_is_absent(patch: pytest.MonkeyPatch) -> None:
    """Its outdated image is there."""
    init = CreateRepair.__init__

    def lazy(self: CreateRepair, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **{**options, "always": options.get("looks", False)})

    patch.setattr(CreateRepair, "__init__", lazy)


@planted
def a_look_is_made_once(patch: pytest.MonkeyPatch) -> None:
    """Its end is overlooked."""
    patch.setattr(Freshness, "over", nothing)


@planted
def a_cold_node_looks(patch: pytest.MonkeyPatch) -> None:
    """Whichever takes work."""

    def anywhere(self: Looking, head: SetHead, _now: float) -> CreateRepair | None:
        nodes = sorted(self._known.membership.of_set[head.name])
        if not nodes or not self._known.repairs.may_begin(head.name, self._known.runs):
            return None
        self._known.repairs.asked(head.name)
        self._known.freshness.asked(head)
        return CreateRepair(head, (nodes[0],), always=True, looks=True)

    patch.setattr(Looking, "begin", anywhere)


@planted
def who_was_not_heard_is_repaired(patch: pytest.MonkeyPatch) -> None:
    """As if nothing were there."""
    patch.setattr(diagnosis, "_unheard", nothing)


@planted
def a_node_stays_in_a_set_that_it_left(patch: pytest.MonkeyPatch) -> None:
    """What is known of it there is not taken away."""
    patch.setattr(SetCore, "_leave", nothing)


@planted
def labels_are_looked_at_once(patch: pytest.MonkeyPatch) -> None:
    """A node that changes stays in the sets that it was in."""
    see = Membership.see

    def blind(self: Membership, node: str, labels: Any) -> bool:
        return see(self, node, labels) if node not in self._labels else False

    patch.setattr(Membership, "see", blind)


@planted
def kinds_of_nodes_outlive_sets(patch: pytest.MonkeyPatch) -> None:
    """Which sets a kind of node is in is remembered although they have changed."""
    anew = Membership._anew

    def stale(self: Membership, before: set[str], name: str) -> Iterable[str]:
        kinds, keys = dict(self._kinds), self._keys
        nodes = anew(self, before, name)
        if keys == self._keys:
            self._kinds.update(kinds)
            for node, labels in self._labels.items():
                self._place(node, labels)
        return nodes

    patch.setattr(Membership, "_anew", stale)


@planted
def a_repair_outlives_its_set(patch: pytest.MonkeyPatch) -> None:
    """It goes on pulling what nobody wants."""
    patch.setattr(SetCore, "_drop_repairs", nothing)


@planted
def nobody_is_tried_again(patch: pytest.MonkeyPatch) -> None:
    """The alarm for the next try is not set, and a heartbeat wakes nobody."""
    patch.setattr(core, "GATHER_SECONDS", 1e9)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_planted_faults_are_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within some hundred histories, the slowest within some thousand."""
    fault(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup, KeyError)):
        run_state_machine_as_test(
            SetMachine,
            settings=settings(profile(5_000), phases=[Phase.generate], report_multiple_bugs=False),
        )
