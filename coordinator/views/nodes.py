"""The nodes of a task, and the nodes of the fleet."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from msgspec import UNSET, UnsetType

from common.image_reference import familiar
from common.inventory import CAN_PIN
from common.messages import ImageOutcome, ImageProgress, ImageState
from common.reasons import Reason
from common.text import Text
from common.texts import NODE_NOT_SHOWN
from coordinator import documents
from coordinator.core.node_run import ARRIVED, IN_FLIGHT, OVER, NodePhase, NodeRun
from coordinator.core.task import TaskHead
from coordinator.documents import Node, NodeImage, TaskNode
from coordinator.live_documents import LiveImage, LiveNode
from coordinator.snapshots import NOTHING_KNOWN, KnownNode, Pulls
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds_if_known

_TELLS_WHY: Final = frozenset({NodePhase.RETRYING, NodePhase.FAILED, NodePhase.CANCELLED})


def task_node(head: TaskHead, node: NodeRun, pulls: Pulls = NOTHING_KNOWN) -> TaskNode:
    """A node as the task's ``/nodes`` shows it."""
    reason, text = _why(node)
    said = shown(text)
    retry_at = None if node.retry_at is None else round(node.retry_at * 1000)
    state, finished_at, images = (
        node_state(node),
        _finished_at(head, node),
        _images(head, node, pulls),
    )
    return TaskNode(
        node_name=node.name,
        state=state,
        batch=node.batch,
        attempt=max(node.attempt, 1),
        started_at=milliseconds_if_known(node.started_at),
        finished_at=milliseconds_if_known(finished_at),
        next_retry_at=milliseconds_if_known(retry_at),
        reason=reason,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        images=images,
    )


def live_node(head: TaskHead, node: NodeRun, pulls: Pulls) -> LiveNode:
    """The part of a node that changes while its task runs."""
    return LiveNode(
        node_name=node.name,
        state=node_state(node),
        attempt=max(node.attempt, 1),
        reason=_why(node)[0],
        images=[
            LiveImage(
                image=image.image,
                state=image.state,
                phase=image.phase,
                bytes=image.bytes,
                total_bytes=image.total_bytes,
                bytes_per_second=image.bytes_per_second,
            )
            for image in _images(head, node, pulls)
        ],
    )


def node_state(node: NodeRun) -> str:
    """The public name of a node's phase; one that left its task has stopped, as if cancelled."""
    return NodePhase.CANCELLED if node.phase is NodePhase.REMOVED else node.phase


def _finished_at(head: TaskHead, node: NodeRun) -> int | None:
    if node.phase is NodePhase.CANCELLED:
        return head.finished_at  # one stored step cancels all
    return node.finished_at if node.phase in OVER else None


def _why(node: NodeRun) -> tuple[str | UnsetType, Text | None]:
    """Reason and sentence of a node: its own, or those of its first failed image."""
    if node.phase not in _TELLS_WHY:
        return UNSET, None
    if node.reason is not None:
        return node.reason, node.text
    image = next(node.failed_images(), None)
    if image is None:
        return UNSET, None
    return image.reason or Reason.UNKNOWN, image.text


# ── images ───────────────────────────────────────────────────────────────────────────────────


def _images(head: TaskHead, node: NodeRun, pulls: Pulls) -> list[NodeImage]:
    work = head.spec.work
    tried: Container[str] = ()
    if node.phase in IN_FLIGHT:
        tried = {image.name for image in node.wanted(work)}
    return [
        _image_in_flight(image.name, pulls.get(image.name))
        if image.name in tried
        else _image(node, image.name)
        for image in work
    ]


def _image_in_flight(name: str, pull: ImageProgress | None) -> NodeImage:
    """An image that the attempt in flight is about; what became of it earlier is past."""
    if pull is None:
        return NodeImage(image=name, state=ImageState.WAITING)
    return NodeImage(
        image=name,
        state=pull.state,
        phase=_phase(pull),
        bytes=_known(pull.bytes),
        total_bytes=_known(pull.total_bytes),
        bytes_per_second=_known(pull.bytes_per_second),
    )


def _phase(pull: ImageProgress) -> str | UnsetType:
    if pull.phase is None or pull.state is not ImageState.PULLING:
        return UNSET
    return pull.phase


def _image(node: NodeRun, name: str) -> NodeImage:
    outcome = node.images.get(name)
    if outcome is None:
        state = ImageState.CANCELLED if node.phase in OVER else ImageState.WAITING
        return NodeImage(image=name, state=state)
    if outcome.state in ARRIVED:
        return _arrived_image(outcome)
    said = shown(outcome.text)
    return NodeImage(
        image=name,
        state=outcome.state,
        reason=outcome.reason or Reason.UNKNOWN,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def _arrived_image(outcome: ImageOutcome) -> NodeImage:
    return NodeImage(
        image=outcome.image,
        state=outcome.state,
        bytes=_known(outcome.bytes),
        total_bytes=_known(outcome.bytes),
        digest=outcome.digest or UNSET,
        seconds=UNSET if outcome.seconds is None else outcome.seconds,
    )


def _known(number: int | None) -> int | UnsetType:
    return UNSET if number is None else number


# ── the fleet ────────────────────────────────────────────────────────────────────────────────


def outline(name: str) -> Node:
    """A node of the fleet of which nothing else can be shown."""
    said = shown(NODE_NOT_SHOWN(node=name))
    return Node(
        name=name,
        labels={},
        schedulable=False,
        connected=False,
        pulling=[],
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def fleet_node(node: KnownNode) -> Node:
    """A node of the fleet."""
    disk, said = node.image_disk, shown(node.problem)
    return Node(
        name=node.name,
        labels=dict(node.labels),
        schedulable=node.schedulable,
        connected=node.connected,
        last_seen=milliseconds_if_known(node.last_seen),
        agent_version=node.agent_version or UNSET,
        runtime=node.runtime or UNSET,
        driver=node.driver or UNSET,
        platform=node.platform or UNSET,
        image_disk=UNSET
        if disk is None
        else documents.ImageDisk(free_bytes=disk.free_bytes, total_bytes=disk.total_bytes),
        can_pin=UNSET if node.last_seen is None else CAN_PIN in node.abilities,
        pulling=[familiar(reference) for reference in node.pulling],
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )
