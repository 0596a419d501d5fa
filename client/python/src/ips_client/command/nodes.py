"""``ips nodes``."""

from __future__ import annotations

from argparse import Namespace

from ips_client import requests
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import Row, show, table
from ips_client.command.pages import all_pages
from ips_client.command.text import size, stamp
from ips_client.documents import Node


def nodes(arguments: Namespace) -> int:
    """List nodes."""
    if arguments.watch:
        from ips_client.command.watch import watch  # noqa: PLC0415 -- most commands do not

        return watch(arguments, lambda: _nodes(arguments), live=True)
    return _nodes(arguments)


def _nodes(arguments: Namespace) -> int:
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
    head: Row = ("NAME", "STATE", "RUNTIME", "DRIVER", "FREE", "PULLING", "WHY", "LABELS")
    is_wide = arguments.output in {"wide", "csv"}
    if is_wide:
        head = (*head, "AGENT", "PLATFORM", "LAST-SEEN")
        rows = [(*row, *_more(node)) for row, node in zip(rows, known, strict=True)]
    lines = table(head, rows, whole=is_wide, none="no nodes")
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


def _more(node: Node) -> tuple[str, ...]:
    """What ``-o wide`` adds."""
    seen = "" if node.last_seen is None else stamp(node.last_seen)
    return node.agent_version or "", node.platform or "", seen


def state_of(node: Node) -> str:
    """``ready``, ``offline`` or ``unschedulable``: one word, as scripts want it."""
    if node.message or not node.schedulable:
        return "unschedulable"
    return "ready" if node.connected else "offline"
