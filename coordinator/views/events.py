"""CloudEvents 1.0 about tasks and their nodes, in structured JSON."""

from __future__ import annotations

from coordinator.documents import NodeEvent, Task, TaskEvent, TaskNode
from coordinator.views.times import milliseconds


def task_event(event_type: str, *, event_id: str, source: str, time: int, data: Task) -> TaskEvent:
    """``task.…``: ``data`` as GET returns it, for ``task.progress`` a summary."""
    return TaskEvent(
        id=event_id,
        source=source,
        type=event_type,
        subject=data.task_id,
        time=milliseconds(time),
        data=data,
    )


def node_event(
    event_type: str, *, event_id: str, source: str, time: int, task_id: str, data: TaskNode
) -> NodeEvent:
    """``node.…``: ``data`` as the task's ``/nodes`` returns it."""
    return NodeEvent(
        id=event_id,
        source=source,
        type=event_type,
        subject=f"{task_id}/{data.node_name}",
        time=milliseconds(time),
        data=data,
    )
