"""Bytes of running pulls: the newest progress of every attempt in flight, as agents report it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from common import subjects
from common.bus import Received
from common.messages import AttemptProgress, ImageProgress, Progress, total_bytes
from common.subjects import AgentAddress
from coordinator.core.changes import AttemptDecided, NodeMoved, TaskOver
from coordinator.core.events import Event
from coordinator.core.node_run import IN_FLIGHT, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision
from coordinator.snapshots import NOTHING_KNOWN, Pulls, Transfer

_decode = msgspec.json.Decoder(Progress).decode

MOST_EARLY: Final = 2000
EARLY_BYTES: Final = 4096
"""What is kept of agents that are not known to be at work takes 8 MiB at most."""

OnProgress = Callable[[str, str], None]
"""Told task and node of each report that says something new."""


class AcceptedAttempts(Protocol):
    """What is needed of the core."""

    @property
    def runs(self) -> Mapping[str, TaskRun]:
        """The running tasks."""

    def accepted_by(self, task: str, node: str) -> str | None:
        """The instance that has accepted a node's attempt in flight."""


class ProgressBoard:
    """The newest progress of every attempt in flight, by task and node."""

    def __init__(self, core: AcceptedAttempts) -> None:
        self._core = core
        self._listeners: list[OnProgress] = []
        self._early: dict[tuple[str, str], tuple[AgentAddress, AttemptProgress]] = {}
        """The newest reports by task and node that were of no attempt known to be in flight."""
        self._pulls: defaultdict[str, dict[str, tuple[int, dict[str, ImageProgress]]]] = (
            defaultdict(dict)
        )
        self._sums: defaultdict[str, _Sums] = defaultdict(_Sums)

    def listen(self, on_progress: OnProgress) -> None:
        """Let this one know of every report from now on."""
        self._listeners.append(on_progress)

    def on_progress(self, received: Received) -> None:
        """Take a message in. Raises NOT_DECODABLE or ValueError for what is none."""
        address = subjects.parse_progress(received.subject)
        if address is None:
            raise ValueError("not the subject of a progress report")
        for report in _decode(received.data).attempts:
            if not self._take_in(address, report) and len(received.data) <= EARLY_BYTES:
                self._keep_early(address, report)

    def _take_in(self, address: AgentAddress, report: AttemptProgress) -> bool:
        """Take a report of an attempt in flight in; False where it is not known to be."""
        run = self._core.runs.get(report.task)
        node = run.by_name.get(address.node) if run is not None else None
        if run is None or node is None:
            return False
        if self._core.accepted_by(report.task, node.name) != address.instance:
            return False
        if self.report(run, node, report):
            for listener in self._listeners:
                listener(report.task, node.name)
        return True

    def _keep_early(self, address: AgentAddress, report: AttemptProgress) -> None:
        """Who follows may hear an agent before it knows of the task."""
        place = report.task, address.node
        self._early.pop(place, None)
        if len(self._early) >= MOST_EARLY:
            del self._early[next(iter(self._early))]
        self._early[place] = address, report

    def observe(self, _event: Event, decision: Decision) -> None:
        """Drop what is decided: its bytes are in the outcome from now on."""
        for change in decision.changes:
            match change:
                case NodeMoved(task=task, node=node) if (task, node) in self._early:
                    self._take_in(*self._early[task, node])
                case AttemptDecided(task=task, node=node):
                    self.drop_node(task, node)
                case TaskOver(head=head):
                    self._pulls.pop(head.id, None)
                    self._sums.pop(head.id, None)
                case _:
                    pass

    def report(self, run: TaskRun, node: NodeRun, report: AttemptProgress) -> bool:
        """Take a report in; False where it is not about the attempt in flight."""
        if node.phase not in IN_FLIGHT or report.attempt != node.attempt:
            return False
        attempt, images = self._pulls[run.head.id].get(node.name, (0, {}))
        if attempt != node.attempt:
            self.drop_node(run.head.id, node.name)
            images = {}
        sums = self._sums[run.head.id]
        for image in report.images:
            if image.image in run.missing:  # what the task does not have is nobody's progress
                known = images.get(image.image)
                images[image.image] = new = _rising(known, image)
                if known is not None:
                    sums.count(known, -1)
                sums.count(new, 1)
        self._pulls[run.head.id][node.name] = (node.attempt, images)
        return True

    def pulls(self, task: str, node: NodeRun) -> Pulls:
        """What is known of a node's attempt in flight, by the image's spelling."""
        if node.phase not in IN_FLIGHT or task not in self._pulls:
            return NOTHING_KNOWN
        return self._pulls[task].get(node.name, (0, NOTHING_KNOWN))[1]

    def drop_node(self, task: str, node: str) -> None:
        """The attempt is decided: what its bytes are now is in the outcome."""
        self._early.pop((task, node), None)
        if task in self._pulls:
            _, images = self._pulls[task].pop(node, (0, NOTHING_KNOWN))
            for image in images.values():
                self._sums[task].count(image, -1)

    def transfer(self, run: TaskRun) -> Transfer:
        """A running task's bytes: what has arrived, and what the pulls in flight have."""
        arrived, sums = run.arrived_bytes, self._sums.get(run.head.id) or _Sums()
        is_known = sums.pulls_with_bytes > 0 or arrived is not None
        return Transfer(
            bytes=total_bytes([arrived or 0, sums.bytes]) if is_known else None,
            total_bytes=_total(run, sums),
            bytes_per_second=total_bytes([sums.speed]) if sums.pulls_with_speed else None,
        )


class _Sums:
    """What the pulls in flight of one task come to; kept up to date with each of them.

    A task may have 10,000 nodes of 50 images, and it is asked for more than once a second.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.pulls_with_bytes = 0
        self.speed = 0
        self.pulls_with_speed = 0
        self.sizes: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """How many pulls say so of an image's size; few differ."""

    def count(self, image: ImageProgress, times: int) -> None:
        """Count a pull in (1) or out (-1)."""
        if image.bytes is not None:
            self.bytes += times * image.bytes
            self.pulls_with_bytes += times
        if image.bytes_per_second is not None:
            self.speed += times * image.bytes_per_second
            self.pulls_with_speed += times
        if image.total_bytes is not None:
            known = self.sizes[image.image]
            known[image.total_bytes] += times
            if not known[image.total_bytes]:
                del known[image.total_bytes]


def _total(run: TaskRun, sums: _Sums) -> int | None:
    """What a task's bytes will come to; None until the size of every image has been seen once."""
    sizes = dict(run.sizes)
    for image, known in sums.sizes.items():
        if known:
            sizes[image] = max(sizes.get(image, 0), *known)
    missing = {image: nodes for image, nodes in run.missing.items() if nodes}
    if not sizes or missing.keys() - sizes.keys():
        return None
    to_come = (sizes[image] * nodes for image, nodes in missing.items())
    return total_bytes([run.arrived_bytes or 0, *to_come])


def _rising(known: ImageProgress | None, new: ImageProgress) -> ImageProgress:
    """Bytes never fall within an attempt, whatever order the reports come in."""
    if known is None or known.bytes is None or (new.bytes or 0) >= known.bytes:
        return new
    return replace(new, bytes=known.bytes)
