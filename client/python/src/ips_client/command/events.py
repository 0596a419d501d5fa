"""``ips events``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.ids import whole_id
from ips_client.command.output import JSONPATH, as_json, as_yaml, show, write, write_data
from ips_client.command.program import say
from ips_client.command.text import clock, count
from ips_client.documents import Event, Reset, Task, TaskNode


def events(arguments: Namespace) -> int:
    """Follow events."""
    with connect(arguments) as client:
        task_id = None if arguments.id is None else whole_id(client, arguments.id)
        for event in client.events(task_id, after=arguments.after, sets=arguments.sets):
            if isinstance(event, Event):
                _show(event, arguments.output)
            elif isinstance(event, Reset):
                say("ips: events may be missing here; what is kept goes on")
    return codes.COMPLETED


def _show(event: Event, output: str) -> None:
    match output:
        case "json":
            write_data(as_json(event.document, indent=None))
        case "yaml":
            write_data(f"---\n{as_yaml(event.document)}")
        case "name":
            write(event.subject)
        case _ if output.startswith(JSONPATH):
            show(output, dict(event.document), names=(), lines=())
        case _:
            when = clock(event.time)
            write(f"{when}  {event.type:<15} {event.subject}{details(event)}".rstrip())


def details(event: Event) -> str:
    """What is said of an event behind its type and subject."""
    if event.task is not None:
        return f"  {_of_task(event.task)}"
    if event.node is not None:
        return f"  {_of_node(event.node)}"
    return _of_set(event.document.get("data"))


def _of_task(task: Task) -> str:
    now = task.progress
    if task.status == "pending":
        return count(len(task.images), "image")
    failed = f", {now.failed_nodes:,} failed" if now.failed_nodes else ""
    return f"{now.completed_nodes:,}/{count(now.total_nodes, 'node')}{failed}"


def _of_set(data: Any) -> str:
    """Of a set: how many nodes are warm; of a node of one, its subject says all."""
    nodes = data.get("nodes") if isinstance(data, dict) else None
    return f"  {nodes['warm']:,}/{count(nodes['total'], 'node')} warm" if nodes else ""


def _of_node(node: TaskNode) -> str:
    why = f" {node.reason}" if node.reason else ""
    return f"batch {node.batch}, attempt {node.attempt}{why}"
