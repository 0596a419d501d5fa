"""A task as REST, events and webhooks show it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from common.reasons import Reason
from common.text import Text
from common.texts import TASK_NOT_SHOWN
from coordinator.core.node_run import NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.task import Requirement, TaskCounts, TaskHead, TaskStatus
from coordinator.documents import FailedNodeDetail, LabelRequirement, Task, TaskProgress, encode
from coordinator.snapshots import Snapshot, Transfer
from coordinator.views.texts import Shown, shown, text_of_task
from coordinator.views.times import seconds, seconds_if_known

DETAILS_SHOWN: Final = 100
DETAILS_BYTES: Final = 128 * 1024
"""What they may take together, so that an event with them fits into a message of the bus."""
FARTHEST_ESTIMATE: Final = 10 * 366 * 24 * 3600 * 1000
"""Milliseconds. An end that is farther away is no estimate: a registry lied about a size."""


def task(shot: Snapshot) -> Task:
    """A task as GET returns it."""
    details = [] if shot.run is None else _first(failed_node_details(shot.run))
    return msgspec.structs.replace(summary(shot), failed_node_details=details)


def summary(shot: Snapshot, place: int | None = None) -> Task:
    """A task as lists and ``task.progress`` show it; a finished one needs no run for this.

    ``place`` is its place in the queue, where that was asked for.
    """
    head, spec = shot.head, shot.head.spec
    counts = head.counts or TaskCounts()
    running = shot.run if head.status is TaskStatus.RUNNING else None
    said = _said(shot)
    estimate = estimated_completion(shot)
    return Task(
        task_id=head.id,
        status=head.status,
        priority=spec.priority,
        queue_place=UNSET if place is None else place,
        images=list(spec.images),
        batch_size=spec.batch_size,
        max_retries=spec.max_retries,
        retry_count=running.retry_count if running else counts.retry_count,
        retry_strategy=spec.retry_strategy,
        retry_delay=spec.retry_delay,
        webhook_url=UNSET if spec.webhook_url is None else scheme_and_host(spec.webhook_url),
        node_selector=spec.node_selector,
        match_expressions=[requirement(entry) for entry in spec.match_expressions],
        max_failed_nodes=spec.max_failed_nodes,
        rollout=spec.rollout,
        image_pull_policy=spec.image_pull_policy,
        pull_timeout_seconds=spec.pull_timeout_seconds,
        credentials=list(spec.credentials) or UNSET,
        pull_secrets=list(spec.pull_secrets) or UNSET,
        paused=True if head.paused else UNSET,
        retry_of=head.retry_of or UNSET,
        retries=list(shot.retries) or UNSET,
        set=head.set or UNSET,
        created_by=UNSET if head.created_by is None else head.created_by.user,
        progress=progress(shot),
        failed_node_details_total=running.failed_details if running else counts.failed_details,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        created_at=seconds(head.created_at),
        started_at=seconds_if_known(head.started_at),
        finished_at=seconds_if_known(head.finished_at),
        estimated_completion=seconds_if_known(estimate),
    )


def outline(shot: Snapshot) -> Task:
    """A task of which not all can be shown: what its head alone says, and that there is a fault."""
    said = shown(TASK_NOT_SHOWN())
    return msgspec.structs.replace(
        summary(Snapshot(shot.head, shot.now)),
        node_selector={},
        match_expressions=[],
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def scheme_and_host(url: str) -> str:
    """What of a webhook's address is no secret: neither user information nor what follows."""
    try:
        parts = urlsplit(url)
    except ValueError:  # the create takes no such address, but a store may hold any
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def requirement(entry: Requirement) -> LabelRequirement:
    """One entry of ``matchExpressions``."""
    return LabelRequirement(
        key=entry.key, operator=entry.operator, values=list(entry.values) or UNSET
    )


def _said(shot: Snapshot) -> Shown:
    if shot.head.status.is_final:
        return shown(text_of_task(shot.head))
    return Shown() if shot.waiting_for is None else shown(shot.waiting_for)


# ── progress ─────────────────────────────────────────────────────────────────────────────────


def progress(shot: Snapshot) -> TaskProgress:
    """A task's nodes by their state; zeros while it is pending."""
    head = shot.head
    if head.status is TaskStatus.PENDING:
        return TaskProgress()
    if head.counts is not None:
        return _finished_progress(head, head.counts)
    if shot.run is None:  # just started: the nodes are known, and nothing has happened to them
        return TaskProgress(
            total_nodes=head.nodes, waiting_nodes=head.nodes, total_batches=head.batches
        )
    return _running_progress(shot.run, shot.transfer)


