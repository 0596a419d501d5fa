"""``ips ls``, ``show``, ``cancel`` and ``retry``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from ips_client import requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.output import facts, table
from ips_client.command.output import show as show_data
from ips_client.command.pages import all_pages
from ips_client.command.program import report
from ips_client.command.text import age, count, size, span, stamp, transfer
from ips_client.documents import FailedImage, Task, TaskNode
from ips_client.errors import IpsError


def ls(arguments: Namespace) -> int:
    """List tasks."""
    wanted = None if arguments.all else arguments.limit
    if wanted is not None and wanted < 1:
        raise ValueError("--limit must be 1 or more")
    with connect(arguments) as client:
        document, tasks = all_pages(
            client,
            Task,
            lambda limit, offset: requests.list_tasks(arguments.status, limit=limit, offset=offset),
            key="tasks",
            largest=requests.LARGEST_TASK_PAGE,
            wanted=wanted,
        )
    show_data(
        arguments.output,
        document,
        names=[task.task_id for task in tasks],
        lines=_task_table(tasks) or ["no tasks"],
    )
    return codes.COMPLETED


def _task_table(tasks: Sequence[Task]) -> list[str]:
    rows = [
        (
            task.task_id,
            task.status,
            f"{task.progress.completed_nodes}/{task.progress.total_nodes}",
            str(task.progress.failed_nodes),
            age(task.created_at),
            ", ".join(task.images),
        )
        for task in tasks
    ]
    return table(("ID", "STATUS", "NODES", "FAILED", "AGE", "IMAGES"), rows, status=1)


def show(arguments: Namespace) -> int:
    """Show a task or its nodes."""
    with connect(arguments) as client:
        if arguments.nodes or arguments.failed:
            return _show_nodes(client, arguments)
        task = client.get(arguments.id)
    show_data(arguments.output, task.document, names=[task.task_id], lines=task_lines(task))
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
        lines = _node_table(nodes)
    names = [node.node_name for node in nodes]
    none = ["no node failed" if arguments.failed else "no nodes"]
    show_data(arguments.output, document, names=names, lines=lines or none)
    return codes.COMPLETED


def _node_table(nodes: Sequence[TaskNode]) -> list[str]:
    rows = []
    for node in nodes:
        head = (node.node_name, node.state, str(node.batch), str(node.attempt))
        for image in node.images:
            got = "" if image.bytes is None else transfer(image.bytes, image.total_bytes)
            took = "" if image.seconds is None else f"{image.seconds:.1f}s"
            why = image.reason or (node.reason if image is node.images[0] else None) or ""
            rows.append((*head, image.image, image.state, got, took, why))
            head = ("", "", "", "")
    columns = (
        "NODE",
        "STATE",
        "BATCH",
        "ATTEMPT",
        "IMAGE",
        "IMAGE STATE",
        "BYTES",
        "TOOK",
        "REASON",
    )
    return table(columns, rows, status=1)


def failure_table(failures: Sequence[FailedImage]) -> list[str]:
    """Which nodes failed, and why."""
    rows = [
        (each.node_name, each.image or "-", each.reason, " ".join(each.message.split()))
        for each in failures
    ]
    return table(("NODE", "IMAGE", "REASON", "MESSAGE"), rows, whole=True)


def task_lines(task: Task) -> list[str]:
    """A task for people."""
    now = task.progress
    selector = [f"{key}={value}" for key, value in (task.node_selector or {}).items()]
    selector += [
        f"{each.key} {each.operator} {','.join(each.values)}".rstrip()
        for each in task.match_expressions
    ]
    lines = [
        f"{task.task_id}  {task.status}",
        *facts(
            {
                "message": task.message or "",
                "nodes": _nodes_in_words(task),
                "batch": f"{now.current_batch} of {now.total_batches}" if now.total_batches else "",
                "bytes": _bytes_in_words(task),
                "images": task.images,
                "selector": ", ".join(selector) or "all nodes",
                "priority": str(task.priority),
                "retries": _retries_in_words(task),
                "webhook": task.webhook_url or "",
                "retry of": task.retry_of or "",
                "created": stamp(task.created_at),
                "started": stamp(task.started_at) if task.started_at else "",
                "finished": _end_in_words(task),
            }
        ),
    ]
    if task.failed_node_details:
        lines += ["", *failure_table(task.failed_node_details)]
    more = task.failed_node_details_total - len(task.failed_node_details)
    if more > 0:
        lines.append(f"… and {more:,} more: ips show {task.task_id} --failed")
    return lines


def _nodes_in_words(task: Task) -> str:
    now = task.progress
    if not now.total_nodes:
        return "not chosen yet" if task.status == "pending" else "none"
    parts = [f"{now.completed_nodes:,} of {now.total_nodes:,} done ({now.percentage:g} %)"]
    for number, word in (
        (now.failed_nodes, "failed"),
        (now.pulling_nodes, "pulling"),
        (now.retrying_nodes, "wait for a retry"),
        (now.waiting_nodes, "waiting"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    return ", ".join(parts)


def _bytes_in_words(task: Task) -> str:
    now = task.progress
    if now.bytes is None:
        return ""
    speed = f", {size(now.bytes_per_second)}/s" if now.bytes_per_second else ""
    return transfer(now.bytes, now.total_bytes) + speed


def _retries_in_words(task: Task) -> str:
    if not task.max_retries:
        return "none"
    delay = f", {span(task.retry_delay)} apart" if task.retry_delay else ""
    used = f", {task.retry_count} used" if task.retry_count else ""
    return f"up to {task.max_retries}, {task.retry_strategy}{delay}{used}"


def _end_in_words(task: Task) -> str:
    if task.finished_at is None:
        return ""
    took = task.finished_at - (task.started_at or task.created_at)
    return f"{stamp(task.finished_at)}, after {span(took.total_seconds())}"


def cancel(arguments: Namespace) -> int:
    """Cancel tasks, one after the other; the exit code is the worst of all."""
    with connect(arguments) as client:
        found = [_cancel(client, task_id) for task_id in arguments.ids]
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
        return None, report(error, f"{task_id}: ")


def retry(arguments: Namespace) -> int:
    """Make a new task of a finished one."""
    from ips_client.command.waiting import created  # noqa: PLC0415 -- most commands do not wait

    with connect(arguments) as client:
        task = client.retry(arguments.id, nodes="all" if arguments.all else "failed")
    return created(arguments, [task])


def summary(task: Task) -> str:
    """What became of a task, in one line."""
    now = task.progress
    took = ""
    if task.finished_at is not None and task.started_at is not None:
        took = f" in {span((task.finished_at - task.started_at).total_seconds())}"
    what = count(len(task.images), "image")
    done = f"{now.completed_nodes:,} of {count(now.total_nodes, 'node')}"
    got = f", {size(now.bytes)}" if now.bytes else ""
    why = f": {task.message}" if task.message else ""
    return f"{task.task_id} {task.status}{took}: {what} on {done}{got}{why}"
