"""``ips node``: one node, what its runtime has now, and what tasks did there."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Final

from ips_client import requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.nodes import state_of
from ips_client.command.output import facts, show, table
from ips_client.command.pages import all_pages
from ips_client.command.program import report
from ips_client.command.text import size, span, stamp
from ips_client.documents import Node
from ips_client.errors import Unavailable
from ips_client.image_documents import NodeTask, StoredImage

PAST: Final = 10
_DIGEST: Final = 19
"""Characters of a digest that tell it from all others: ``sha256:`` and twelve."""


def node(arguments: Namespace) -> int:
    """Show a node."""
    with connect(arguments) as client:
        known = client.node(arguments.name)
        images, silent = _images(client, arguments.name)
        wanted = None if arguments.all else PAST
        past, tasks = all_pages(
            client,
            NodeTask,
            lambda limit, offset: requests.list_node_tasks(
                arguments.name, limit=limit, offset=offset
            ),
            key="tasks",
            largest=requests.LARGEST_TASK_PAGE,
            wanted=wanted,
        )
    document = {"node": dict(known.document), "history": past["tasks"]}
    if images is not None:
        document["images"] = images["images"]
    lines = [*_facts(known), "", *_image_lines(images), "", *_task_lines(tasks, past["total"])]
    show(arguments.output, document, names=[known.name], lines=lines)
    return codes.COMPLETED if silent is None else report(silent, arguments.name)


def _images(client: Client, name: str) -> tuple[dict[str, Any] | None, Unavailable | None]:
    """What the node has now, or why nobody knows."""
    try:
        listing = all_pages(
            client,
            StoredImage,
            lambda limit, offset: requests.list_node_images(name, limit=limit, offset=offset),
            key="images",
            largest=requests.LARGEST_NODE_PAGE,
        )
    except Unavailable as silent:
        return None, silent
    return {**listing.document, "typed": listing.items}, None


def _facts(known: Node) -> list[str]:
    disk = known.image_disk
    runtime = " ".join(filter(None, (known.runtime, f"({known.driver})" if known.driver else "")))
    return [
        f"{known.name}  {state_of(known)}",
        *facts(
            {
                "why": said(known),
                "last seen": "" if known.last_seen is None else stamp(known.last_seen),
                "runtime": runtime,
                "platform": known.platform or "",
                "agent": known.agent_version or "",
                "image disk": ""
                if disk is None
                else f"{size(disk.free_bytes)} of {size(disk.total_bytes)} free",
                "pulling": list(known.pulling),
                "labels": [f"{key}={value}" for key, value in sorted(known.labels.items())],
            }
        ),
    ]


def _image_lines(images: dict[str, Any] | None) -> list[str]:
    if images is None:
        return ["its images are not known"]
    head = ("IMAGE", "SIZE", "DIGEST", "SINCE", "TASK", "SETS", "PINNED")
    rows = [_image_row(image) for image in images["typed"]]
    return table(head, rows) or ["no images"]


def _image_row(image: StoredImage) -> tuple[str, ...]:
    named = image.tags or image.digests or (image.id,)
    digests = {each.rpartition("@")[2] for each in image.digests}
    return (
        ",".join(named),
        "" if image.size is None else size(image.size),
        next(iter(digests))[:_DIGEST] if len(digests) == 1 else "",
        "" if image.since is None else stamp(image.since),
        image.task or "",
        ",".join(image.sets),
        "pinned" if image.pinned else "",
    )


def _task_lines(tasks: Sequence[NodeTask], total: int) -> list[str]:
    head = ("TASK", "STATE", "ENDED", "TIME", "SPEED", "IMAGES", "REASON", "MESSAGE")
    lines = table(head, [_task_row(task) for task in tasks], status=1)
    if len(tasks) < total:
        lines.append(f"({total - len(tasks)} more: --all)")
    return lines or ["no task was here"]


def _task_row(task: NodeTask) -> tuple[str, ...]:
    images = [image.image for image in task.images]
    more = f" +{len(images) - 1}" if len(images) > 1 else ""
    return (
        task.task_id,
        task.state,
        "" if task.finished_at is None else stamp(task.finished_at),
        "" if task.seconds is None else span(task.seconds),
        "" if task.bytes_per_second is None else f"{size(task.bytes_per_second)}/s",
        images[0] + more if images else "",
        task.reason or "",
        said(task),
    )