def _finished_progress(head: TaskHead, counts: TaskCounts) -> TaskProgress:
    return TaskProgress(
        total_nodes=counts.total,
        completed_nodes=counts.completed,
        failed_nodes=counts.failed,
        cancelled_nodes=counts.cancelled,
        current_batch=counts.current_batch,
        total_batches=head.batches,
        percentage=percentage(counts.completed, counts.total),
        bytes=_if_known(counts.bytes),
    )


def _running_progress(run: TaskRun, transfer: Transfer) -> TaskProgress:
    in_phase = run.in_phase
    return TaskProgress(
        total_nodes=run.total,
        completed_nodes=in_phase[NodePhase.SUCCEEDED],
        failed_nodes=in_phase[NodePhase.FAILED],
        pulling_nodes=in_phase[NodePhase.PULLING],
        retrying_nodes=in_phase[NodePhase.RETRYING],
        waiting_nodes=in_phase[NodePhase.WAITING],
        assigned_nodes=in_phase[NodePhase.ASSIGNED],
        current_batch=run.current_batch,
        total_batches=run.total_batches,
        percentage=percentage(in_phase[NodePhase.SUCCEEDED], run.total),
        bytes=_if_known(transfer.bytes),
        total_bytes=_if_known(transfer.total_bytes),
        bytes_per_second=_if_known(transfer.bytes_per_second),
    )


def percentage(completed: int, total: int) -> float:
    """``completed / total * 100`` to one decimal, halves up (in integers, so that they are)."""
    return (2000 * completed + total) // (2 * total) / 10 if total else 0.0


def estimated_completion(shot: Snapshot) -> int | None:
    """When the task ends if it goes on at its mean speed so far; None while that is unknown."""
    head, run = shot.head, shot.run
    is_moving = head.status is TaskStatus.RUNNING and not head.paused
    if not is_moving or run is None or head.started_at is None:
        return None
    share = _share_done(run, shot.transfer)
    if not share:
        return None
    rest = max(shot.now - head.started_at, 0) * (1 - share) / share
    if rest > FARTHEST_ESTIMATE:
        return None
    estimate = shot.now + round(rest)
    retry = run.next_retry
    return estimate if retry is None else max(estimate, round(retry * 1000))


def _share_done(run: TaskRun, transfer: Transfer) -> float:
    """How much of the work is done, from 0 to 1; 0 where nothing can be said."""
    done = run.in_phase[NodePhase.SUCCEEDED] + run.in_phase[NodePhase.FAILED]
    if done:
        return done / run.total
    everything_pulls = run.in_phase[NodePhase.PULLING] == run.total
    if everything_pulls and transfer.bytes and transfer.total_bytes:
        return min(transfer.bytes / transfer.total_bytes, 1.0)
    return 0.0


def _if_known(number: int | None) -> int | UnsetType:
    return UNSET if number is None else number


# ── failed nodes ─────────────────────────────────────────────────────────────────────────────


def failed_node_details(run: TaskRun) -> Iterator[FailedNodeDetail]:
    """One entry for each failed image of each node that is given up, by batch and name."""
    if run.in_phase[NodePhase.FAILED]:
        for node in run.nodes:
            if node.phase is NodePhase.FAILED:
                yield from _details_of(node)


def _first(details: Iterator[FailedNodeDetail]) -> list[FailedNodeDetail]:
    """The first 100; fewer only where their names and messages are huge."""
    chosen, size = [], 0
    for detail in islice(details, DETAILS_SHOWN):
        size += len(encode(detail))
        if size > DETAILS_BYTES:
            break
        chosen.append(detail)
    return chosen


def _details_of(node: NodeRun) -> Iterator[FailedNodeDetail]:
    failures: list[tuple[str | UnsetType, Reason | None, Text | None]] = [
        (image.image, image.reason, image.text) for image in node.failed_images()
    ]
    if node.reason is not None:
        failures.append((UNSET, node.reason, node.text))
    for image, reason, text in failures:
        said = shown(text)
        yield FailedNodeDetail(
            node_name=node.name,
            image=image,
            reason=reason or Reason.UNKNOWN,
            message=said.message or "",
            message_code=said.code,
            message_params=said.params,
            timestamp=seconds(node.finished_at or 0),
        )
