"""What a run has really stored, told and done, seen from outside and folded by rules of its own.

Nothing here uses the product's own folds: a node's end is derived a second time, from the outcomes
as they lie in the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from common import subjects
from common.bus import Record
from common.messages import ImageState, Outcome
from common.reasons import Reason
from coordinator.core.task import TaskHead, TaskSpec


class End(StrEnum):
    """How a node of a task stands by its outcomes."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome in the store."""

    outcome: Outcome
    seq: int


@dataclass(slots=True)
class TaskTruth:
    """All that was ever stored of one task."""

    head: TaskHead | None = None
    finished_at: float | None = None
    """By the loop's clock."""
    outcomes: dict[str, dict[int, Kept]] = field(default_factory=dict)
    """By node and attempt."""
    lists: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """By name of the list and number of the chunk."""
    events: list[tuple[str, str]] = field(default_factory=list)
    """Type and id of each, in order; progress left out."""
    event_ids: set[str] = field(default_factory=set)
    deliveries: list[str] = field(default_factory=list)
    is_removed: bool = False

    @property
    def nodes(self) -> list[str]:
        """The nodes of the task, once it has started."""
        name = None if self.head is None else self.head.node_list
        chunks = self.lists.get(name or "", {})
        return [node for number in sorted(chunks) for node in chunks[number]]

    def has(self, node: str, attempt: int) -> bool:
        """Whether an attempt is decided."""
        return attempt in self.outcomes.get(node, ())

    def end_of(self, node: str, upto: int | None = None) -> End:
        """How a node stands by the outcomes up to a sequence, or by all."""
        assert self.head is not None  # noqa: S101 -- only asked of tasks that have one
        kept = self.outcomes.get(node, {})
        known = {
            attempt: found.outcome
            for attempt, found in kept.items()
            if upto is None or found.seq <= upto
        }
        return end_by(self.head.spec, known)


def end_by(spec: TaskSpec, outcomes: Mapping[int, Outcome]) -> End:
    """How a node stands by its outcomes, by attempt."""
    arrived: set[str] = set()
    hopeless: set[str] = set()
    for attempt in range(1, spec.max_retries + 2):
        outcome = outcomes.get(attempt)
        if outcome is None:
            return End.OPEN
        if outcome.removed:
            return End.REMOVED
        for image in outcome.images:
            if image.state in {ImageState.PRESENT, ImageState.PULLED}:
                arrived.add(image.image)
            elif _is_permanent(image.reason):
                hopeless.add(image.image)
        wanted = {image.name for image in spec.work} - arrived
        if not wanted:
            return End.SUCCEEDED
        if _is_permanent(outcome.reason) or wanted <= hopeless:
            return End.FAILED
    return End.FAILED


def _is_permanent(reason: Reason | None) -> bool:
    return reason is not None and not reason.retry_makes_sense


class _Event(msgspec.Struct):
    id: str
    type: str


_decode_head = msgspec.json.Decoder(TaskHead).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
decode_event = msgspec.json.Decoder(_Event).decode
_HEADS = f"$KV.{subjects.TASKS_BUCKET}."
_LISTS = f"$KV.{subjects.LISTS_BUCKET}."


def head_in(record: Record) -> tuple[str, TaskHead | None] | None:
    """The task that a record of the heads' bucket is about, and its head; None: it was deleted."""
    if not record.subject.startswith(f"{_HEADS}task-"):
        return None
    task = record.subject.removeprefix(_HEADS)
    return task, None if "KV-Operation" in record.headers else _decode_head(record.data)


def list_in(record: Record) -> tuple[str, str, int, list[str]] | None:
    """Task, list, number and names of a chunk of a list of nodes."""
    if not record.subject.startswith(f"{_LISTS}task-"):
        return None
    task, name, number = record.subject.removeprefix(_LISTS).split(".")
    return task, name, int(number), _decode_names(record.data)


def outcome_in(record: Record) -> tuple[subjects.AttemptKey, Kept] | None:
    """An attempt's outcome."""
    key = subjects.parse_result(record.subject)
    return None if key is None else (key, Kept(_decode_outcome(record.data), record.seq))
