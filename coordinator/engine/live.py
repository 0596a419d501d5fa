"""What changes too fast to be kept: bytes of running pulls, and who must be told what changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from msgspec.structs import replace

from common.messages import AttemptProgress, ImageProgress
from coordinator.core.node_run import IN_FLIGHT, NodeRun
from coordinator.core.run import TaskRun
from coordinator.port import Transfer, Wake
from coordinator.views.nodes import Pulls


class NameChanges:
    """One subscriber's set of changed names (``port.Changes``)."""

    def __init__(self, wake: Wake, closed: Callable[[NameChanges], None]) -> None:
        self._wake = wake
        self._closed = closed
        self._names: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Remember names, and wake the subscriber if it had nothing to take."""
        asleep = not self._names
        self._names.update(names)
        if asleep and self._names:
            self._wake()

    def take(self) -> Collection[str]:
        """The names so far; the set is empty afterwards."""
        names, self._names = self._names, set()
        return names

    def close(self) -> None:
        """Want no more."""
        self._closed(self)


class LiveChanges:
    """Who watches what (``port.Live``). It outlives the leader's terms, as streams do."""

    def __init__(self) -> None:
        self._tasks: defaultdict[str, list[NameChanges]] = defaultdict(list)
        self._fleet: list[NameChanges] = []

    def of_task(self, task_id: str, wake: Wake) -> NameChanges:
        """Nodes of one task whose state, or an image's bytes, changed."""
        changes = NameChanges(wake, lambda gone: self._leave(task_id, gone))
        self._tasks[task_id].append(changes)
        return changes

    def of_fleet(self, wake: Wake) -> NameChanges:
        """Nodes that changed in the table of nodes."""
        changes = NameChanges(wake, self._fleet.remove)
        self._fleet.append(changes)
        return changes

    def task_changed(self, task: str, nodes: Iterable[str]) -> None:
        """Some nodes of a task are not what they were."""
        for changes in self._tasks.get(task, ()):
            changes.add(nodes)

    def fleet_changed(self, nodes: Iterable[str]) -> None:
        """Some nodes of the fleet are not what they were, or are gone."""
        for changes in self._fleet:
            changes.add(nodes)

    def _leave(self, task: str, changes: NameChanges) -> None:
        self._tasks[task].remove(changes)
        if not self._tasks[task]:
            del self._tasks[task]


class Board:
    """The newest progress of every attempt in flight, by task and node."""

    def __init__(self) -> None:
        self._pulls: defaultdict[str, dict[str, tuple[int, dict[str, ImageProgress]]]] = (
            defaultdict(dict)
        )

    def report(self, run: TaskRun, node: NodeRun, report: AttemptProgress) -> bool:
        """Take a report in; False where it is not about the attempt in flight."""
        if node.phase not in IN_FLIGHT or report.attempt != node.attempt:
            return False
        attempt, images = self._pulls[run.head.id].get(node.name, (0, {}))
        if attempt != node.attempt:
            images = {}
        for image in report.images:
            images[image.image] = _rising(images.get(image.image), image)
        self._pulls[run.head.id][node.name] = (node.attempt, images)
        return True

    def pulls(self, task: str, node: str) -> Pulls:
        """What is known of a node's attempt in flight, by the image's spelling."""
        found = self._pulls[task].get(node) if task in self._pulls else None
        return {} if found is None else found[1]

    def drop_node(self, task: str, node: str) -> None:
        """The attempt is decided: what its bytes are now is in the outcome."""
        if task in self._pulls:
            self._pulls[task].pop(node, None)

    def drop_task(self, task: str) -> None:
        """The task is over."""
        self._pulls.pop(task, None)

    def transfer(self, run: TaskRun) -> Transfer:
        """A running task's bytes: what has arrived, and what the pulls in flight have."""
        arrived = run.arrived_bytes
        pulls = [
            image
            for _, images in self._pulls.get(run.head.id, {}).values()
            for image in images.values()
        ]
        now = [image.bytes for image in pulls if image.bytes is not None]
        speed = [image.bytes_per_second for image in pulls if image.bytes_per_second is not None]
        return Transfer(
            bytes=(arrived or 0) + sum(now) if now or arrived is not None else None,
            total_bytes=_total(run, pulls),
            bytes_per_second=sum(speed) if speed else None,
        )


def _total(run: TaskRun, pulls: Iterable[ImageProgress]) -> int | None:
    """What a task's bytes will come to; None until the size of every image has been seen once."""
    sizes = dict(run.sizes)
    for image in pulls:
        if image.total_bytes is not None:
            sizes[image.image] = max(sizes.get(image.image, 0), image.total_bytes)
    missing = {image: nodes for image, nodes in run.missing.items() if nodes}
    if not sizes or missing.keys() - sizes.keys():
        return None
    return (run.arrived_bytes or 0) + sum(sizes[image] * nodes for image, nodes in missing.items())


def _rising(known: ImageProgress | None, new: ImageProgress) -> ImageProgress:
    """Bytes never fall within an attempt, whatever order the reports come in."""
    if known is None or known.bytes is None or (new.bytes or 0) >= known.bytes:
        return new
    return replace(new, bytes=known.bytes)
