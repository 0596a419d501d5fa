"""``ips purge``: take images off nodes, wait for the end, and say what was kept and why."""

from __future__ import annotations

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import show, table
from ips_client.command.program import say
from ips_client.command.text import count, size
from ips_client.purge_documents import Purge, PurgeNode
from ips_client.purge_requests import PurgeOptions
from ips_client.selector import parse_selector

_ID: Final = re.compile(r"purge-[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


def purge(arguments: Namespace) -> int:
    """Begin with a purge, or look at one; wait for its end."""
    known = arguments.images[0] if _ID.fullmatch(arguments.images[0]) else None
    options = {} if known else _options(arguments)
    with connect(arguments) as client:
        purge_id = known or client.purge(arguments.images, **options).purge_id
        return finished(client, arguments, purge_id)


def _options(arguments: Namespace) -> PurgeOptions:
    selection = parse_selector(",".join(arguments.selector))
    names = [name for each in arguments.nodes for name in each.split(",") if name]
    if not (selection.labels or selection.expressions or names or arguments.all_nodes):
        raise ValueError("say which nodes: -l SELECTOR, --node NAME or --all-nodes")
    options: PurgeOptions = {
        "node_selector": selection.labels,
        "match_expressions": list(selection.expressions),
        "dry_run": arguments.dry_run,
    }
    return {**options, "node_names": names} if names else options


def finished(client: Client, arguments: Namespace, purge_id: str) -> int:
    """Wait for the end of a purge and show it; 1 where nothing is known of some nodes."""
    told: set[str] = set()
    found = client.wait_purge(purge_id, on_progress=lambda seen: _tell(seen, told))
    nodes = list(client.purge_nodes(purge_id))
    rows = list(_rows(nodes))
    head = ("NODE", "STATE", "IMAGE", "REASON", "WHY")
    every = table(head, rows, status=1, none="no nodes")
    short = [*_summary(found), *(f"  {line}" for line in _grouped(rows))]
    lines = every if arguments.output in {"csv", "wide"} else short
    document: dict[str, Any] = {**found.document, "nodeList": [each.document for each in nodes]}
    show(arguments.output, document, names=[purge_id], lines=lines)
    is_whole = found.state == "finished" and not found.nodes.unanswered
    return codes.COMPLETED if is_whole else codes.FAILED


def _tell(found: Purge, told: set[str]) -> None:
    nodes = found.nodes
    line = f"{found.purge_id}: {nodes.answered + nodes.unanswered:,} of {nodes.total:,} nodes"
    if not found.is_over and line not in told:
        told.add(line)
        say(line)


def _summary(found: Purge) -> list[str]:
    counts, nodes = found.image_counts, found.nodes
    verb = "would be removed" if found.dry_run else "removed"
    lines = [
        (
            f"{found.purge_id} {found.state}: {counts.removed:,} {verb} ({size(found.bytes)}), "
            f"{counts.kept:,} kept, {counts.absent:,} not there, on {count(nodes.total, 'node')}"
        )
    ]
    if found.message:
        lines.append(said(found))
    return lines


def _rows(nodes: Sequence[PurgeNode]) -> Iterator[tuple[str, ...]]:
    """One line for each image of each node, and one for a node that did not answer."""
    for node in nodes:
        if node.message:
            yield node.node_name, "unknown", "", "", said(node)
        for image in node.images:
            yield node.node_name, image.state, image.image, image.reason or "", said(image)


def _grouped(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """What stays, once for each reason, with its nodes; what is gone or was not there not."""
    several: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], str] = {}
    for node, state, image, reason, why in rows:
        if state == "unknown":
            yield f"{node}: {why}"
        elif state == "kept":
            several[image, reason, why] += 1
            first.setdefault((image, reason, why), node)
    for kind, times in several.most_common():
        image, reason, why = kind
        where = first[kind] if times == 1 else f"{count(times, 'node')} ({first[kind]} …)"
        yield f"{image} kept on {where}: {reason}: {why}"
