"""Which tasks a list is asked for, and in which order. Reads heads alone: 10,000 cost little."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.image_reference import ImageReference, InvalidReference
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.port import Tasks

HEADS_AT_A_TIME: Final = 20
"""Heads that are looked at before others go on: a head may have 64 KiB."""


class TaskSort(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    """By creation, the newest first."""
    QUEUE = "queue"
    """What runs, then what is queued in the order in which it starts, then the rest."""


@dataclass(frozen=True, slots=True)
class TaskSearch:
    """What of all tasks is wanted; empty texts and None demand nothing."""

    statuses: frozenset[TaskStatus] = frozenset()
    image: str = ""
    """One of the task's images is this one, in whatever spelling; without a tag, with any tag."""
    text: str = ""
    """Stands in the task's id, an image, a label of the selector or its creator, in any case."""
    node: str = ""
    """The task has tried this node, or runs and has it; see ``port.Images.tasks_on``."""
    created_by: str = ""
    set: str = ""
    """The task repairs this warm set."""
    since: int = 0
    """Created at this moment or later, in milliseconds since 1970."""
    until: int = 0
    """Created before this moment; 0 for no limit."""
    ended_since: int = 0
    """Over since this moment or later; 0 also takes what is not over."""
    sort: TaskSort = TaskSort.NEWEST
    after: str = ""
    """The last task of the page before; what follows it is wanted."""

    @property
    def _reads_heads(self) -> bool:
        moments = self.since or self.until or self.ended_since
        return bool(self.image or self.text or self.created_by or self.set or moments)


@dataclass(frozen=True, slots=True)
class TasksFound:
    """The ids that were found, in their order."""

    ids: Sequence[str]
    places: dict[str, int]
    """Of tasks that are queued, where the order is that of the queue: their place in it, from 1."""


class UnknownPosition(Exception):  # noqa: N818 -- as an answer it is no error of the program
    """The task after which a page is to begin is not known."""


async def search(
    tasks: Tasks, wanted: TaskSearch, on_node: Collection[str] | None = None
) -> TasksFound:
    """Find tasks; others go on now and then. Raises UnknownPosition.

    ``on_node``: those of ``TaskSearch.node``, where one is wanted.
    """
    queue = _queue(tasks) if wanted.sort is TaskSort.QUEUE else []
    ids = _in_order(tasks, wanted, queue)
    if wanted.after:
        if wanted.after not in ids:
            raise UnknownPosition(wanted.after)
        ids = ids[ids.index(wanted.after) + 1 :]
    if wanted.statuses:
        of_status = {each for status in wanted.statuses for each in tasks.ids(status)}
        ids = [each for each in ids if each in of_status]
    if on_node is not None:
        ids = [each for each in ids if each in on_node]
    if wanted._reads_heads:  # noqa: SLF001 -- of this module
        ids = await _that_match(tasks, ids, wanted)
    return TasksFound(ids, {task: place for place, task in enumerate(queue, start=1)})


def _queue(tasks: Tasks) -> list[str]:
    """Pending tasks in the order in which they start: the most urgent, then the oldest."""
    oldest_first = list(reversed(tasks.ids(TaskStatus.PENDING)))
    heads = {task: tasks.head(task) for task in oldest_first}
    known = [task for task, head in heads.items() if head is not None]
    return sorted(known, key=lambda task: -_priority(heads[task]))


def _priority(head: TaskHead | None) -> int:
    return 0 if head is None else head.spec.priority


def _in_order(tasks: Tasks, wanted: TaskSearch, queue: Sequence[str]) -> Sequence[str]:
    everything = tasks.ids()
    if wanted.sort is TaskSort.NEWEST:
        return everything
    running = tasks.ids(TaskStatus.RUNNING)
    first = {*running, *queue}
    return [*running, *queue, *(task for task in everything if task not in first)]


async def _that_match(tasks: Tasks, ids: Sequence[str], wanted: TaskSearch) -> list[str]:
    found = []
    matcher = _Matcher(wanted)
    for number, task in enumerate(ids, start=1):
        head = tasks.head(task)
        if head is not None and matcher.matches(head):
            found.append(task)
        if number % HEADS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    return found


class _Matcher:
    """A search made ready to be asked of many heads."""

    def __init__(self, wanted: TaskSearch) -> None:
        self._wanted = wanted
        self._text = wanted.text.casefold()
        self._image = _canonical(wanted.image)
        self._any_tag = self._image != "" and not _has_tag(wanted.image)
        self._name = _repository(self._image).rpartition("/")[2]
        """Stands in every spelling of the image: what has it not need not be parsed."""

    def matches(self, head: TaskHead) -> bool:
        wanted = self._wanted
        creator = "" if head.created_by is None else head.created_by.user
        return (
            head.created_at >= wanted.since
            and (not wanted.until or head.created_at < wanted.until)
            and (not wanted.ended_since or (head.finished_at or 0) >= wanted.ended_since)
            and (not wanted.created_by or creator == wanted.created_by)
            and (not wanted.set or head.set == wanted.set)
            and (not wanted.image or any(map(self._is_image, head.spec.images)))
            and (not self._text or any(self._text in part.casefold() for part in _parts(head)))
        )

    def _is_image(self, spelling: str) -> bool:
        if not self._name or self._name not in spelling:
            return False
        canonical = _canonical(spelling)
        if not self._any_tag:
            return canonical == self._image
        return _repository(canonical) == _repository(self._image)


def _canonical(text: str) -> str:
    """The full form; what is no reference is no image's."""
    try:
        return ImageReference.parse(text).canonical
    except InvalidReference:
        return ""


def _has_tag(text: str) -> bool:
    return "@" in text or ":" in text.rpartition("/")[2]


def _repository(canonical: str) -> str:
    name = canonical.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _parts(head: TaskHead) -> Iterator[str]:
    """What of a task is searched."""
    yield head.id
    yield from head.spec.images
    if head.created_by is not None:
        yield head.created_by.user
    for key, value in head.spec.node_selector.items():
        yield f"{key}={value}"
