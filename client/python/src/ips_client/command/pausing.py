"""``ips pause`` and ``ips resume``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.ids import whole_id
from ips_client.command.output import show
from ips_client.command.program import report
from ips_client.documents import Task
from ips_client.errors import IpsError


def pause(arguments: Namespace) -> int:
    """Pause tasks, one after the other; the exit code is the worst of all."""
    return _each(arguments, Client.pause)


def resume(arguments: Namespace) -> int:
    """Let them go on."""
    return _each(arguments, Client.resume)


def _each(arguments: Namespace, change: Callable[[Client, str], Task]) -> int:
    with connect(arguments) as client:
        ids = [whole_id(client, each) for each in arguments.ids]
        found = [_changed(client, task_id, change) for task_id in ids]
    tasks = [task for task, _ in found if task is not None]
    documents: list[Any] = [dict(task.document) for task in tasks]
    show(
        arguments.output,
        documents[0] if len(arguments.ids) == 1 and documents else {"tasks": documents},
        names=[task.task_id for task in tasks],
        lines=[f"{task.task_id} {'paused' if task.paused else task.status}" for task in tasks],
    )
    return codes.worst(code for _, code in found)


def _changed(
    client: Client, task_id: str, change: Callable[[Client, str], Task]
) -> tuple[Task | None, int]:
    try:
        return change(client, task_id), codes.COMPLETED
    except IpsError as error:
        return None, report(error, task_id)
