"""``ips image`` and ``ips images``: where an image is, and which there are."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Final

from ips_client import requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import Table, facts, show, table
from ips_client.command.pages import Listing, all_pages
from ips_client.command.text import count, size, span, stamp
from ips_client.image_documents import ImagePlace, ImageTask, KnownImage

PAST: Final = 10
SHOWN: Final = 20
"""Nodes that are listed where not all are wanted."""
_LACKING: Final = ("pulling", "failed", "absent", "unknown")


def image(arguments: Namespace) -> int:
    """Show where an image is."""
    is_whole = arguments.nodes or arguments.state or arguments.output not in {"table", "wide"}
    states = arguments.state or (() if is_whole else _LACKING)
    with connect(arguments) as client:
        found = _places(client, arguments.image, states, None if is_whole else SHOWN)
        past, tasks = all_pages(
            client,
            ImageTask,
            lambda limit, offset: requests.list_image_tasks(
                arguments.image, limit=limit, offset=offset
            ),
            key="tasks",
            largest=requests.LARGEST_TASK_PAGE,
            wanted=PAST,
        )
    nodes = _places_table(found.items)
    lines = [*_facts(found.document), *_place_lines(found, nodes), *_task_lines(tasks)]
    show(
        arguments.output,
        {**found.document, "history": past["tasks"]},
        names=[place.node_name for place in found.items],
        lines=nodes if arguments.output == "csv" else lines,
    )
    return codes.COMPLETED


def _places(client: Client, name: str, states: Sequence[str], wanted: int | None) -> Listing:
    return all_pages(
        client,
        ImagePlace,
        lambda limit, offset: requests.list_image_nodes(name, states, limit=limit, offset=offset),
        key="nodes",
        largest=requests.LARGEST_NODE_PAGE,
        wanted=wanted,
    )


def _facts(document: dict[str, Any]) -> list[str]:
    states, digests = document["states"], document["digests"]
    return [
        f"{document['image']}  {document['reference']}",
        *facts(
            {
                "nodes": ", ".join(f"{n:,} {state}" for state, n in states.items() if n) or "none",
                "digests": [f"{each}  {count(n, 'node')}" for each, n in digests.items()],
            }
        ),
    ]


def _places_table(places: Sequence[ImagePlace]) -> Table:
    head = ("NODE", "STATE", "AS-OF", "DIGEST", "TASK", "SETS", "REASON", "MESSAGE")
    return table(head, [_place_row(place) for place in places], status=1)


def _place_lines(found: Listing, nodes: Table) -> list[str]:
    more = found.document["total"] - len(found.items)
    rest = [f"({more:,} more: --nodes)"] if more > 0 else []
    return ["", *nodes, *rest] if nodes else []


def _place_row(place: ImagePlace) -> tuple[str, ...]:
    return (
        place.node_name,
        place.state,
        stamp(place.at) if place.at is not None else "" if place.state == "unknown" else "now",
        place.digest or "",
        place.task or "",
        ",".join(place.sets),
        place.reason or "",
        said(place),
    )


def _task_lines(tasks: Sequence[ImageTask]) -> list[str]:
    head = ("TASK", "STATUS", "CREATED", "NODES", "PULLED", "PRESENT", "FAILED", "MEAN", "SPEED")
    lines = table((*head, "REASONS"), [_task_row(task) for task in tasks], status=1)
    return ["", *(lines or ["no task has it"])]


def _task_row(task: ImageTask) -> tuple[str, ...]:
    counts = (task.pulled_nodes, task.present_nodes, task.failed_nodes)
    reasons = sorted((task.reasons or {}).items(), key=lambda each: -each[1])
    return (
        task.task_id,
        task.status,
        stamp(task.created_at),
        str(task.total_nodes),
        *("" if each is None else str(each) for each in counts),
        "" if task.seconds is None else span(task.seconds),
        "" if task.bytes_per_second is None else f"{size(task.bytes_per_second)}/s",
        ", ".join(f"{n} {reason}" for reason, n in reasons),
    )


def images(arguments: Namespace) -> int:
    """List the images that are known."""
    with connect(arguments) as client:
        document, known = all_pages(
            client,
            KnownImage,
            lambda limit, offset: requests.list_images(arguments.text, limit=limit, offset=offset),
            key="images",
            largest=requests.LARGEST_NODE_PAGE,
        )
    head = ("IMAGE", "TASKS", "LAST-TASK", "SETS", "WARM")
    rows = [_known_row(each) for each in known]
    lines = table(head, rows, whole=arguments.output == "wide", none="no images")
    show(arguments.output, document, names=[each.image for each in known], lines=lines)
    return codes.COMPLETED


def _known_row(known: KnownImage) -> tuple[str, ...]:
    return (
        known.image,
        str(known.tasks),
        "" if known.last_task_at is None else stamp(known.last_task_at),
        str(known.sets),
        f"{known.warm_nodes}/{known.wanted_nodes}" if known.sets else "",
    )
