"""``ips nodes``."""

from __future__ import annotations

from argparse import Namespace

from ips_client import requests
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import show, table
from ips_client.command.pages import all_pages
from ips_client.command.text import size
from ips_client.documents import Node


def nodes(arguments: Namespace) -> int:
    """List nodes."""
    with connect(arguments) as client:
        document, known = all_pages(
            client,
            Node,
            lambda limit, offset: requests.list_nodes(
                arguments.selector, limit=limit, offset=offset
            ),
            key="nodes",
            largest=requests.LARGEST_NODE_PAGE,
        )
    rows = [_row(node) for node in known]
    head = ("NAME", "STATE", "RUNTIME", "DRIVER", "FREE", "PULLING", "WHY", "LABELS")
    lines = table(head, rows) or ["no nodes"]
    show(arguments.output, document, names=[node.name for node in known], lines=lines)
    return codes.COMPLETED


def _row(node: Node) -> tuple[str, ...]:
    disk = node.image_disk
    return (
        node.name,
        state_of(node),
        node.runtime or "",
        node.driver or "",
        "" if disk is None else f"{size(disk.free_bytes)} of {size(disk.total_bytes)}",
        ", ".join(node.pulling),
        said(node),
        ",".join(f"{key}={value}" for key, value in sorted(node.labels.items())),
    )


def state_of(node: Node) -> str:
    """``ready``, ``offline`` or ``unschedulable``: one word, as scripts want it."""
    if node.message or not node.schedulable:
        return "unschedulable"
    return "ready" if node.connected else "offline"
