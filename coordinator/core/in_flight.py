"""Attempts in flight: sent, accepted, watched for silence, adopted from agents, and given up.

A place is taken before the agent is there and kept while it is waited for, so that never more
nodes than allowed work at once, whatever agents and messages do.

While another leads, the same is learned from the same words of agents, but nothing is sent, given
up or waited for; ``take_over`` makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping

from common.messages import Hold, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from common.text import Text
from common.texts import AGENT_DIED, AGENT_SILENT
from coordinator.core.attempts import LOST_INSTANCES, Attempt
from coordinator.core.commands import AskAgent, Assign, CancelWork, Command
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    VerdictFailed,
)
from coordinator.core.fleet import Fleet
from coordinator.core.followed import FollowedAttempts
from coordinator.core.node_run import AT_REST, OVER, NodeRun
from coordinator.core.run import TaskRun, has_place
from coordinator.core.timers import DecideAgain, Reconsider, SendAgain, SilenceCheck, Timers
from coordinator.core.unplaced import Unplaced
from coordinator.core.verdicts import Verdicts

SEND_AGAIN_SECONDS = 2.0
DECIDE_AGAIN_SECONDS = 2.0
NOTICE_SECONDS = 3.0
"""So long before it is given up a silent agent is asked: heartbeats may be rare."""

PLACES_AN_EVENT = 200
"""Nodes that get a place by one event: some milliseconds. The rest follows when it is woken."""

AssignmentAnswer = AssignmentAccepted | AssignmentRefused | AssignmentUnanswered


class InFlight(FollowedAttempts):
    """Which attempts are in flight, and what is to be done about them."""

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
        super().__init__(runs, fleet)
        self._pending = pending
        self._timers = timers
        self._emit = emit
        self._verdicts = Verdicts(emit)
        self._wait = agent_wait
        self._notice = min(NOTICE_SECONDS, agent_wait / 2)
        self._limit = limit
        self._unplaced = Unplaced(fleet)
        self._pauses = False
        """Whether more places are free than one event may give, and the core is to be woken."""

    # ── in and out ──

    def has_room(self, run: TaskRun) -> bool:
        """Whether one more node of a task may be in flight."""
        return has_place(run) and (self._limit == 0 or len(self.by_place) < self._limit)

    def fill(self, run: TaskRun, now: float) -> None:
        """Give nodes of a task their places while there is room, and send work or wait for agents.

        Where nodes wait for a retry, come back when it is due. Very many begin in portions.
        """
        places = 0 if self._pauses else PLACES_AN_EVENT
        while places and run.at_rest and self.has_room(run) and (node := run.place_next(now)):
            places -= 1
            attempt = self._attempts.put(run, node, self._fleet.clock.at(now))
            self._send(attempt, now)
            self._watch(attempt)
        if not places and not self._pauses:
            self._pauses = True
            self._timers.at(now, Reconsider())
        due = run.next_retry
        if due is not None and due > now and due != run.woken_for:
            run.woken_for = due
            self._timers.at(due, Reconsider())

    def woken(self) -> None:
        """Others had their turn: more places may be given."""
        self._pauses = False

    def decided(
        self, run: TaskRun, node: NodeRun, number: int, decided_by: str, now: float
    ) -> None:
        """Attempt ``number`` of a node is decided; whoever else is at it is to stop."""
        task = run.head.id
        attempt = self._attempts.take(task, node.name)
        holder = None if attempt is None else attempt.holder
        if holder is not None and holder != decided_by:
            self._emit(CancelWork(node.name, holder, task, number))
        if self._verdicts.decided(task, node.name):
            self.remove(run, node)
        if self._ahead:
            self._catch_up(run, now)

    def cancel_task(self, run: TaskRun) -> None:
        """The task is over: stop what is in flight for it."""
        for node in run.nodes:
            if attempt := self._attempts.take(run.head.id, node.name):
                # An assignment that was not answered may have arrived all the same.
                instance = attempt.holder or self._fleet.instance(node.name)
                if instance is not None:
                    self._emit(CancelWork(node.name, instance, run.head.id))
        self._verdicts.forget(run.head.id)
        self._ahead.pop(run.head.id, None)

    # ── from following to leading ──

    def take_over(self, now: float) -> None:
        """Lead from now on: count what is held, then decide and send what was left to another.

        What an agent had accepted keeps the time of its last word, but its agent is asked first,
        and has as long to answer as any that is asked: only if it says something it gets the full
        wait again. What nobody has is waited for from now on, because nobody was asked before.
        """
        for name, instance, hold in self._unplaced.take_all():
            self._claim(name, instance, hold, now)
        self.leads = True
        self._ahead.clear()  # whoever works on it has said so by now, or will
        for task, name in self._verdicts.gone():
            self.remove(self._runs[task], self._runs[task].by_name[name])
        for attempt in self._attempts.all():
            self._resume(attempt, now)

    def _resume(self, attempt: Attempt, now: float) -> None:
        if attempt.accepted_by is None:
            attempt.sent_to = None  # another leader asked, and nobody here hears the answer
        time = self._fleet.clock.at(now)
        asked_since = 0.0 if attempt.accepted_by is None else self._wait - self._notice
        attempt.alive_at = max(attempt.alive_at, time - asked_since)
        self._watch(attempt)
        if attempt.is_idle:
            self._send_or_give_up(attempt, now)

    # ── assignments and their answers ──

    def _send(self, attempt: Attempt, now: float) -> None:
        """Send the work, unless nobody is there for it or it is about to be decided."""
        key, node = attempt.key, attempt.node
        is_hopeless = len(attempt.lost_by) >= LOST_INSTANCES
        if not self.leads or is_hopeless or self._verdicts.is_leaving(key.task, key.node):
            return
        instance = self._fleet.agent_for(key.node, now)
        if instance is None:
            return
        attempt.sent_to, attempt.resend_at = instance, None
        spec = attempt.run.spec
        self._emit(Assign(key, instance, tuple(node.wanted(spec.work)), spec))

    def send_again(self, key: AttemptKey, now: float) -> None:
        """Send what was refused or not answered, unless that has been done since."""
        attempt = self._find(key)
        if attempt is not None and attempt.resend_at is not None and attempt.resend_at <= now:
            attempt.resend_at = None
            self._send(attempt, now)

    def available(self, name: str, now: float) -> None:
        """Something changed about a node: send it the work that waits for it."""
        for attempt in self._attempts.on(name):
            if attempt.is_idle:
                self._send(attempt, now)

    def _asked(self, answer: AssignmentAnswer) -> Attempt | None:
        """Which attempt this answer is about, unless it is late or has nothing new to say."""
        attempt = self._find(answer.key)
        if attempt is None or attempt.accepted_by is not None:
            return None
        return attempt if attempt.sent_to == answer.instance else None

    def accepted(self, event: AssignmentAccepted, now: float) -> None:
        """The agent has the work."""
        if attempt := self._asked(event):
            self._keep(attempt, event.instance, now)

    def refused(self, event: AssignmentRefused, now: float) -> None:
        """The agent does not take the work now: ask again soon, unless that is no use."""
        if attempt := self._asked(event):
            if event.never is not None:
                self._give_up(attempt, Reason.UNAUTHORIZED, event.never, now)
            self._ask_later(attempt, now)

    def unanswered(self, event: AssignmentUnanswered, now: float) -> None:
        """Nobody answered: ask again soon, or when an agent speaks if this one is absent."""
        if (attempt := self._asked(event)) is None:
            return
        attempt.held_up, attempt.held_up_reason = event.why, event.reason
        if event.absent:
            attempt.sent_to = None
            self._fleet.gone(event.key.node, event.instance)
            self.available(event.key.node, now)
        else:
            self._ask_later(attempt, now)

    def _ask_later(self, attempt: Attempt, now: float) -> None:
        attempt.sent_to, attempt.resend_at = None, now + SEND_AGAIN_SECONDS
        self._timers.at(attempt.resend_at, SendAgain(attempt.key))

    # ── what agents say of themselves ──

    def heard(self, event: AgentHeard, now: float) -> None:
        """Bring what an agent holds and what it should hold together."""
        if self._fleet.has_left(event.node, event.instance):
            return
        if event.leaving:
            self._fleet.said_goodbye(event.node, event.instance)
            self._hand_back(event, now)
            return
        self._fleet.heard(event.node, event.instance, event.interval, now)
        self._fleet.runtime_is(event.node, event.instance, event.runtime_away)
        held = {(hold.task, hold.attempt): hold for hold in event.holds}
        attempts = [
            (attempt, held.pop((attempt.key.task, attempt.key.attempt), None))
            for attempt in self._attempts.on(event.node)
        ]
        # First what is to be stopped: an agent works on one attempt of a task at a time.
        claims = [h for h in held.values() if not self._claim(event.node, event.instance, h, now)]
        if not self.leads:
            self._unplaced.note(event.node, event.instance, claims)
        for attempt, hold in attempts:
            if hold is not None:
                self._confirm(attempt, event.instance, now)
            elif not self._verdicts.is_pending(attempt.key.task, event.node):
                self._miss(attempt, event.instance, now)

    def _hand_back(self, event: AgentHeard, now: float) -> None:
        self._unplaced.note(event.node, event.instance, [])
        for attempt in self._attempts.on(event.node):
            if event.instance in {attempt.sent_to, attempt.accepted_by}:
                self._call_back(attempt, now)
        self.available(event.node, now)

    def _is_current(self, name: str, instance: str) -> bool:
        return self._fleet.instance(name) == instance

    def _confirm(self, attempt: Attempt, instance: str, now: float) -> None:
        """An instance holds the attempt in flight: its own, or that of a former one."""
        task, name, number = attempt.key
        is_known = instance in {attempt.sent_to, attempt.accepted_by}
        # Another leader sends work without a word to this core.
        is_sent = not self.leads and attempt.is_idle and instance not in attempt.lost_by
        if is_known or is_sent or self._is_current(name, instance):
            self._keep(attempt, instance, now)
        else:
            self._emit(CancelWork(name, instance, task, number))

    def _miss(self, attempt: Attempt, instance: str, now: float) -> None:
        """An instance does not hold the attempt in flight."""
        name = attempt.key.node
        current = self._is_current(name, instance)
        if attempt.accepted_by is None:
            if current and attempt.sent_to not in {None, instance}:
                self._send(attempt, now)  # a former instance will never answer
            elif current:
                self.available(name, now)
        elif attempt.accepted_by == instance:
            self._call_back(attempt, now)  # it forgot
            self.available(name, now)
        elif current:
            attempt.lost_by.add(attempt.accepted_by)  # that one has ended
            self._call_back(attempt, now)
            self._send_or_give_up(attempt, now)

    def _claim(self, name: str, instance: str, hold: Hold, now: float) -> bool:
        """An agent holds work that is not in flight here: adopt it, or have it stopped."""
        run = self._runs.get(hold.task)
        node = run.by_name.get(name) if run is not None else None
        if run is None:
            # A task that is over may be forgotten as a whole; one that is pending may not.
            number = hold.attempt if hold.task in self._pending else None
            self._emit(CancelWork(name, instance, hold.task, number))
            return False
        if node is None or not self._fits(run, node, hold):
            self._emit(CancelWork(name, instance, hold.task, hold.attempt))
            return False
        run.place(node, now)
        attempt = self._attempts.put(run, node, self._fleet.clock.at(now))
        self._watch(attempt)
        self._keep(attempt, instance, now)
        node.started_at = int((now - min(max(0.0, hold.seconds), now)) * 1000)
        return True

    def _fits(self, run: TaskRun, node: NodeRun, hold: Hold) -> bool:
        if node.phase not in AT_REST or hold.attempt != node.next_attempt:
            return False
        if self._verdicts.is_leaving(run.head.id, node.name):
            return False
        # What was begun under another limit goes on; nothing begins until there is room again.
        return self.has_room(run) if self.leads else has_place(run)

    # ── silence and verdicts ──

    def _watch(self, attempt: Attempt, seconds: float | None = None) -> None:
        """Check an attempt's silence so many seconds after its last sign of life."""
        if self.leads and not attempt.is_watched:
            attempt.is_watched = True
            wait = self._wait - self._notice if seconds is None else seconds
            self._timers.at_silence(attempt.alive_at + wait, SilenceCheck(attempt.key))

    def check_silence(self, key: AttemptKey, now: float) -> None:
        """Give an attempt up whose agent has been silent for too long, or look again later."""
        attempt = self._find(key)
        if attempt is None:
            return
        attempt.is_watched = False
        if self._verdicts.is_leaving(key.task, key.node):
            return
        deadline = attempt.alive_at + self._wait
        if not self._fleet.clock.has_reached(attempt.alive_at + (self._wait - self._notice), now):
            self._watch(attempt)
        elif not self._fleet.clock.has_reached(deadline, now):
            if attempt.accepted_by is not None:
                self._emit(AskAgent(key.node, attempt.accepted_by))
            self._watch(attempt, self._wait)
        elif attempt.accepted_by is not None:
            text = AGENT_SILENT(node=key.node, seconds=self._wait)
            self._give_up(attempt, Reason.AGENT_LOST, text, now)
        else:
            reason = Reason.AGENT_LOST if attempt.lost_by else attempt.held_up_reason
            text = attempt.held_up or self._fleet.why_given_up(key.node, self._wait)
            self._give_up(attempt, reason, text, now)

    def _send_or_give_up(self, attempt: Attempt, now: float) -> None:
        """Send work that nobody has, unless it has killed too many agents; the leader's to do."""
        task, name, _ = attempt.key
        if self.leads and attempt.is_hopeless and not self._verdicts.is_leaving(task, name):
            self._give_up(attempt, Reason.AGENT_LOST, AGENT_DIED(times=LOST_INSTANCES), now)
        else:
            self._send(attempt, now)

    def _give_up(self, attempt: Attempt, reason: Reason, text: Text, now: float) -> None:
        self._verdicts.store(attempt.key, attempt.given_up(reason, text, now))

    def remove(self, run: TaskRun, node: NodeRun) -> None:
        """The node has ceased to exist: it leaves the task, unless it is done."""
        task, name = run.head.id, node.name
        if node.phase in OVER:
            self._verdicts.unmark_gone(task, name)
            return
        self._verdicts.mark_gone(task, name)
        if self.leads and not self._verdicts.is_pending(task, name):
            key = AttemptKey(task, name, node.next_attempt)
            self._verdicts.store(key, Outcome(removed=True))

    def vanished(self, name: str) -> None:
        """A node has ceased to exist: it leaves every task, and what it held is void."""
        self._unplaced.forget(name)
        for run in self._runs.values():
            if name in run.by_name:
                self.remove(run, run.by_name[name])

    def listed(self) -> None:
        """All nodes that exist are known: no other is part of a task that chose by labels."""
        for run in self._runs.values():
            if run.spec.names_nodes:
                continue  # a name that no node has stays, and fails by that name
            for node in run.nodes:
                if node.name not in self._fleet.nodes:
                    self.remove(run, node)

    def returned(self, name: str, now: float) -> None:
        """A node exists, again perhaps, or has changed: no task loses it, and it may take work."""
        for task in self._runs:
            self._verdicts.unmark_gone(task, name)
        self.available(name, now)

    def verdict_failed(self, event: VerdictFailed, now: float) -> None:
        """The store refused a verdict for now: decide again soon, by what is so then."""
        if self._verdicts.refused(event.key):
            self._timers.at(now + DECIDE_AGAIN_SECONDS, DecideAgain(event.key))

    def decide_again(self, key: AttemptKey, now: float) -> None:
        """A verdict was refused a moment ago; give another one if there is still reason to."""
        if self._verdicts.is_gone(key.task, key.node):
            run = self._runs[key.task]
            self.remove(run, run.by_name[key.node])
        elif (attempt := self._find(key)) is not None:
            if attempt.is_hopeless:
                self._send_or_give_up(attempt, now)
            elif not attempt.is_watched:
                self.check_silence(key, now)
