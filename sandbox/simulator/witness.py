"""Watches a history, and looks at the laws with each thing that is stored, sent or done.

What it finds broken first is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from typing import Any

import msgspec

from common import subjects
from common.bus import Record
from common.messages import Command
from coordinator.core.changes import NodeMoved
from coordinator.core.commands import Assign
from coordinator.core.events import Event
from coordinator.core.node_run import IN_FLIGHT
from coordinator.core.scheduler import Decision
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.engine.loop import Observer as LoopObserver
from sandbox.simulator import truth
from sandbox.simulator.agents_seen import AgentsSeen
from sandbox.simulator.cluster import Coordinator
from sandbox.simulator.laws import Broken, Law
from sandbox.simulator.sets_seen import SetsSeen
from sandbox.simulator.truth import End, TaskTruth

_decode_command = msgspec.json.Decoder(Command).decode
_COMMANDS = f"{subjects.PREFIX}.command."
_LAST = {f"task.{status}" for status in TaskStatus if status.is_final}
_FOLDED = {
    "node.succeeded": End.SUCCEEDED,
    "node.failed": End.FAILED,
    "node.removed": End.REMOVED,
}
RETENTION_SECONDS = 3600.0
CLOCKS_APART = 250.0
"""Seconds by which the clocks of a healthy fleet may differ: twice what is tolerated."""


class Witness:
    """The witness of one history."""

    def __init__(self, limit: int, most_repairs: int, *, keep_lines: bool = False) -> None:
        """``limit``: of nodes in flight over all tasks; 0 is none. Of repairs there is one, too."""
        self.broken: Broken | None = None
        self.tasks: defaultdict[str, TaskTruth] = defaultdict(TaskTruth)
        self.agents = AgentsSeen(self, limit)
        self.sets = SetsSeen(self, most_repairs)
        self.lines: list[str] = []
        """What happened, for people."""
        self.skipped = 0.0
        """Seconds by which clocks were set forward."""
        self._keep_lines = keep_lines
        self._trace = hashlib.blake2b(digest_size=16)
        self._sender_of_epoch: dict[int, str] = {}

    # ── what is found ──

    @property
    def trace(self) -> str:
        """A hash over all that was sent and stored, and when."""
        return self._trace.hexdigest()

    def check(self) -> None:
        """Raise Broken if any law is."""
        if self.broken is not None:
            raise self.broken

    def breaks(self, law: Law, detail: str) -> None:
        """A law is broken; the first one is what counts."""
        if self.broken is None:
            now = asyncio.get_running_loop().time()
            self.broken = Broken(law, f"at {now:.3f} s: {detail}")
            self.say("LAW", f"{law.name} {detail}")

    def say(self, who: str, what: object) -> None:
        """Note what happened, where somebody wants to read it."""
        if self._keep_lines:
            self.lines.append(f"{asyncio.get_running_loop().time():10.3f}  {who:12}  {what}")

    # ── what is sent ──

    def sent(self, link: str, subject: str, payload: bytes) -> None:
        """A program sends a message."""
        now = asyncio.get_running_loop().time()
        self._trace.update(f"{now:.6f} {link} {subject} ".encode())
        self._trace.update(payload)
        if subject.startswith(_COMMANDS) or subject == subjects.REPORT:
            command: Command = _decode_command(payload)
            self.say(link, f"{subject.removeprefix(subjects.PREFIX)} {command}")
            sender = self._sender_of_epoch.setdefault(command.epoch, link)
            if sender != link:
                detail = f"{sender} and {link} both command in epoch {command.epoch}"
                self.breaks(Law.ONE_LEADER_AN_EPOCH, detail)

    # ── what is stored ──

    def stored(self, record: Record) -> None:
        """A record is stored."""
        now = asyncio.get_running_loop().time()
        self._trace.update(f"{now:.6f} {record.seq} {record.subject} ".encode())
        self._trace.update(record.data)
        if self.sets.stored(record):
            return
        if found := truth.head_in(record):
            self._head_stored(*found)
        elif chunk := truth.list_in(record):
            task, name, number, names = chunk
            self.tasks[task].lists.setdefault(name, {})[number] = names
        elif outcome := truth.outcome_in(record):
            self._outcome_stored(*outcome)
        elif (event := subjects.parse_event(record.subject)) and subjects.is_task_id(event.about):
            self._event_stored(event.type, event.about, truth.decode_event(record.data).id)

    def _head_stored(self, task: str, head: TaskHead | None) -> None:
        known = self.tasks[task]
        before, now = known.head, asyncio.get_running_loop().time()
        if head is None:
            self.say("store", f"{task} is removed")
            self._removed(task, known, now)
            return
        counts = "" if head.counts is None else f" {head.counts}"
        self.say("store", f"{task} is {head.status}, to be told: {list(head.notify)}{counts}")
        if known.is_removed:
            self.breaks(Law.END_IS_FINAL, f"{task} was removed and is {head.status} again")
        if before is not None and before.status.is_final:
            if (before.status, before.counts) != (head.status, head.counts):
                self.breaks(Law.END_IS_FINAL, f"{task} was {before.status} and is {head.status}")
        elif before is not None and _begins_again(before, head):
            self.breaks(Law.END_IS_FINAL, f"{task} began twice")
        known.head = head
        if head.status.is_final and known.finished_at is None:
            known.finished_at = now
            self._ended(task, known, head)
        self.sets.task_stored(head)
        self.sets.check_repairs(is_sure=self.agents.is_sure)

    def _removed(self, task: str, known: TaskTruth, now: float) -> None:
        known.is_removed = True
        self.sets.task_removed(task)
        if known.head is None or known.finished_at is None:
            self.breaks(Law.RETAINED, f"{task} is removed before its end")
        elif known.head.notify:
            self.breaks(Law.RETAINED, f"{task} is removed before {known.head.notify} is told")
        elif now - known.finished_at + self.skipped + CLOCKS_APART < RETENTION_SECONDS:
            self.breaks(Law.RETAINED, f"{task} is removed {now - known.finished_at:.0f} s after it")

    def _ended(self, task: str, known: TaskTruth, head: TaskHead) -> None:
        """Its counts are the fold over what counts."""
        counts = head.counts
        if head.started_at is None or counts is None:
            return
        ends = [known.end_of(node, head.results_seq) for node in known.nodes]
        folded = (
            len(ends) - ends.count(End.REMOVED),
            ends.count(End.SUCCEEDED),
            ends.count(End.FAILED),
            ends.count(End.REMOVED),
            ends.count(End.OPEN),
        )
        said = (counts.total, counts.completed, counts.failed, counts.removed, counts.cancelled)
        if said != folded:
            self.breaks(Law.COUNTED_ONCE, f"{task}: {said} in the head, {folded} in the store")
        if head.status is not TaskStatus.CANCELLED and End.OPEN in ends:
            self.breaks(Law.COUNTED_ONCE, f"{task} is {head.status} with nodes that are open")

    def _outcome_stored(self, key: subjects.AttemptKey, kept: truth.Kept) -> None:
        outcome = kept.outcome
        what = outcome.reason or ", ".join(
            f"{i.image} {i.reason or i.state}" for i in outcome.images
        )
        self.say(
            "store", f"{key.task} {key.node} {key.attempt}: {'removed' * outcome.removed}{what}"
        )
        known = self.tasks[key.task]
        if known.has(key.node, key.attempt) and not known.is_removed:
            self.breaks(Law.DECIDED_ONCE, f"{key} is decided again")
        if known.nodes and key.node not in known.nodes:
            self.breaks(Law.COUNTED_ONCE, f"{key} is stored, and no node of the task")
        known.outcomes.setdefault(key.node, {})[key.attempt] = kept

    def _event_stored(self, event_type: str, task: str, event_id: str) -> None:
        known = self.tasks[task]
        if event_id in known.event_ids:
            self.breaks(Law.TOLD_ONCE, f"{event_id} is told again")
        known.event_ids.add(event_id)
        if known.events and known.events[-1][0] in _LAST:
            self.breaks(Law.TOLD_ONCE, f"{event_id} is told behind the end")
        if event_type == "task.progress":
            return
        self.say("events", event_id)
        known.events.append((event_type, event_id))
        place = len(known.events)
        first = {1: "task.created", 2: "task.started"}.get(place)
        begun = known.head is not None and known.head.started_at is not None
        if first not in {None, event_type} and (place == 1 or begun):
            self.breaks(Law.TOLD_ONCE, f"{event_id} is told as number {place} of its task")
        if event_type in _LAST:
            if known.head is None or f"task.{known.head.status}" != event_type:
                self.breaks(Law.TOLD_AS_IT_IS, f"{event_id} is told of a task that did not end so")
            self._all_told(task, known)
        elif event_type.startswith("node."):
            self._node_told(event_type, event_id, known)

    def _node_told(self, event_type: str, event_id: str, known: TaskTruth) -> None:
        task, _, node, attempt = event_id.split("/")
        kept = known.outcomes.get(node, {}).get(int(attempt))
        head = known.head
        if kept is None or head is None:
            self.breaks(Law.TOLD_AS_IT_IS, f"{event_id} is told without an outcome")
        elif head.status.is_final and kept.seq > (head.results_seq or 0):
            self.breaks(Law.NOTHING_AFTER_CANCEL, f"{event_id} is told, and does not count")
        elif event_type in _FOLDED and known.end_of(node) is not _FOLDED[event_type]:
            self.breaks(Law.TOLD_AS_IT_IS, f"{event_id} is told of {task} {known.end_of(node)}")

    def _all_told(self, task: str, known: TaskTruth) -> None:
        """What is told of its nodes is the whole fold."""
        head = known.head
        if head is None or head.started_at is None or head.counts is None:
            return
        told = {event_id.split("/")[2] for kind, event_id in known.events if kind in _FOLDED}
        ends = {n for n in known.nodes if known.end_of(n, head.results_seq) is not End.OPEN}
        if told != ends:
            self.breaks(
                Law.TOLD_AS_IT_IS, f"{task}: ends of {told} are told, those of {ends} are so"
            )

    # ── what coordinators decide ──

    def follows(self, coordinator: Coordinator) -> LoopObserver:
        """See what a coordinator's next replica makes of its events."""

        def decided(_event: Event, decision: Decision) -> None:
            replica = coordinator.replica
            assert replica is not None  # noqa: S101 -- it speaks
            for change in decision.changes:
                if isinstance(change, NodeMoved) and (run := replica.core.runs.get(change.task)):
                    # Counted anew: the run's own count is what is to be proven.
                    busy = sum(node.phase in IN_FLIGHT for node in run.nodes)
                    if busy > run.spec.batch_size:
                        detail = f"{coordinator.name} has {busy} nodes of {change.task} in flight"
                        self.breaks(Law.CAP, detail)
            for command in decision.commands:
                if isinstance(command, Assign):
                    head = replica.tasks.head(command.key.task)
                    if head is None or head.status.is_final:
                        detail = f"{coordinator.name} assigns {command.key} and knows its end"
                        self.breaks(Law.NOTHING_AFTER_CANCEL, detail)

        return decided

    # ── what users and the world are told ──

    def created(self, task: str) -> None:
        """A user was told that a task is created."""
        self.say("user", f"{task} is created")
        if self.tasks[task].head is None:
            self.breaks(Law.PROMISED, f"{task} is created, and not stored")

    def cancelled(self, task: str) -> None:
        """A user was told that a task is cancelled."""
        self.say("user", f"{task} is cancelled")
        head = self.tasks[task].head
        if head is None or head.status is not TaskStatus.CANCELLED:
            self.breaks(Law.PROMISED, f"{task} is said to be cancelled, and is not")

    def delivered(self, delivery: str) -> None:
        """A webhook has arrived."""
        self.say("receiver", delivery)
        task, _, event = delivery.partition("/")
        known = self.tasks[task]
        known.deliveries.append(delivery)
        if known.head is None or event != f"task.{known.head.status}":
            self.breaks(Law.WEBHOOK, f"{delivery} arrives, and is not how the task ended")

    def failed_by_itself(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop tells of an exception that nobody took."""
        fault = context.get("exception")
        self.breaks(Law.NOTHING_DIES, f"{context['message']}: {fault!r}")


def _begins_again(before: TaskHead, head: TaskHead) -> bool:
    """Whether a running task waits again, or has got other nodes."""
    if before.status is TaskStatus.PENDING:
        return False
    return head.status is TaskStatus.PENDING or head.node_list != before.node_list
