"""Attempts in flight: sent, accepted, watched for silence, adopted from agents, and given up.

A place is taken before the agent is there and kept while it is waited for, so that never more
nodes than allowed work at once, whatever agents and messages do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from common.messages import Hold, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.commands import Assign, CancelWork, Command, StoreVerdict
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    VerdictFailed,
)
from coordinator.core.fleet import Fleet
from coordinator.core.run import IN_FLIGHT, OVER, NodePhase, NodeRun, TaskRun
from coordinator.core.timers import CheckSilence, DecideAgain, SendAgain, Timers

SEND_AGAIN_SECONDS = 2.0
DECIDE_AGAIN_SECONDS = 2.0
LOST_INSTANCES = 5
"""The same attempt lost by so many instances has failed: its image may be what kills them."""

Room = Callable[[TaskRun], bool]
"""Whether one more node of a task may be in flight."""
Answer = TypeVar("Answer", AssignmentAccepted, AssignmentRefused, AssignmentUnanswered)


class Flights:
    """What is in flight on which node, and what is to be done about it."""

    def __init__(
        self,
        runs: Mapping[str, TaskRun],
        fleet: Fleet,
        timers: Timers,
        emit: Callable[[Command], None],
        agent_wait: float,
    ) -> None:
        self._runs = runs
        self._fleet = fleet
        self._timers = timers
        self._emit = emit
        self._wait = agent_wait
        self._by_node: dict[str, dict[str, NodeRun]] = {}

    # ── in and out ──

    def begin(self, run: TaskRun, node: NodeRun, now: float) -> None:
        """Give a node its place and send the work, or wait for the agent."""
        run.place(node, now)
        self._watch(run, node, now)
        self._send(run, node, now)

    def landed(self, task: str, node: str) -> None:
        """An attempt is decided."""
        tasks = self._by_node.get(node)
        if tasks is not None and tasks.pop(task, None) is not None and not tasks:
            del self._by_node[node]

    def cancel_task(self, run: TaskRun) -> None:
        """The task is over: stop what is in flight for it."""
        for node in run.nodes:
            if node.phase in IN_FLIGHT:
                self.landed(run.head.id, node.name)
                instance = node.accepted_by or node.sent_to
                if instance is not None:
                    self._emit(CancelWork(node.name, instance, run.head.id))

    def _watch(self, run: TaskRun, node: NodeRun, now: float) -> None:
        node.asked_at = self._fleet.clock.at(now)
        self._by_node.setdefault(node.name, {})[run.head.id] = node
        self._timers.at_silence(node.asked_at + self._wait, CheckSilence(self._key(run, node)))

    @staticmethod
    def _key(run: TaskRun, node: NodeRun) -> AttemptKey:
        return AttemptKey(run.head.id, node.name, node.attempt)

    def _find(self, key: AttemptKey) -> tuple[TaskRun, NodeRun] | None:
        run = self._runs.get(key.task)
        node = run.by_name.get(key.node) if run is not None else None
        if run is None or node is None or node.phase not in IN_FLIGHT:
            return None
        return (run, node) if node.attempt == key.attempt else None

    # ── assignments and their answers ──

    def _send(self, run: TaskRun, node: NodeRun, now: float) -> None:
        instance = self._fleet.agent_for(node.name, now)
        if instance is None or node.deciding:
            return
        node.sent_to = instance
        images = tuple(node.wanted(run.spec.work))
        self._emit(Assign(self._key(run, node), instance, images, run.spec))

    def send_again(self, key: AttemptKey, now: float) -> None:
        """Send what was refused or not answered, unless somebody has it by now."""
        found = self._find(key)
        if found is not None and found[1].phase is NodePhase.ASSIGNED and not found[1].sent_to:
            self._send(*found, now)

    def _asked(self, answer: Answer) -> tuple[TaskRun, NodeRun] | None:
        found = self._find(answer.key)
        return found if found is not None and found[1].sent_to == answer.instance else None

    def accepted(self, event: AssignmentAccepted) -> None:
        """The agent has the work."""
        if found := self._asked(event):
            run, node = found
            node.accepted_by = event.instance
            if node.phase is NodePhase.ASSIGNED:
                run.move(node, NodePhase.PULLING)

    def refused(self, event: AssignmentRefused, now: float) -> None:
        """The agent does not take the work now: ask again soon."""
        if found := self._asked(event):
            found[1].sent_to = None
            self._timers.at(now + SEND_AGAIN_SECONDS, SendAgain(event.key))

    def unanswered(self, event: AssignmentUnanswered, now: float) -> None:
        """Nobody answered: ask again soon, or when the agent speaks if it is plainly absent."""
        if event.absent:
            self._fleet.presence(event.key.node).gone(event.instance)
        if found := self._asked(event):
            found[1].sent_to = None
            self._timers.at(now + SEND_AGAIN_SECONDS, SendAgain(event.key))

    # ── what agents say of themselves ──

    def heard(self, event: AgentHeard, now: float, *, settling: bool, room: Room) -> None:
        """Bring what an agent holds and what it should hold together."""
        presence = self._fleet.presence(event.node)
        if event.leaving:
            presence.gone(event.instance)
            self._hand_back(event, now)
            return
        presence.heard(event.instance, event.interval, self._fleet.clock.at(now))
        held = {(hold.task, hold.attempt): hold for hold in event.holds}
        if presence.instance == event.instance:
            for task, node in list(self._by_node.get(event.node, {}).items()):
                hold = held.pop((task, node.attempt), None)
                self._reconcile(self._runs[task], node, event.instance, hold, now)
        for hold in held.values():
            self._claim(event, hold, now, settling=settling, room=room)

    def available(self, name: str, now: float) -> None:
        """Something changed about a node: send it the work that waits for it."""
        for task, node in self._by_node.get(name, {}).items():
            if node.phase is NodePhase.ASSIGNED and node.sent_to is None:
                self._send(self._runs[task], node, now)

    def _hand_back(self, event: AgentHeard, now: float) -> None:
        for task, node in self._by_node.get(event.node, {}).items():
            if event.instance in {node.sent_to, node.accepted_by}:
                self._ask_anew(self._runs[task], node, now)

    def _ask_anew(self, run: TaskRun, node: NodeRun, now: float) -> None:
        node.sent_to = node.accepted_by = None
        node.asked_at = self._fleet.clock.at(now)
        if node.phase is NodePhase.PULLING:
            run.move(node, NodePhase.ASSIGNED)
        self._send(run, node, now)

    def _reconcile(
        self, run: TaskRun, node: NodeRun, instance: str, hold: Hold | None, now: float
    ) -> None:
        if hold is not None:
            node.sent_to = node.accepted_by = instance
            node.started_at = int((now - hold.seconds) * 1000)
            if node.phase is NodePhase.ASSIGNED:
                run.move(node, NodePhase.PULLING)
        elif node.phase is NodePhase.ASSIGNED:
            if node.sent_to != instance:
                self._send(run, node, now)
        else:
            self._lost(run, node, instance, now)

    def _lost(self, run: TaskRun, node: NodeRun, instance: str, now: float) -> None:
        """Accepted work is missing: the agent was started anew, or forgot it."""
        if node.accepted_by is not None and node.accepted_by != instance:
            node.lost_by.add(node.accepted_by)
        if len(node.lost_by) >= LOST_INSTANCES:
            text = f"{LOST_INSTANCES} runs of the agent ended while they were at it."
            self._decide(run, node, Reason.AGENT_LOST, text, now)
        else:
            self._ask_anew(run, node, now)

    def _claim(
        self, event: AgentHeard, hold: Hold, now: float, *, settling: bool, room: Room
    ) -> None:
        """An agent holds work that is not in flight here: adopt it, or have it stopped."""
        run = self._runs.get(hold.task)
        node = run.by_name.get(event.node) if run is not None else None
        if run is None or node is None:
            self._emit(CancelWork(event.node, event.instance, hold.task))
            return
        current = self._fleet.presence(event.node).instance == event.instance
        if node.accepted_by == event.instance and node.attempt == hold.attempt:
            return  # its own work still, although another agent claims the node's name
        fits = hold.attempt == node.next_attempt and node.phase not in OVER | IN_FLIGHT
        if current and fits and not node.deciding and (settling or room(run)):
            run.place(node, now)
            self._watch(run, node, now)
            self._reconcile(run, node, event.instance, hold, now)
        elif not fits or current:
            self._emit(CancelWork(event.node, event.instance, hold.task, hold.attempt))

    # ── silence and verdicts ──

    def check_silence(self, key: AttemptKey, now: float) -> None:
        """Give an attempt up whose agent has been silent for too long, or look again later."""
        found = self._find(key)
        if found is None or found[1].deciding:
            return
        run, node = found
        last = node.asked_at
        if node.accepted_by is not None:
            presence = self._fleet.presence(node.name)
            last = max(last, presence.last_heard(node.accepted_by) or last)
        if self._fleet.clock.at(now) < last + self._wait:
            self._timers.at_silence(last + self._wait, CheckSilence(key))
        elif node.accepted_by is not None or node.lost_by:
            text = f"The agent of node {node.name} has not been heard for {self._wait:g} s."
            self._decide(run, node, Reason.AGENT_LOST, text, now)
        else:
            why = self._fleet.why_unavailable(node.name)
            text = f"{why} Waited for {self._wait:g} s."
            self._decide(run, node, Reason.AGENT_UNAVAILABLE, text, now)

    def _decide(self, run: TaskRun, node: NodeRun, reason: Reason, text: str, now: float) -> None:
        began = now if node.started_at is None else node.started_at / 1000
        outcome = Outcome(reason=reason, message=text, seconds=max(0.0, now - began))
        node.deciding = True
        self._emit(StoreVerdict(self._key(run, node), outcome))

    def remove(self, run: TaskRun, node: NodeRun) -> None:
        """The node has ceased to exist: it leaves the task."""
        node.deciding = True
        key = AttemptKey(run.head.id, node.name, node.next_attempt)
        self._emit(StoreVerdict(key, Outcome(removed=True)))

    def verdict_failed(self, event: VerdictFailed, now: float) -> None:
        """The store refused a verdict for now."""
        verdict = StoreVerdict(event.key, event.outcome)
        self._timers.at(now + DECIDE_AGAIN_SECONDS, DecideAgain(verdict))

    def decide_again(self, verdict: StoreVerdict) -> None:
        """Store a verdict that was refused, unless the attempt has been decided by now."""
        run = self._runs.get(verdict.key.task)
        node = run.by_name.get(verdict.key.node) if run is not None else None
        if node is None or node.phase in OVER or node.next_attempt != verdict.key.attempt:
            return
        self._emit(verdict)
