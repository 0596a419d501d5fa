"""The sets' core: ``handle(event, now)`` takes one event in and says what is to be done.

It is fed beside the core of tasks, whose fleet and running tasks it reads. A core that has not
heard ``Settled`` follows: it knows the same and creates nothing, but asks agents like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coordinator.core.changes import AttemptDecided, TaskBegan, TaskOver, TaskQueued
from coordinator.core.commands import WakeAt
from coordinator.core.events import NodeSeen, NodeVanished, Settled, Woken
from coordinator.core.fleet import FleetView, Node
from coordinator.core.run import TaskRun
from coordinator.core.sets.agenda import Agenda
from coordinator.core.sets.decisions import (
    AskInventory,
    CancelRepair,
    CreateRepair,
    NodeCooled,
    NodeWarmed,
    ReportRejected,
    SetChange,
    SetCommand,
    SetDecision,
    SetDropped,
    SetPut,
)
from coordinator.core.sets.diagnosis import AllKnown, diagnose, look_over
from coordinator.core.sets.events import (
    AgentSaid,
    InventoryReported,
    RepairCreated,
    RepairRefused,
    SetEvent,
    SetGone,
    SetNoted,
    SetStored,
)
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.standing import SetCondition, SetNode, Tally, Turn
from coordinator.core.sets.telling import Telling
from coordinator.core.sets.turns import Turns
from coordinator.core.sets.warmth import Heard
from coordinator.core.task import TaskStatus

GATHER_SECONDS: Final = 2.0
"""From the first node that became cold to the repair: others follow it."""
AGAIN_SECONDS: Final = 2.0
"""After a repair that was not stored."""


@dataclass(frozen=True, slots=True)
class SetLimits:
    """What the operator allows."""

    max_repairs: int = 3
    disk_percent: float = 85.0


class SetCore:
    """All sets, what is on their nodes, and what follows from each event."""

    def __init__(self, limits: SetLimits, fleet: FleetView, runs: Mapping[str, TaskRun]) -> None:
        self._known = AllKnown(fleet, runs, limits.disk_percent, Repairs(limits.max_repairs))
        self._leads = False
        self._agenda = Agenda()
        self._telling = Telling(self._known)
        self._turns = Turns()
        self._nodes: dict[str, Node] = {}
        self._commands: list[SetCommand] = []
        self._changes: list[SetChange] = []
        self._handlers: Mapping[type, Callable[[Any, float], None]] = {
            SetStored: self._set_stored,
            SetGone: self._set_gone,
            SetNoted: self._set_noted,
            AgentSaid: self._agent_said,
            InventoryReported: self._inventory_reported,
            RepairCreated: self._repair_created,
            RepairRefused: self._repair_refused,
            NodeSeen: self._node_seen,
            NodeVanished: self._node_vanished,
            TaskQueued: self._repair_known,
            TaskBegan: self._repair_known,
            TaskOver: self._repair_over,
            AttemptDecided: self._attempt_decided,
            Settled: self._settled,
            Woken: self._woken,
        }

    # ── what is so ──

    def tally(self, name: str, now: float) -> Tally:
        """How many nodes of a set are how. Raises KeyError for an unknown set."""
        return look_over(self._known, name, now).tally

    def nodes(self, name: str) -> list[str]:
        """The nodes of a set, sorted."""
        return sorted(self._known.membership.of_set.get(name, ()))

    def node(self, name: str, node: str, now: float) -> SetNode:
        """How one of them is. Raises KeyError."""
        return diagnose(self._known, name, node, now)

    def is_heard(self, name: str, node: str) -> bool:
        """Whether it is known which images of a set are on one of its nodes."""
        return self._known.cold[name].get(node, True)

    def judged_from(self, name: str) -> float:
        """When a set may be judged (seconds since 1970): who is to be heard has been by then."""
        return self._turns.judged_from(name)

    def cold(self, name: str) -> list[str]:
        """The nodes of a set that are not warm; none of an unknown one."""
        return list(self._known.cold.get(name, ()))

    def sets_of(self, node: str) -> tuple[str, ...]:
        """The sets that a node is in."""
        return self._known.membership.of_node.get(node, ())

    def cell(self, node: str, reference: str) -> tuple[bool, str | None] | None:
        """Whether a wanted reference is on a node, and its digest; None where nobody said."""
        return self._known.warmth.cell(node, reference)

    def wanted(self, node: str) -> tuple[str, ...]:
        """The references that a node is to have, for all of its sets."""
        return self._known.membership.wanted(node).references

    def generation(self, node: str) -> str:
        """The name of that list."""
        return self._known.membership.wanted(node).generation

    def turn(self, name: str, condition: SetCondition) -> Turn | None:
        """Since when a condition is as it is; None where no leader has judged the set yet."""
        return self._turns.get(name, condition)

    def repair(self, name: str) -> str | None:
        """The task that repairs a set at this moment."""
        return self._known.repairs.task(name)

    # ── events ──

    def handle(self, event: SetEvent, now: float) -> SetDecision:
        """Take one event in; ``now`` in seconds since 1970, never falling."""
        self._handlers[type(event)](event, now)
        self._go_on(now)
        decision = SetDecision(self._commands[:], self._changes[:])
        self._commands.clear()
        self._changes.clear()
        return decision

    def _go_on(self, now: float) -> None:
        due = self._agenda.take(now)
        for name in sorted(due, key=lambda each: (-self._priority(each), due[each])):
            self._look(name, now)
        if self._leads and self._telling:
            self._commands += self._telling.some()
        alarm = self._agenda.alarm(now if self._leads and self._telling else None)
        if alarm is not None:
            self._commands.append(WakeAt(alarm))

    def _priority(self, name: str) -> int:
        head = self._known.membership.head(name)
        return 0 if head is None else head.spec.priority

    def _woken(self, _event: Woken, _now: float) -> None:
        self._agenda.woken()

    def _settled(self, _event: Settled, now: float) -> None:
        self._leads = True
        self._telling.mark(self._known.said)
        for name in self._known.membership.names:
            self._agenda.touch(name, now)
        for name in self._known.repairs.names - self._known.membership.names:
            self._drop_repairs(name)

    # ── sets come and go ──

    def _set_stored(self, event: SetStored, now: float) -> None:
        head, known = event.head, self._known
        before = known.membership.head(head.name)
        if before == head:
            return
        if before is not None and before.created_at != head.created_at:
            self._set_gone(SetGone(head.name), now)  # nobody said so: this is another set
            before = None
        known.records.set_changed(head.name)
        known.repairs.of_use(head.name)
        self._drop_repairs(head.name)
        known.cold.setdefault(head.name, {})
        if event.found:
            self._turns.find(head.name, now)
        nodes = known.membership.put(head)
        left = [node for node in nodes if node not in known.membership.of_set[head.name]]
        for node in left:
            self._leave([head.name], node, now)
        self._membership_changed(nodes, now)
        if not event.found:
            self._changes.append(SetPut(head, is_new=before is None))
        self._agenda.touch(head.name, now + GATHER_SECONDS)

    def _set_gone(self, event: SetGone, now: float) -> None:
        known = self._known
        head = known.membership.head(event.name)
        if head is None:
            return
        self._membership_changed(known.membership.drop(event.name), now)
        known.records.set_changed(event.name)
        self._drop_repairs(event.name)
        self._turns.forget(event.name)
        known.cold.pop(event.name, None)
        self._agenda.forget(event.name)
        self._changes.append(SetDropped(head))

    def _set_noted(self, event: SetNoted, _now: float) -> None:
        head = self._known.membership.head(event.name)
        is_own = self._leads and self._turns.get(event.name, SetCondition.READY) is not None
        if head is not None and head.created_at == event.created_at and not is_own:
            self._turns.adopt(event.name, event.turns)

    def _drop_repairs(self, name: str) -> None:
        """Nobody is to go on pulling what a set was before."""
        self._commands += [CancelRepair(task) for task in self._known.repairs.drop(name)]

    def _membership_changed(self, nodes: Iterable[str], now: float) -> None:
        for node in nodes:
            self._telling.mark([node])
            self._judge(node, now)

    # ── nodes and agents ──

    def _node_seen(self, event: NodeSeen, now: float) -> None:
        node = Node(event.labels, event.schedulable, event.problem)
        if self._nodes.get(event.name) == node:
            return
        self._nodes[event.name] = node
        before = self.sets_of(event.name)
        if self._known.membership.see(event.name, event.labels):
            left = set(before).difference(self.sets_of(event.name))
            self._leave(left, event.name, now)
            self._telling.mark([event.name])
        self._known.records.node_changed(self.sets_of(event.name), event.name)
        self._judge(event.name, now)

    def _node_vanished(self, event: NodeVanished, now: float) -> None:
        known, node = self._known, event.name
        self._leave(known.membership.lose(node), node, now)
        known.warmth.lose(node)
        known.said.pop(node, None)
        self._nodes.pop(node, None)
        self._telling.forget(node)

    def _leave(self, names: Iterable[str], node: str, now: float) -> None:
        self._known.records.node_gone(names, node)
        for name in names:
            self._known.cold[name].pop(node, None)
            self._agenda.touch(name, now + GATHER_SECONDS)

    def _agent_said(self, event: AgentSaid, now: float) -> None:
        known, node = self._known, event.node
        if node not in self._nodes or known.fleet.instance(node) != event.instance:
            return
        before = known.said.get(node)
        known.said[node] = event
        names = self.sets_of(node)
        if before is None or before.instance != event.instance:
            known.records.node_changed(names, node)
        for name in names:
            if node in known.cold[name]:
                self._agenda.touch(name, now + GATHER_SECONDS)
        if (question := self._telling.compare(event)) is not None:
            self._commands.append(question)

    def _inventory_reported(self, event: InventoryReported, now: float) -> None:
        known, node = self._known, event.node
        if known.fleet.instance(node) != event.instance or node not in self._nodes:
            return
        wanted = known.membership.wanted(node)
        try:
            heard = known.warmth.hear(node, event.instance, event.report, wanted)
        except ValueError as why:
            self._changes.append(ReportRejected(node, str(why)))
            return
        if heard is Heard.MISSED:
            self._commands.append(AskInventory(node, event.instance))
        elif heard is Heard.TAKEN:
            self._judge(node, now, is_news=True)

    def _judge(self, node: str, now: float, *, is_news: bool = False) -> None:
        """See of which sets a node has all images; ``is_news``: its agent has just said what is."""
        known = self._known
        for name in self.sets_of(node):
            cold = known.cold[name]
            was_warm = node not in cold
            has_all = known.warmth.has_all(node, known.membership.references(name))
            if has_all:
                if cold.pop(node, None):
                    self._changes.append(NodeWarmed(name, node, known.seen_in(name, node)))
                known.records.warm(name, node)
            else:
                cold[node] = has_all is False
                if is_news and was_warm and has_all is False:
                    known.records.vanished(name, node, now)
                    self._changes.append(NodeCooled(name, node, known.seen_in(name, node)))
            self._agenda.touch(name, now + GATHER_SECONDS)

    # ── repairs ──

    def _repair_created(self, event: RepairCreated, _now: float) -> None:
        self._known.repairs.known(event.set, event.task)

    def _repair_refused(self, event: RepairRefused, now: float) -> None:
        self._known.repairs.refused(event.set)
        self._touch_all_waiting(now + AGAIN_SECONDS)

    def _repair_known(self, event: TaskQueued | TaskBegan, now: float) -> None:
        if event.head.set is None:
            return
        self._known.repairs.known(event.head.set, event.head.id)
        self._agenda.touch(
            event.head.set, now + GATHER_SECONDS
        )  # who is not in it may have its own
        if self._leads and self._known.membership.head(event.head.set) is None:
            self._drop_repairs(event.head.set)

    def _repair_over(self, event: TaskOver, now: float) -> None:
        name = self._known.repairs.over(event.head.id)
        if name is None:
            return
        counts = event.head.counts
        if self._known.repairs.was_dropped(event.head.id):
            pass
        elif event.head.status is TaskStatus.CANCELLED or counts is None or not counts.total:
            self._known.repairs.in_vain(name, now)  # the same again would end the same
        else:
            self._known.repairs.of_use(name)
        self._agenda.touch(name, now + GATHER_SECONDS)
        self._touch_all_waiting(now)

    def _touch_all_waiting(self, when: float) -> None:
        """A place is free, or a repair has to be asked for again: whoever is cold may be next."""
        for name, cold in self._known.cold.items():
            if cold:
                self._agenda.touch(name, when)

    def _attempt_decided(self, event: AttemptDecided, _now: float) -> None:
        run = self._known.runs.get(event.task)
        name = None if run is None else run.head.set
        if name is None or event.node not in self._known.cold.get(name, ()):
            return
        self._known.records.decided(name, event)

    def _look(self, name: str, now: float) -> None:
        """See how a set is as a whole, and repair what can be."""
        repairs = self._known.repairs
        if self._known.membership.head(name) is None:
            return
        survey = look_over(self._known, name, now)
        rests = repairs.rests_until(name)
        if survey.due and repairs.may_begin(name, self._known.runs) and rests <= now:
            self._repair(name, survey.due)
        if self._leads:
            self._changes += self._turns.look(name, survey.tally, now)
            if (when := self._turns.judged_from(name)) > now:
                self._agenda.touch(name, when)
        if survey.next_try is not None:
            self._agenda.touch(name, survey.next_try)
        if rests > now:
            self._agenda.touch(name, rests)

    def _repair(self, name: str, nodes: list[str]) -> None:
        head = self._known.membership.head(name)
        if self._leads and head is not None:
            self._known.repairs.asked(name)
            self._commands.append(CreateRepair(head, tuple(nodes)))
