"""A task, its nodes and its failures as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from ips_client.command.messages import said
from ips_client.command.output import Row, Table, facts, table
from ips_client.command.text import age, count, size, span, stamp, transfer
from ips_client.documents import FailedImage, Task, TaskNode


def task_table(tasks: Sequence[Task], *, is_wide: bool = False) -> Table:
    """Tasks, one a line; ``is_wide``: nothing is cut, and there are more columns."""
    rows: list[Row] = [
        (
            task.task_id,
            status_of(task),
            f"{task.progress.completed_nodes}/{task.progress.total_nodes}",
            str(task.progress.failed_nodes),
            age(task.created_at),
            ", ".join(task.images),
        )
        for task in tasks
    ]
    head: Row = ("ID", "STATUS", "NODES", "FAILED", "AGE", "IMAGES")
    if is_wide:
        head = (*head, "PRIORITY", "CREATED", "CREATED-BY", "RETRY-OF", "MESSAGE")
        rows = [(*row, *_more(task)) for row, task in zip(rows, tasks, strict=True)]
    return table(head, rows, status=1, whole=is_wide, none="no tasks")


def _more(task: Task) -> tuple[str, ...]:
    """What ``-o wide`` adds."""
    by, first = task.created_by or "", task.retry_of or ""
    return str(task.priority), stamp(task.created_at), by, first, said(task)


def node_table(nodes: Sequence[TaskNode]) -> Table:
    """Nodes of a task, one line an image."""
    rows = []
    for node in nodes:
        head = (node.node_name, node.state, str(node.batch), str(node.attempt))
        for image in node.images:
            got = "" if image.bytes is None else transfer(image.bytes, image.total_bytes)
            took = "" if image.seconds is None else f"{image.seconds:.1f}s"
            why = image.reason or (node.reason if image is node.images[0] else None) or ""
            state = f"{image.state} ({image.phase})" if image.phase else image.state
            rows.append((*head, image.image, state, got, took, why))
            head = ("", "", "", "")
    columns = (
        "NODE",
        "STATE",
        "BATCH",
        "ATTEMPT",
        "IMAGE",
        "IMAGE-STATE",
        "BYTES",
        "TOOK",
        "REASON",
    )
    return table(columns, rows, status=1, none="no nodes")


def failure_table(failures: Sequence[FailedImage], *, none: str = "") -> Table:
    """Which nodes failed, and why."""
    rows = [
        (each.node_name, each.image or "-", each.reason, " ".join(said(each).split()))
        for each in failures
    ]
    return table(("NODE", "IMAGE", "REASON", "MESSAGE"), rows, whole=True, none=none)


def reason_table(failures: Sequence[FailedImage]) -> Table:
    """How many failures each reason has, the most frequent first, with one example."""
    groups: dict[str, list[FailedImage]] = {}
    for each in failures:
        groups.setdefault(each.reason, []).append(each)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    rows = [
        (
            reason,
            f"{len({each.node_name for each in group}):,}",
            group[0].node_name,
            group[0].image or "-",
            " ".join(said(group[0]).split()),
        )
        for reason, group in ordered
    ]
    return table(("REASON", "NODES", "EXAMPLE", "IMAGE", "MESSAGE"), rows, whole=True)


def status_of(task: Task) -> str:
    """Its status in one word, as scripts want it; a running one that is held back is ``paused``."""
    return "paused" if task.paused and task.status == "running" else task.status


def task_lines(task: Task, *, every_failure: bool = False) -> list[str]:
    """A task for people; of its failures one for each reason, or all that came."""
    now = task.progress
    selector = [f"{key}={value}" for key, value in (task.node_selector or {}).items()]
    selector += [
        f"{each.key} {each.operator} {','.join(each.values)}".rstrip()
        for each in task.match_expressions
    ]
    lines = [
        f"{task.task_id}  {status_of(task)}",
        *facts(
            {
                "message": said(task),
                "nodes": _nodes_in_words(task),
                "batch": f"{now.current_batch} of {now.total_batches}" if now.total_batches else "",
                "bytes": _bytes_in_words(task),
                "images": task.images,
                "selector": ", ".join(selector) or "all nodes",
                "priority": str(task.priority),
                "batch size": f"{task.batch_size:,}",
                "rollout": task.rollout or "",
                "image pull policy": task.image_pull_policy or "",
                "pull timeout": span(task.pull_timeout_seconds or 0),
                "max failed nodes": ""
                if task.max_failed_nodes is None
                else str(task.max_failed_nodes),
                "retries": _retries_in_words(task),
                "webhook": task.webhook_url or "",
                "retry of": task.retry_of or "",
                "retried as": task.retries,
                "created": stamp(task.created_at),
                "created by": task.created_by or "",
                "started": stamp(task.started_at) if task.started_at else "",
                "finished": _end_in_words(task),
            }
        ),
    ]
    if task.failed_node_details:
        shown = failure_table if every_failure else reason_table
        lines += ["", *shown(task.failed_node_details)]
    more = task.failed_node_details_total - len(task.failed_node_details)
    if more > 0 and every_failure:
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


def summary(task: Task) -> str:
    """What became of a task, in one line."""
    now = task.progress
    took = ""
    if task.finished_at is not None and task.started_at is not None:
        took = f" in {span((task.finished_at - task.started_at).total_seconds())}"
    what = count(len(task.images), "image")
    done = f"{now.completed_nodes:,} of {count(now.total_nodes, 'node')}"
    got = f", {size(now.bytes)}" if now.bytes else ""
    why = f": {said(task)}" if task.message else ""
    return f"{task.task_id} {task.status}{took}: {what} on {done}{got}{why}"
