"""Attempts in flight as they are known, whoever leads: by agents' words and by the leader's."""

from __future__ import annotations

from collections.abc import Mapping

from common.subjects import AttemptKey
from coordinator.core.attempts import Attempt, Attempts
from coordinator.core.events import AttemptTold
from coordinator.core.fleet import Fleet
from coordinator.core.node_run import AT_REST, NodePhase
from coordinator.core.run import TaskRun, has_place


class FollowedAttempts:
    """What is so of attempts in flight; ``InFlight`` adds what is to be done about them."""

    def __init__(self, runs: Mapping[str, TaskRun], fleet: Fleet) -> None:
        self.leads = False
        """Whether anything is sent or given up here, rather than by another leader."""
        self._runs = runs
        self._fleet = fleet
        self._attempts = Attempts()
        self.by_place = self._attempts.by_place
        """Every attempt in flight, by its task and node."""
        self._ahead: dict[str, dict[str, AttemptTold]] = {}
        """By task and node: what the leader began in places that are not free here yet."""

    def accepted_by(self, task: str, node: str) -> str | None:
        """The instance that has accepted the attempt in flight, if any.

        Who follows takes the one that was asked: it may hear the agent before the leader's word.
        """
        attempt = self.by_place.get((task, node))
        if attempt is None:
            return None
        return attempt.accepted_by if self.leads else attempt.holder

    def told(self, event: AttemptTold, now: float) -> None:
        """The leader has given a node its place, has sent the work, or has its answer."""
        run = self._runs.get(event.key.task)
        node = None if run is None else run.by_name.get(event.key.node)
        if self.leads or run is None or node is None:
            return
        attempt = self._find(event.key)
        if attempt is None:
            if node.phase not in AT_REST or event.key.attempt != node.next_attempt:
                return
            if not has_place(run):
                # The leader has read an outcome that this core is about to read.
                self._ahead.setdefault(event.key.task, {})[event.key.node] = event
                return
            run.place(node, now)
            attempt = self._attempts.put(run, node, self._fleet.clock.at(now))
        node.started_at = event.started_at
        if event.accepted and event.instance is not None:
            self._keep(attempt, event.instance, now)
        else:
            self._call_back(attempt, now)
            attempt.sent_to = event.instance

    def _find(self, key: AttemptKey) -> Attempt | None:
        """One attempt, unless it is not in flight (any more)."""
        attempt = self.by_place.get((key.task, key.node))
        return attempt if attempt is not None and attempt.key == key else None

    @property
    def is_behind(self) -> bool:
        """Whether the leader has said what cannot be so before more is read."""
        return bool(self._ahead)

    def _catch_up(self, run: TaskRun, now: float) -> None:
        """A place of a task is free: it is that of an attempt which the leader told of before."""
        ahead = self._ahead.get(run.head.id)
        while ahead and has_place(run):
            self.told(ahead.pop(next(iter(ahead))), now)
        if not ahead:
            self._ahead.pop(run.head.id, None)

    def _keep(self, attempt: Attempt, instance: str, now: float) -> None:
        """An instance has the work, as it said a moment ago."""
        attempt.sent_to = attempt.accepted_by = instance
        attempt.resend_at = attempt.held_up = None
        self._note_life(attempt, now)
        if attempt.node.phase is NodePhase.ASSIGNED:
            attempt.run.move(attempt.node, NodePhase.PULLING)

    def _call_back(self, attempt: Attempt, now: float) -> None:
        """Nobody has the work any more: wait for an agent from now on."""
        attempt.sent_to = attempt.accepted_by = attempt.resend_at = None
        self._note_life(attempt, now)
        if attempt.node.phase is NodePhase.PULLING:
            attempt.run.move(attempt.node, NodePhase.ASSIGNED)

    def _note_life(self, attempt: Attempt, now: float) -> None:
        # When the bus is found to have been silent for a while, its clock goes back by as much.
        attempt.alive_at = max(attempt.alive_at, self._fleet.clock.at(now))
