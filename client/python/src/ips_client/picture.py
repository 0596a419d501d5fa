"""What is known of one task while it is waited for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ips_client.decoding import decode
from ips_client.documents import FINAL_NODE_STATES, FINAL_STATUSES, LiveNode, Task
from ips_client.errors import IpsError
from ips_client.events import NODES, RESET
from ips_client.sse import Frame


class NodesAtWork(Mapping[str, LiveNode]):
    """Nodes by name. Each is read when it is looked at: there may be thousands a second."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents

    def __getitem__(self, name: str) -> LiveNode:
        return decode(LiveNode, self._documents[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)


@dataclass(frozen=True)
class Progress:
    """A task as it is now."""

    task: Task
    nodes: Mapping[str, LiveNode] = field(default_factory=lambda: NodesAtWork({}))
    """Nodes at work, by name, as far as live frames have told."""
    trouble: IpsError | None = None
    """Why nothing newer is known: the server is away and will be asked again."""


class Picture:
    """What is known of a task, put together from answers, kept events and live frames."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.nodes: dict[str, dict[str, Any]] = {}

    @property
    def is_over(self) -> bool:
        """Whether the task never changes again."""
        return self.task is not None and self.task.is_over

    def take_task(self, task: Task) -> bool:
        """Note the task as it is; whether anything is new that its stream would have told."""
        before, self.task = self.task, task
        return before is None or _told(before) != _told(task)

    def take_frames(self, frames: Iterable[Frame]) -> bool:
        """Note what frames tell; whether there was anything."""
        newest, has_news = None, False
        for frame in frames:
            if frame.event.startswith("task."):
                newest = frame
            elif frame.event == NODES:
                self._take_nodes(msgspec.json.decode(frame.data)["nodes"])
                has_news = True
            elif frame.event == RESET:
                self.nodes.clear()
        return (newest is not None and self._take_event(newest)) or has_news

    def _take_event(self, frame: Frame) -> bool:
        """Note the task as an event has it, unless more is known: a stream begins with the past."""
        task = decode(Task, msgspec.json.decode(frame.data)["data"])
        if self.task is not None and _place(task) < _place(self.task):
            return False
        self.task = task
        return True

    def _take_nodes(self, nodes: Iterable[dict[str, Any]]) -> None:
        for node in nodes:
            if node["state"] in FINAL_NODE_STATES:
                self.nodes.pop(node["nodeName"], None)
            else:
                self.nodes[node["nodeName"]] = node


def _place(task: Task) -> tuple[int, int]:
    """How far a task has come; this never falls."""
    stage = ("pending", "running").index(task.status) if task.status not in FINAL_STATUSES else 2
    return stage, task.progress.completed_nodes + task.progress.failed_nodes


def _told(task: Task) -> tuple[Any, ...]:
    """What of a task its stream tells at once; an estimate, say, changes by itself."""
    now = task.progress
    nodes = (now.completed_nodes, now.failed_nodes, now.pulling_nodes, now.retrying_nodes)
    return (task.status, now.total_nodes, nodes, now.bytes)
