"""``ips ls``, ``show``, ``cancel`` and ``retry``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
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
    if arguments.watch:
        from ips_client.command.watch import watch  # noqa: PLC0415 -- most commands do not

        return watch(arguments, lambda: _ls(arguments), live=False)
    return _ls(arguments)


def _ls(arguments: Namespace) -> int:
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
        lines=task_table(tasks, is_wide=arguments.output in {"wide", "csv"}),
    )
    return codes.COMPLETED


def _query(arguments: Namespace) -> requests.TaskQuery:
    return requests.TaskQuery(
        status=",".join(arguments.status),
        image=arguments.image,
        q=arguments.search,
        node=arguments.node,
        created_by=arguments.created_by,
        set=arguments.set,
        since=_ago(arguments.since),
        until=_ago(arguments.until),
        sort=arguments.sort,
    )


def _ago(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(timezone.utc) - timedelta(seconds=seconds)


def show(arguments: Namespace) -> int:
    """Show a task or its nodes."""
    if arguments.watch:
        from ips_client.command.watch import watch  # noqa: PLC0415 -- see ls

        with connect(arguments) as client:
            arguments.id = whole_id(client, arguments.id)
        return watch(arguments, lambda: _show(arguments), arguments.id, live=False)
    return _show(arguments)


def _show(arguments: Namespace) -> int:
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
        failures = [failure for node in nodes for failure in node.failures()]
        lines = failure_table(failures, none="no node failed")
    else:
        lines = node_table(nodes)
    names = [node.node_name for node in nodes]
    show_data(arguments.output, document, names=names, lines=lines)
    return codes.COMPLETED


def cancel(arguments: Namespace) -> int:
    """Cancel tasks, one after the other; the exit code is the worst of all."""
    with connect(arguments) as client:
        ids = [whole_id(client, each) for each in arguments.ids]
        found = [_cancel(client, task_id) for task_id in ids]
    documents = [answer for answer, _ in found if answer is not None]
    show_data(
        arguments.output,
        documents[0] if len(arguments.ids) == 1 and documents else {"tasks": documents},
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
    """Make a new task of each finished one; the exit code is the worst of all."""
    from ips_client.command.waiting import created  # noqa: PLC0415 -- most commands do not wait

    with connect(arguments) as client:
        ids = [whole_id(client, each) for each in arguments.ids]
        if not (arguments.again or arguments.all):
            _refuse_repeated(client, ids)
        found = [_retry(client, task_id, all_nodes=arguments.all) for task_id in ids]
    tasks = [task for task, _ in found if task is not None]
    code = codes.worst(code for _, code in found)
    return codes.worst([code, created(arguments, tasks)]) if tasks else code


def _refuse_repeated(client: Client, ids: Sequence[str]) -> None:
    """Raise ValueError where somebody has repeated one of the tasks: two would do the same."""
    for task_id in ids:
        if retries := client.get(task_id).retries:
            done = " ".join(retries)
            raise ValueError(f"{task_id} was repeated by {done} already; --again does it once more")


def _retry(client: Client, task_id: str, *, all_nodes: bool) -> tuple[Task | None, int]:
    try:
        return client.retry(task_id, nodes="all" if all_nodes else "failed"), codes.COMPLETED
    except IpsError as error:
        return None, report(error, task_id)
