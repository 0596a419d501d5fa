"""What is drawn while tasks are waited for: lines of text, from what is known and a width.

Nothing here writes. Rows are fitted to the width by giving the bar what the words leave, and by
dropping words from the right when even the smallest bar does not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final

from ips_client.command.output import paint
from ips_client.command.text import cut, size, span, transfer
from ips_client.documents import LiveNode, Task
from ips_client.watching import Progress

SMALLEST_BAR: Final = 6
LARGEST_BAR: Final = 40
NODE_ROWS: Final = 8
_SHORT_ID: Final = 8
_WIDE: Final = 70
_NAME_PART: Final = 0.3


@dataclass
class Board:
    """The tasks that are waited for, in the order in which they were named."""

    ids: Sequence[str]
    unicode: bool = True
    progress: dict[str, Progress] = field(default_factory=dict)
    changes: int = 0
    """Grows with everything that is noted."""

    def note(self, progress: Progress) -> None:
        """A task has moved."""
        self.progress[progress.task.task_id] = progress
        self.changes += 1

    def rows(self, width: int, height: int) -> list[str]:
        """The picture now, no wider and no higher."""
        if len(self.ids) == 1:
            rows = self._one(self.ids[0], width, height)
        else:
            rows = [self._brief(task_id, width) for task_id in self._by_interest()]
        if len(rows) > height:
            rows[height - 1 :] = [cut(f"… and {len(rows) - height + 1} more", width)]
        return rows

    def _by_interest(self) -> list[str]:
        """What runs first, then what waits, then what is over."""
        rank = {"running": 0, "pending": 1}
        seen = self.progress
        return sorted(
            self.ids, key=lambda each: rank.get(seen[each].task.status, 2) if each in seen else 1
        )

    # ── several tasks: a row each ──

    def _brief(self, task_id: str, width: int) -> str:
        label = task_id if width >= _WIDE else f"…{task_id[-_SHORT_ID:]}"
        progress = self.progress.get(task_id)
        if progress is None:
            return cut(f"{label} waiting for an answer", width)
        task = progress.task
        words = [task.status if task.status != "running" else "", *_node_words(task)]
        if progress.trouble is not None:
            words.insert(0, "server away")
        return self._row(label, _node_part(task), words, width)

    # ── one task: all that is known ──

    def _one(self, task_id: str, width: int, height: int) -> list[str]:
        progress = self.progress.get(task_id)
        if progress is None:
            return [cut(f"{task_id} waiting for an answer", width)]
        task, now = progress.task, progress.task.progress
        rows = [cut(_headline(task), width)]
        if progress.trouble is not None:
            rows.append(cut(f"{progress.trouble}; trying again", width))
        if task.message and not task.is_over:
            rows.append(cut(task.message, width))
        if now.total_nodes:
            rows.append(self._row("nodes", _node_part(task), _node_words(task), width))
        if now.bytes is not None:
            part = now.bytes / now.total_bytes if now.total_bytes else 0.0
            rows.append(self._row("bytes", part, _byte_words(task), width))
        room = min(NODE_ROWS, height - len(rows) - 1)
        return [*rows, *self._nodes(list(progress.nodes.values()), room, width)]

    def _nodes(self, nodes: Sequence[LiveNode], room: int, width: int) -> list[str]:
        if room < 1:
            return []
        names = int(width * _NAME_PART)
        label = min(names, max((len(node.node_name) for node in nodes), default=0))
        rows = [self._node(node, label, width) for node in nodes[:room]]
        if len(nodes) > room:
            rows.append(cut(f"  … and {len(nodes) - room} more nodes at work", width))
        return rows

    def _node(self, node: LiveNode, label: int, width: int) -> str:
        known = [image for image in node.images if image.total_bytes]
        total = sum(image.total_bytes or 0 for image in known)
        done = sum(image.bytes or 0 for image in known)
        speed = sum(image.bytes_per_second or 0 for image in node.images)
        current = next((each.image for each in node.images if each.state == "pulling"), "")
        words = [node.state if node.state != "pulling" else ""]
        if total:
            words += [transfer(done, total), f"{size(speed)}/s" if speed else ""]
        words += [current.rpartition("/")[2], node.reason or ""]
        name = f"  {cut(node.node_name, label):<{label}}"
        return self._row(name, done / total if total else 0.0, words, width)

    # ── a row ──

    def _row(self, label: str, part: float, words: Sequence[str], width: int) -> str:
        shown = [word for word in words if word]
        while shown and width - _length(label, shown) < SMALLEST_BAR:
            shown.pop()
        room = min(LARGEST_BAR, width - _length(label, shown))
        if room < SMALLEST_BAR:
            return cut(" ".join([label, *shown]), width)
        return " ".join([label, self._bar(part, room), "  ".join(shown)]).rstrip()

    def _bar(self, part: float, width: int) -> str:
        full = int(max(0.0, min(1.0, part)) * width)
        done, left = ("━", "─") if self.unicode else ("#", "-")
        return paint(done * full, "completed") + paint(left * (width - full), "dim")


def _length(label: str, words: Sequence[str]) -> int:
    """Columns that a row needs beside its bar."""
    return len(label) + 1 + (1 + len("  ".join(words)) if words else 0)


def _node_part(task: Task) -> float:
    now = task.progress
    done = now.completed_nodes + now.failed_nodes
    return done / now.total_nodes if now.total_nodes else 0.0


def _headline(task: Task) -> str:
    parts = [task.task_id, task.status]
    if task.progress.total_batches > 1:
        parts.append(f"batch {task.progress.current_batch}/{task.progress.total_batches}")
    if task.started_at is not None:
        parts.append(span((_now() - task.started_at).total_seconds()))
    return "  ".join(parts)


def _node_words(task: Task) -> list[str]:
    now = task.progress
    counts = [(now.failed_nodes, "failed"), (now.retrying_nodes, "retrying")]
    done = f"{now.completed_nodes:,}/{now.total_nodes:,}" if now.total_nodes else ""
    return [done, *(f"{number:,} {word}" for number, word in counts if number)]


def _byte_words(task: Task) -> list[str]:
    now = task.progress
    words = [transfer(now.bytes or 0, now.total_bytes)]
    if now.bytes_per_second:
        words.append(f"{size(now.bytes_per_second)}/s")
    if task.estimated_completion is not None:
        words.append(f"{span((task.estimated_completion - _now()).total_seconds())} left")
    return words


def _now() -> datetime:
    return datetime.now(timezone.utc)


def plain(progress: Progress) -> str:
    """A task's state in one line of a log."""
    task, now = progress.task, progress.task.progress
    parts = [task.status]
    if now.total_nodes:
        parts = [f"{task.status} {now.completed_nodes:,}/{now.total_nodes:,} nodes"]
        parts += _node_words(task)[1:]
    if now.total_batches > 1:
        parts.append(f"batch {now.current_batch}/{now.total_batches}")
    if now.bytes is not None and not task.is_over:
        parts += _byte_words(task)[:2]
    if progress.trouble is not None:
        parts.append(f"{progress.trouble}; trying again")
    return f"{task.task_id} {', '.join(parts)}"
