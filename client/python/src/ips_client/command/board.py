"""What is drawn while tasks are waited for: rich's bars, from what is known and a width.

Nothing here writes. Where the width does not suffice, words are left out from the right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from heapq import nsmallest
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ips_client.command.messages import said
from ips_client.command.text import count, cut, roughly, shown, size, span, transfer
from ips_client.documents import LiveImage, LiveNode, Task
from ips_client.picture import Progress

SMALLEST_BAR: Final = 6
LARGEST_BAR: Final = 30
NODE_ROWS: Final = 8
_SHORT_ID: Final = 8
_WIDE: Final = 70
_NAME_PART: Final = 0.3


class BoardRow(NamedTuple):
    """A bar between a label and words, most important first; no bar for an unknown part."""

    label: str
    part: float | None
    words: Sequence[str]


@dataclass
class Board:
    """The tasks that are waited for, in the order in which they were named."""

    ids: Sequence[str]
    progress: dict[str, Progress] = field(default_factory=dict)
    changes: int = 0
    """Grows with everything that is noted."""

    def note(self, progress: Progress) -> None:
        """A task has moved."""
        self.progress[progress.task.task_id] = progress
        self.changes += 1

    def picture(self, width: int, height: int) -> RenderableType:
        """The picture now, no wider and no higher."""
        if len(self.ids) == 1:
            return Group(*self._one(self.ids[0], width, height)[:height])
        wanted = self._by_interest()
        shown_ids = wanted if len(wanted) <= height else wanted[: height - 1]
        lines = [*self._fitted([self._brief(task_id, width) for task_id in shown_ids], width)]
        if len(shown_ids) < len(wanted):
            lines.append(_line(f"… and {len(wanted) - len(shown_ids)} more", width))
        return Group(*lines)

    def _by_interest(self) -> list[str]:
        """What runs first, then what waits, then what is over."""
        rank = {"running": 0, "pending": 1}
        seen = self.progress
        return sorted(
            self.ids, key=lambda each: rank.get(seen[each].task.status, 2) if each in seen else 1
        )

    def _brief(self, task_id: str, width: int) -> BoardRow:
        label = task_id if width >= _WIDE else f"…{task_id[-_SHORT_ID:]}"
        progress = self.progress.get(task_id)
        if progress is None:
            return BoardRow(label, 0.0, ["waiting for an answer"])
        task = progress.task
        away = ["server away"] if progress.trouble is not None else []
        status = [task.status] if task.status != "running" else []
        return BoardRow(label, _node_part(task), [*away, *status, *_node_words(task)])

    def _one(self, task_id: str, width: int, height: int) -> list[RenderableType]:
        """All that is known of the only task."""
        progress = self.progress.get(task_id)
        if progress is None:
            return [_line(f"{task_id} waiting for an answer", width)]
        head = [_line(line, width) for line in _head(progress)]
        room = height - len(head) - len(("nodes", "bytes", "more"))
        rows = list(_task_rows(progress.task))
        nodes = progress.nodes
        names = nsmallest(max(0, min(NODE_ROWS, room)), nodes)
        rows += [_node_row(nodes[name], int(width * _NAME_PART)) for name in names]
        lines = [*head, *self._fitted(rows, width)]
        if len(names) < len(nodes):
            rest = [node for name, node in nodes.items() if name not in names]
            lines.append(_line(f"… and {_more_nodes(rest)}", width))
        return lines

    def _fitted(self, rows: Sequence[BoardRow], width: int) -> Iterator[RenderableType]:
        """Rows below one another, bars in one column; words that do not fit are left out."""
        label = max((len(row.label) for row in rows), default=0)
        bar = max(SMALLEST_BAR, min(LARGEST_BAR, (width - label) // 3))
        for row in rows:
            words = [shown(word) for word in row.words if word]
            while words and cell_len("  ".join(words)) > width - label - bar - 2:
                words.pop()
            line = Table.grid(padding=(0, 1, 0, 0))
            for size_of_column in (label, bar, None):
                line.add_column(width=size_of_column, no_wrap=True)
            line.add_row(_line(row.label, label), _bar(row.part, bar), Text("  ".join(words)))
            yield line


def _more_nodes(nodes: Sequence[LiveNode]) -> str:
    """How many there are, and in which states."""
    states = Counter(node.state for node in nodes)
    words = ", ".join(f"{number:,} {state}" for state, number in states.most_common())
    return f"{count(len(nodes), 'more node')} ({words})"


def _line(text: str, width: int) -> Text:
    made = Text(shown(text), no_wrap=True, overflow="ellipsis")
    made.truncate(width, overflow="ellipsis")
    return made


def _bar(part: float | None, width: int) -> RenderableType:
    if part is None:
        return Text()
    return ProgressBar(
        total=1.0,
        completed=max(0.0, min(1.0, part)),
        width=width,
        style="dim",
        complete_style="green",
        finished_style="green",
    )


def _head(progress: Progress) -> Iterator[str]:
    task = progress.task
    yield _headline(task)
    if progress.trouble is not None:
        yield f"{progress.trouble}; trying again"
    if task.message and not task.is_over:
        yield said(task)


def _task_rows(task: Task) -> Iterator[BoardRow]:
    now = task.progress
    if now.total_nodes:
        yield BoardRow("nodes", _node_part(task), _node_words(task))
    if now.bytes is not None:
        part = now.bytes / now.total_bytes if now.total_bytes else None
        yield BoardRow("bytes", part, _byte_words(task))


def _node_row(node: LiveNode, name: int) -> BoardRow:
    known = [image for image in node.images if image.total_bytes]
    total = sum(image.total_bytes or 0 for image in known)
    done = sum(image.bytes or 0 for image in known)
    speed = sum(image.bytes_per_second or 0 for image in node.images)
    current = next((each for each in node.images if each.state == "pulling"), None)
    words = [
        node.state if node.state != "pulling" else "",
        transfer(done, total) if total else "",
        f"{size(speed)}/s" if speed else "",
        *([] if current is None else _image_words(current)),
        node.reason or "",
    ]
    return BoardRow(f"  {cut(node.node_name, name)}", done / total if total else 0.0, words)


def _image_words(image: LiveImage) -> Iterator[str]:
    """An image that is pulling; what it waits for, if not simply for bytes."""
    yield image.image.rpartition("/")[2]
    if image.phase not in {None, "downloading"}:
        yield image.phase or ""


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
        words.append(f"{roughly((task.estimated_completion - _now()).total_seconds())} left")
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
