"""Attempts in flight: sent, accepted, watched for silence, adopted from agents, and given up.

A place is taken before the agent is there and kept while it is waited for, so that never more
nodes than allowed work at once, whatever agents and messages do.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from common.messages import Hold, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.commands import AskAgent, Assign, CancelWork, Command, StoreVerdict
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    VerdictFailed,
)
from coordinator.core.fleet import Fleet
from coordinator.core.node_run import IN_FLIGHT, OVER, NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.timers import Judge, SendAgain, Timers

SEND_AGAIN_SECONDS = 2.0
DECIDE_AGAIN_SECONDS = 2.0
NOTICE_SECONDS = 3.0
"""So long before it is given up a silent agent is asked: heartbeats may be rare."""
LOST_INSTANCES = 5
"""The same attempt lost by so many instances has failed: its image may be what kills them."""

_AT_REST = frozenset({NodePhase.WAITING, NodePhase.RETRYING})

Answer = AssignmentAccepted | AssignmentRefused | AssignmentUnanswered


class Flights:
    """What is in flight on which node, and what is to be done about it."""

    def __init__(
        self,
        runs: Mapping[str, TaskRun],
        pending: Container[str],
        fleet: Fleet,
        timers: Timers,
        emit: Callable[[Command], None],
        *,
        agent_wait: float,
        limit: int,
    ) -> None:
        self._runs = runs
        self._pending = pending
        self._fleet = fleet
        self._timers = timers
        self._emit = emit
        self._wait = agent_wait
        self._notice = min(NOTICE_SECONDS, agent_wait / 2)
        self._limit = limit
        self._by_node: dict[str, dict[str, NodeRun]] = {}
        self._count = 0

    # ── in and out ──

    def has_room(self, run: TaskRun) -> bool:
        """Whether one more node of a task may be in flight."""
        return run.has_place and (self._limit == 0 or self._count < self._limit)

    def begin(self, run: TaskRun, node: NodeRun, now: float) -> None:
        """Give a node its place and send the work, or wait for the agent."""
        self._place(run, node, now)
        self._send(run, node, now)

    def landed(self, run: TaskRun, node: NodeRun, attempt: int, decided_by: str) -> None:
        """An attempt is decided; whoever else is at it is to stop."""
        holder = node.accepted_by or node.sent_to
        if self._take_out(run, node) and holder is not None and holder != decided_by:
            self._emit(CancelWork(node.name, holder, run.head.id, attempt))
        node.clear_flight()
        if node.gone and node.phase not in OVER:
            self.remove(run, node)

    def cancel_task(self, run: TaskRun) -> None:
        """The task is over: stop what is in flight for it."""
        for node in run.nodes:
            if self._take_out(run, node):
                instance = node.accepted_by or node.sent_to
                # An assignment that was not answered may have arrived all the same.
                instance = instance or self._fleet.instance(node.name)
                if instance is not None:
                    self._emit(CancelWork(node.name, instance, run.head.id))

    def _place(self, run: TaskRun, node: NodeRun, now: float) -> None:
        run.place(node, now)
        self._by_node.setdefault(node.name, {})[run.head.id] = node
        self._count += 1
        self._note_life(node, now)
        silent_at = node.alive_at + self._wait - self._notice
        self._timers.at_silence(silent_at, Judge(self._key(run, node)))

    def _note_life(self, node: NodeRun, now: float) -> None:
        # When the bus is found to have been silent for a while, its clock goes back by as much.
        node.alive_at = max(node.alive_at, self._fleet.clock.at(now))

    def _take_out(self, run: TaskRun, node: NodeRun) -> bool:
        tasks = self._by_node.get(node.name, {})
        if tasks.pop(run.head.id, None) is None:
            return False
        if not tasks:
            del self._by_node[node.name]
        self._count -= 1
        return True

    @staticmethod
    def _key(run: TaskRun, node: NodeRun) -> AttemptKey:
        return AttemptKey(run.head.id, node.name, node.next_attempt)

    def _find(self, key: AttemptKey) -> tuple[TaskRun, NodeRun] | None:
        """The node whose undecided attempt this is, in flight or not."""
        run = self._runs.get(key.task)
        node = run.by_name.get(key.node) if run is not None else None
        if run is None or node is None or node.phase in OVER:
            return None
        return (run, node) if node.next_attempt == key.attempt else None

    # ── assignments and their answers ──

    def _send(self, run: TaskRun, node: NodeRun, now: float) -> None:
        instance = self._fleet.agent_for(node.name, now)
        if instance is None or node.deciding or node.gone:
            return
        node.sent_to, node.resend_at = instance, None
        images = tuple(node.wanted(run.spec.work))
        self._emit(Assign(self._key(run, node), instance, images, run.spec))

    def send_again(self, key: AttemptKey, now: float) -> None:
        """Send what was refused or not answered, unless that has been done since."""
        found = self._find(key)
        if found is not None and found[1].resend_at is not None and found[1].resend_at <= now:
            found[1].resend_at = None
            self._send(*found, now)

    def available(self, name: str, now: float) -> None:
        """Something changed about a node: send it the work that waits for it."""
        for task, node in self._by_node.get(name, {}).items():
            idle = node.sent_to is None and node.resend_at is None
            if idle and node.phase is NodePhase.ASSIGNED:
                self._send(self._runs[task], node, now)

    def _asked(self, answer: Answer) -> tuple[TaskRun, NodeRun] | None:
        """Whom this answer is about, unless it is late or has nothing new to say."""
        found = self._find(answer.key)
        if found is None or found[1].phase is not NodePhase.ASSIGNED:
            return None
        return found if found[1].sent_to == answer.instance else None

    def accepted(self, event: AssignmentAccepted, now: float) -> None:
        """The agent has the work."""
        if found := self._asked(event):
            self._keep(*found, event.instance, now)

    def refused(self, event: AssignmentRefused, now: float) -> None:
        """The agent does not take the work now: ask again soon."""
        if found := self._asked(event):
            self._ask_later(found[1], event.key, now)

    def unanswered(self, event: AssignmentUnanswered, now: float) -> None:
        """Nobody answered: ask again soon, or when an agent speaks if this one is absent."""
        found = self._asked(event)
        if found is None:
            return
        if event.absent:
            found[1].sent_to = None
            self._fleet.presence(event.key.node).gone(event.instance)
            self.available(event.key.node, now)
        else:
            self._ask_later(found[1], event.key, now)

    def _ask_later(self, node: NodeRun, key: AttemptKey, now: float) -> None:
        node.sent_to, node.resend_at = None, now + SEND_AGAIN_SECONDS
        self._timers.at(node.resend_at, SendAgain(key))

    def _keep(self, run: TaskRun, node: NodeRun, instance: str, now: float) -> None:
        """An instance has the work, as it said a moment ago."""
        node.sent_to = node.accepted_by = instance
        node.resend_at = None
        self._note_life(node, now)
        if node.phase is NodePhase.ASSIGNED:
            run.move(node, NodePhase.PULLING)

    # ── what agents say of themselves ──

    def heard(self, event: AgentHeard, now: float, *, settling: bool) -> None:
        """Bring what an agent holds and what it should hold together."""
        presence = self._fleet.presence(event.node)
        if event.instance == presence.left:
            return
        if event.leaving:
            presence.said_goodbye(event.instance)
            self._hand_back(event, now)
            return
        presence.heard(event.instance, event.interval, self._fleet.clock.at(now))
        held = {(hold.task, hold.attempt): hold for hold in event.holds}
        flights = [
            (self._runs[task], node, held.pop((task, node.attempt), None))
            for task, node in self._by_node.get(event.node, {}).items()
        ]
        # First what is to be stopped: an agent works on one attempt of a task at a time.
        for unclaimed in held.values():
            self._claim(event, unclaimed, now, settling=settling)
        for run, node, hold in flights:
            if hold is not None:
                self._confirm(run, node, event.instance, now)
            elif not node.deciding:
                self._miss(run, node, event.instance, now)

    def _hand_back(self, event: AgentHeard, now: float) -> None:
        for task, node in self._by_node.get(event.node, {}).items():
            if event.instance in {node.sent_to, node.accepted_by}:
                self._call_back(self._runs[task], node, now)
        self.available(event.node, now)

    def _call_back(self, run: TaskRun, node: NodeRun, now: float) -> None:
        """Nobody has the work any more: wait for an agent from now on."""
        node.sent_to = node.accepted_by = node.resend_at = None
        self._note_life(node, now)
        if node.phase is NodePhase.PULLING:
            run.move(node, NodePhase.ASSIGNED)

    def _is_current(self, name: str, instance: str) -> bool:
        return self._fleet.instance(name) == instance

    def _confirm(self, run: TaskRun, node: NodeRun, instance: str, now: float) -> None:
        """An instance holds the attempt in flight: its own, or that of a former one."""
        if instance in {node.sent_to, node.accepted_by} or self._is_current(node.name, instance):
            self._keep(run, node, instance, now)
        else:
            self._emit(CancelWork(node.name, instance, run.head.id, node.attempt))

    def _miss(self, run: TaskRun, node: NodeRun, instance: str, now: float) -> None:
        """An instance does not hold the attempt in flight."""
        current = self._is_current(node.name, instance)
        if node.accepted_by is None:
            if current and node.sent_to not in {None, instance}:
                self._send(run, node, now)  # a former instance will never answer
            elif current:
                self.available(node.name, now)
        elif node.accepted_by == instance:
            self._call_back(run, node, now)  # it forgot
            self.available(node.name, now)
        elif current:
            self._lost(run, node, now)

    def _lost(self, run: TaskRun, node: NodeRun, now: float) -> None:
        """The instance that had accepted the work has ended."""
        if node.accepted_by is not None:
            node.lost_by |= {node.accepted_by}
        if len(node.lost_by) >= LOST_INSTANCES:
            text = f"{LOST_INSTANCES} runs of the agent ended while they were at it."
            self._decide(run, node, Reason.AGENT_LOST, text, now)
        else:
            self._call_back(run, node, now)
            self._send(run, node, now)

    def _claim(self, event: AgentHeard, hold: Hold, now: float, *, settling: bool) -> None:
        """An agent holds work that is not in flight here: adopt it, or have it stopped."""
        run = self._runs.get(hold.task)
        node = run.by_name.get(event.node) if run is not None else None
        if run is None:
            # A task that is over may be forgotten as a whole; one that is pending may not.
            attempt = hold.attempt if hold.task in self._pending else None
            self._emit(CancelWork(event.node, event.instance, hold.task, attempt))
        elif node is None or not self._fits(run, node, hold, settling=settling):
            self._emit(CancelWork(event.node, event.instance, hold.task, hold.attempt))
        else:
            self._place(run, node, now)
            self._keep(run, node, event.instance, now)
            node.started_at = int((now - min(max(0.0, hold.seconds), now)) * 1000)

    def _fits(self, run: TaskRun, node: NodeRun, hold: Hold, *, settling: bool) -> bool:
        if node.phase not in _AT_REST or hold.attempt != node.next_attempt:
            return False
        if node.deciding or node.gone:
            return False
        # What was begun under another limit goes on; nothing begins until there is room again.
        return run.has_place if settling else self.has_room(run)

    # ── silence and verdicts ──

    def judge(self, key: AttemptKey, now: float) -> None:
        """Give an attempt up whose agent has been silent for too long, or look again later."""
        found = self._find(key)
        if found is None or found[1].deciding:
            return
        run, node = found
        deadline = node.alive_at + self._wait
        if node.gone:
            self.remove(run, node)
        elif node.phase not in IN_FLIGHT:
            return
        elif not self._fleet.clock.has_reached(deadline - self._notice, now):
            self._timers.at_silence(deadline - self._notice, Judge(key))
        elif not self._fleet.clock.has_reached(deadline, now):
            if node.accepted_by is not None:
                self._emit(AskAgent(node.name, node.accepted_by))
            self._timers.at_silence(deadline, Judge(key))
        elif node.accepted_by is not None:
            text = f"The agent of node {node.name} has not been heard for {self._wait:g} s."
            self._decide(run, node, Reason.AGENT_LOST, text, now)
        else:
            reason = Reason.AGENT_LOST if node.lost_by else Reason.AGENT_UNAVAILABLE
            why = self._fleet.why_unavailable(node.name)
            self._decide(run, node, reason, f"{why} Waited for {self._wait:g} s.", now)

    def _decide(self, run: TaskRun, node: NodeRun, reason: Reason, text: str, now: float) -> None:
        began = now if node.started_at is None else node.started_at / 1000
        outcome = Outcome(reason=reason, message=text, seconds=max(0.0, now - began))
        self._store(run, node, outcome)

    def remove(self, run: TaskRun, node: NodeRun) -> None:
        """The node has ceased to exist: it leaves the task."""
        node.gone = True
        if node.phase not in OVER and not node.deciding:
            self._store(run, node, Outcome(removed=True))

    def _store(self, run: TaskRun, node: NodeRun, outcome: Outcome) -> None:
        node.deciding = True
        self._emit(StoreVerdict(self._key(run, node), outcome))

    def verdict_failed(self, event: VerdictFailed, now: float) -> None:
        """The store refused a verdict for now: judge again soon, by what is so then."""
        found = self._find(event.key)
        if found is not None and found[1].deciding:
            found[1].deciding = False
            self._timers.at(now + DECIDE_AGAIN_SECONDS, Judge(event.key))
