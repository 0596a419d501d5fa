"""``ips ls``, ``show``, ``cancel`` and ``retry``."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone
from typing import Any

from ips_client import requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.ids import whole_id
from ips_client.command.output import show as show_data
from ips_client.command.pages import all_pages
from ips_client.command.program import report
from ips_client.command.task_text import failure_table, node_table, task_lines, task_table
from ips_client.documents import Task, TaskNode
from ips_client.errors import IpsError


def ls(arguments: Namespace) -> int:
    """List tasks."""
    wanted = None if arguments.all else arguments.limit
    if wanted is not None and wanted < 1:
        raise ValueError("--limit must be 1 or more")
    query = _query(arguments)
    with connect(arguments) as client:
        document, tasks = all_pages(
            client,
            Task,
            lambda limit, offset: requests.list_tasks(limit=limit, offset=offset, query=query),
            key="tasks",
            largest=requests.LARGEST_TASK_PAGE,
            wanted=wanted,
        )
    show_data(
        arguments.output,
        document,
        names=[task.task_id for task in tasks],
        lines=task_table(tasks) or ["no tasks"],
    )
    return codes.COMPLETED


def _query(arguments: Namespace) -> requests.TaskQuery:
    return requests.TaskQuery(
        status=",".join(arguments.status),
        image=arguments.image,
        q=arguments.search,
        node=arguments.node,
        created_by=arguments.created_by,
        since=_ago(arguments.since),
        until=_ago(arguments.until),
        sort=arguments.sort,
    )


def _ago(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(timezone.utc) - timedelta(seconds=seconds)


def show(arguments: Namespace) -> int:
    """Show a task or its nodes."""
    with connect(arguments) as client:
        arguments.id = whole_id(client, arguments.id)
        if arguments.nodes or arguments.failed:
            return _show_nodes(client, arguments)
        task = client.get(arguments.id)
    show_data(
        arguments.output,
        task.document,
        names=[task.task_id],
        lines=task_lines(task, every_failure=arguments.all),
    )
    return codes.COMPLETED


def _show_nodes(client: Client, arguments: Namespace) -> int:
    states = ["failed"] if arguments.failed else []
    document, nodes = all_pages(
        client,
        TaskNode,
        lambda limit, offset: requests.list_task_nodes(
            arguments.id, states, limit=limit, offset=offset
        ),
        key="nodes",
        largest=requests.LARGEST_NODE_PAGE,
    )
    if arguments.failed:
        lines = failure_table([failure for node in nodes for failure in node.failures()])
    else:
        lines = node_table(nodes)
    names = [node.node_name for node in nodes]
    none = ["no node failed" if arguments.failed else "no nodes"]
    show_data(arguments.output, document, names=names, lines=lines or none)
    return codes.COMPLETED


def cancel(arguments: Namespace) -> int:
    """Cancel tasks, one after the other; the exit code is the worst of all."""
    with connect(arguments) as client:
        ids = [whole_id(client, each) for each in arguments.ids]
        found = [_cancel(client, task_id) for task_id in ids]
    documents = [answer for answer, _ in found if answer is not None]
    show_data(
        arguments.output,
        documents[0] if len(arguments.ids) == 1 and documents else documents,
        names=[each["taskId"] for each in documents],
        lines=[f"{each['taskId']} {each['status']}" for each in documents],
    )
    return codes.worst(code for _, code in found)


def _cancel(client: Client, task_id: str) -> tuple[dict[str, Any] | None, int]:
    try:
        return dict(client.cancel(task_id).document), codes.COMPLETED
    except IpsError as error:
        return None, report(error, task_id)


def retry(arguments: Namespace) -> int:
    """Make a new task of a finished one."""
    from ips_client.command.waiting import created  # noqa: PLC0415 -- most commands do not wait

    with connect(arguments) as client:
        task_id = whole_id(client, arguments.id)
        task = client.retry(task_id, nodes="all" if arguments.all else "failed")
    return created(arguments, [task])
