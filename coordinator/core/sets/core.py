"""The sets' core: ``handle(event, now)`` takes one event in and says what is to be done.

It is fed beside the core of tasks, whose fleet and running tasks it reads. A core that has not
heard ``Settled`` follows: it knows the same and creates nothing, but asks agents like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from coordinator.core.changes import AttemptDecided, TaskBegan, TaskOver, TaskQueued
from coordinator.core.commands import WakeAt
from coordinator.core.events import NodeSeen, NodesListed, NodeVanished, Settled, Woken
from coordinator.core.fleet import FleetView, Node
from coordinator.core.run import TaskRun
from coordinator.core.sets.agenda import Agenda
from coordinator.core.sets.decisions import (
    AskInventory,
    CancelRepair,
    ReportRejected,
    SetChange,
    SetCommand,
    SetDecision,
    SetDropped,
    SetPut,
    SetRefreshed,
)
from coordinator.core.sets.diagnosis import AllKnown
from coordinator.core.sets.events import (
    AgentSaid,
    CredentialChanged,
    InventoryReported,
    NodesNoted,
    RepairCreated,
    RepairRefused,
    SetEvent,
    SetGone,
    SetNoted,
    SetStored,
)
from coordinator.core.sets.judging import Judging
from coordinator.core.sets.looking import Looking
from coordinator.core.sets.reconciling import Reconciling
from coordinator.core.sets.remembering import Remembering
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.standing import SetCondition
from coordinator.core.sets.telling import Telling
from coordinator.core.sets.turns import Turns
from coordinator.core.sets.view import SetView
from coordinator.core.sets.warmth import Heard
from coordinator.core.sets.windows import Calendar, Windows
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


class SetCore(SetView):
    """All sets, what is on their nodes, and what follows from each event."""

    def __init__(
        self,
        limits: SetLimits,
        fleet: FleetView,
        runs: Mapping[str, TaskRun],
        calendar: Calendar,
    ) -> None:
        """``calendar`` tells the windows of schedules."""
        repairs, windows = Repairs(limits.max_repairs), Windows(calendar)
        super().__init__(AllKnown(fleet, runs, limits.disk_percent, repairs, windows), Turns())
        self._leads = False
        self._agenda = Agenda()
        self._telling = Telling(self._known)
        self._looking = Looking(self._known)
        self._judging = Judging(self._known)
        self._remembering = Remembering(self._known)
        self._reconciling = Reconciling(
            self._known, self._turns, self._agenda, self._telling, self._looking
        )
        self._nodes: dict[str, Node] = {}
        self._commands: list[SetCommand] = []
        self._changes: list[SetChange] = []
        self._handlers: Mapping[type, Callable[[Any, float], None]] = {
            SetStored: self._set_stored,
            SetGone: self._set_gone,
            SetNoted: self._set_noted,
            NodesNoted: self._nodes_noted,
            AgentSaid: self._agent_said,
            InventoryReported: self._inventory_reported,
            CredentialChanged: self._credential_changed,
            RepairCreated: self._repair_created,
            RepairRefused: self._repair_refused,
            NodeSeen: self._node_seen,
            NodesListed: self._nodes_listed,
            NodeVanished: self._node_vanished,
            TaskQueued: self._repair_known,
            TaskBegan: self._repair_known,
            TaskOver: self._repair_over,
            AttemptDecided: self._attempt_decided,
            Settled: self._settled,
            Woken: self._woken,
        }

    # ── events ──

    def handle(self, event: SetEvent, now: float) -> SetDecision:
        """Take one event in; ``now`` in seconds since 1970, never falling."""
        self._handlers[type(event)](event, now)
        self._go_on(now)
        unsaved = self._remembering.changes()
        if self._leads:
            self._changes += unsaved
        decision = SetDecision(self._commands[:], self._changes[:])
        self._commands.clear()
        self._changes.clear()
        return decision

    def _go_on(self, now: float) -> None:
        due = self._agenda.take(now)
        for name in sorted(due, key=lambda each: (-self._priority(each), due[each])):
            found = self._reconciling.look(name, now, leads=self._leads)
            self._commands += found.commands
            self._changes += found.changes
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
        self._changes += self._remembering.all()
        self._telling.mark(self._known.said)
        for name in self._known.membership.names:
            self._agenda.touch(name, now)
        for name in self._known.repairs.names - self._known.membership.names:
            self._known.repairs.drop(name)
        self._commands += [CancelRepair(task) for task in self._known.repairs.dropped]

    # ── sets come and go ──

    def _set_stored(self, event: SetStored, now: float) -> None:
        head, known = event.head, self._known
        before = known.membership.head(head.name)
        if before == head:
            return
        if before is not None and before.created_at != head.created_at:
            self._set_gone(SetGone(head.name), now)  # nobody said so: this is another set
            before = None
        if before is not None and replace(before, refresh_asked_at=head.refresh_asked_at) == head:
            known.membership.note(head)
            self._agenda.touch(head.name, now)
            return
        known.records.set_changed(head.name)
        if known.freshness.set_changed(before, head) and self._leads:
            self._changes.append(SetRefreshed(head.name, self.refreshed(head.name)))
        known.repairs.of_use(head.name)
        self._drop_repairs(head.name)
        known.cold.setdefault(head.name, {})
        if event.found:
            self._turns.find(head.name, now)
        nodes = known.membership.put(head)
        self._reconciling.see_pin(head, now)
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
        self._drop_repairs(event.name)
        self._turns.forget(event.name)
        known.forget(event.name)
        self._agenda.forget(event.name)
        self._changes.append(SetDropped(head))

    def _set_noted(self, event: SetNoted, now: float) -> None:
        head = self._known.membership.head(event.name)
        if head is None or head.created_at != event.created_at:
            return
        if self._leads and self._turns.get(event.name, SetCondition.READY) is not None:
            return  # it is what was stored from here
        self._turns.adopt(event.name, event.turns)
        self._remembering.adopt_rest(head, event, now)
        if self._known.freshness.adopt(head, event.refreshed, now):
            self._judge_all(event.name, now)

    def _nodes_noted(self, event: NodesNoted, now: float) -> None:
        head = self._known.membership.head(event.name)
        if self._leads or head is None or head.created_at != event.created_at:
            return
        self._remembering.adopt_nodes(head, event, now)
        self._agenda.touch(event.name, now + GATHER_SECONDS)

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
        seen = self._nodes.get(event.name)
        if seen == node:
            return
        self._nodes[event.name] = node
        before = self.sets_of(event.name)
        if self._known.membership.see(event.name, event.labels):
            left = set(before).difference(self.sets_of(event.name))
            self._leave(left, event.name, now)
            self._join(set(self.sets_of(event.name)).difference(before), event.name, now)
            self._telling.mark([event.name])
        if seen is not None:
            self._known.records.node_changed(self.sets_of(event.name), event.name)
        self._judge(event.name, now)

    def _nodes_listed(self, _event: NodesListed, _now: float) -> None:
        records = self._known.records
        for name in self._known.membership.names:
            for node in records.remembered(name) - self._nodes.keys():
                records.node_gone([name], node)  # it ceased to exist while nobody was there

    def _node_vanished(self, event: NodeVanished, now: float) -> None:
        known, node = self._known, event.name
        self._leave(known.membership.lose(node), node, now)
        known.warmth.lose(node)
        known.said.pop(node, None)
        self._nodes.pop(node, None)
        self._telling.forget(node)

    def _join(self, names: Iterable[str], node: str, now: float) -> None:
        for name in names:
            if now >= self._turns.judged_from(name):  # else it may have been there before
                self._known.records.joined(name, node)

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
        if before is None:
            known.records.agent_found(self.sets_of(node), node, event.served_by)
        elif before.served_by != event.served_by:
            known.records.node_changed(self.sets_of(node), node)
        for name in self.sets_of(node):
            if node in known.cold[name]:
                self._agenda.touch(name, now + GATHER_SECONDS)
        if (question := self._telling.compare(event)) is not None:
            self._commands.append(question)

    def _credential_changed(self, event: CredentialChanged, now: float) -> None:
        for name in self._known.membership.names:
            head = self._known.membership.head(name)
            if head is not None and event.name in head.spec.credentials:
                self._known.records.credentials_changed(name)
                self._known.freshness.credentials_changed(name)
                self._agenda.touch(name, now + GATHER_SECONDS)

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
        self._changes += self._judging.of_node(node, now, is_news=is_news)
        for name in self.sets_of(node):
            self._agenda.touch(name, now + GATHER_SECONDS)

    def _judge_all(self, name: str, now: float, but: str | None = None) -> None:
        """See which nodes of a set have all images: other digests are outdated than before."""
        self._changes += self._judging.of_set(name, but)
        self._agenda.touch(name, now + GATHER_SECONDS)

    # ── repairs ──

    def _repair_created(self, event: RepairCreated, _now: float) -> None:
        self._know_repair(event.set, event.task)

    def _know_repair(self, name: str, task: str) -> None:
        if self._known.repairs.known(name, task) and self._leads:
            self._commands.append(CancelRepair(task))

    def _repair_refused(self, event: RepairRefused, now: float) -> None:
        self._known.repairs.refused(event.set)
        self._known.freshness.refused(event.set)
        self._agenda.touch(event.set, now + AGAIN_SECONDS)
        self._touch_all_waiting(now + AGAIN_SECONDS)

    def _repair_known(self, event: TaskQueued | TaskBegan, now: float) -> None:
        if (name := event.head.set) is None:
            return
        self._know_repair(name, event.head.id)
        head = self._known.membership.head(name)
        if event.head.looks:
            self._known.freshness.begun(head, name, event.head.id)
        self._agenda.touch(name, now + GATHER_SECONDS)  # who is not in it may have its own
        if self._leads and head is None:
            self._drop_repairs(name)

    def _repair_over(self, event: TaskOver, now: float) -> None:
        name = self._known.repairs.over(event.head.id)
        if name is None:
            return
        counts, was_dropped = event.head.counts, self._known.repairs.was_dropped(event.head.id)
        self._known.freshness.over(name, event.head.id, now, was_dropped=was_dropped)
        if was_dropped:
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

    def _attempt_decided(self, event: AttemptDecided, now: float) -> None:
        run = self._known.runs.get(event.task)
        if run is None or run.head.set is None or self._known.membership.head(run.head.set) is None:
            return
        name = run.head.set
        seen = self._looking.decided if run.head.looks else self._looking.pulled
        if seen(name, run, event):
            self._judge_all(name, now, but=event.node)
            if self._leads:
                self._changes.append(SetRefreshed(name, self.refreshed(name)))
        if event.node in self._known.cold[name]:
            said = self._known.said.get(event.node)
            served_by = "" if said is None else said.served_by
            self._known.records.decided(name, event, served_by)
