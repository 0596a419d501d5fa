"""Why a node of a set is not warm: the first of all reasons that holds, in one fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from common import set_texts as texts
from common.messages import ImageDisk
from common.text import Text
from coordinator.core.fleet import FleetView
from coordinator.core.node_run import IN_FLIGHT, OVER, NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.sets.events import AgentSaid
from coordinator.core.sets.freshness import TROUBLED_FROM, Freshness, LookFailure, is_tag
from coordinator.core.sets.head import Joins
from coordinator.core.sets.membership import Membership
from coordinator.core.sets.records import THRASHING_TIMES, Records, RepairFailure
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.standing import BY_CODE, Blocked, SetNode, SetNodePhase, Tally
from coordinator.core.sets.warmth import Warmth
from coordinator.core.sets.windows import Window, Windows

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class AllKnown:
    """All that is known, for whoever derives something of it."""

    fleet: FleetView
    runs: Mapping[str, TaskRun]
    disk_percent: float
    """No set fills a node's image disk beyond this."""
    repairs: Repairs
    windows: Windows
    membership: Membership = field(default_factory=Membership)
    warmth: Warmth = field(default_factory=Warmth)
    records: Records = field(default_factory=Records)
    freshness: Freshness = field(default_factory=Freshness)
    said: dict[str, AgentSaid] = field(default_factory=dict)
    """The newest heartbeat of each node."""
    cold: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Nodes of each set that are not warm; False where nobody said what is there."""

    def seen_in(self, name: str, node: str) -> str:
        """In which report, and of which set, a node is seen as it is: neither comes twice."""
        head = self.membership.head(name)
        which = "" if head is None else f"{head.created_at}.{head.generation}."
        known = self.freshness.known(name)
        looked = f".{int(known.looked_at * 1000)}" if known.tags else ""
        return which + self.warmth.seen_in(node) + looked

    def is_outside(self, name: str, task: str, now: float) -> bool:
        """Whether a repair has nodes to warm that may not be warmed at this moment."""
        run = self.runs.get(task)
        left = () if run is None else [node for node in run.nodes if node.phase not in OVER]
        return any(self.closed(name, node.name, now) is not None for node in left)

    def has_all(self, name: str, node: str) -> bool | None:
        """Whether a node has every image of a set, none of them outdated; None: nobody said."""
        has_all = self.warmth.has_all(node, self.membership.references(name))
        return has_all and not self.is_outdated(name, node)

    def is_outdated(self, name: str, node: str) -> bool:
        """Whether a node has an image of a set with a digest that is outdated."""
        for reference, digests in self.freshness.outdated(name):
            cell = self.warmth.cell(node, reference)
            if cell is not None and cell[1] in digests:
                return True
        return False

    def missing_bytes(self, name: str, node: str) -> int:
        """Compressed bytes of the images of a set that a node lacks, as far as they are known."""
        missing = 0
        for reference in self.membership.references(name):
            cell = self.warmth.cell(node, reference)
            if cell is not None and not cell[0]:
                missing += self.warmth.size(reference) or 0
        return missing

    def most_missing_bytes(self, name: str) -> int:
        """The same of a node that lacks all of them."""
        return sum(self.warmth.size(each) or 0 for each in self.membership.references(name))

    def forget(self, name: str) -> None:
        """A set is gone."""
        self.cold.pop(name, None)
        self.records.set_gone(name)
        self.windows.forget(name)
        self.freshness.forget(name)

    def shown(self, name: str) -> dict[str, Counter[str]]:
        """The digests of each tag of a set, with how many of its nodes show them."""
        tags = [each for each in self.membership.references(name) if is_tag(each)]
        shown = {reference: Counter[str]() for reference in tags}
        for node in self.membership.of_set[name]:
            for reference in tags:
                cell = self.warmth.cell(node, reference)
                if cell is not None and cell[1] is not None:
                    shown[reference][cell[1]] += 1
        return shown

    def closed(self, name: str, node: str, now: float) -> Window | None:
        """The set's windows, where these keep a node from being warmed at this moment."""
        head = self.membership.head(name)
        window = None if head is None else self.windows.of(head, now)
        if head is None or head.schedule is None or window is None or window.is_open:
            return None
        is_exempt = head.schedule.joins is Joins.ALWAYS and self.records.is_new(name, node)
        return None if is_exempt else window


def diagnose(known: AllKnown, name: str, node: str, now: float, most: int | None = None) -> SetNode:
    """How a node of a set is at this moment; ``most``: all bytes of it, where these are known."""
    if node not in known.cold[name]:
        return SetNode(node, SetNodePhase.WARM)
    return (
        _in_repair(known, name, node)
        or _unavailable(known, name, node, now)
        or _unheard(known, name, node)
        or _left_alone(known, name, node, now, most)
        or _waiting(known, name, node)
    )


@dataclass(slots=True)
class Survey:
    """What one look at a set has found."""

    tally: Tally
    due: list[str]
    """Nodes that could be warmed now, sorted."""
    next_try: float | None = None
    """When the next of the others could be, as far as that is a matter of time."""


def look_over(known: AllKnown, name: str, now: float) -> Survey:
    """Look at each node of a set that is cold, and at no other."""
    survey = Survey(Tally(), [])
    cold, most = known.cold[name], known.most_missing_bytes(name)
    survey.tally.phases[SetNodePhase.WARM] = len(known.membership.of_set[name]) - len(cold)
    for node in cold:
        found = diagnose(known, name, node, now, most)
        survey.tally.count(found)
        if found.is_due:
            survey.due.append(node)
        if found.next_try is not None:
            survey.next_try = min(found.next_try, survey.next_try or found.next_try)
    survey.due.sort()
    failure = known.freshness.failure(name)
    if failure is not None and failure.times >= TROUBLED_FROM:
        survey.tally.unrefreshed = _why_unrefreshed(failure)
    return survey


def _why_unrefreshed(failure: LookFailure) -> Text:
    if failure.why is None:
        return texts.SET_UNREFRESHED_UNKNOWN(times=failure.times)
    reason, text, image = failure.why
    return texts.SET_UNREFRESHED(
        times=failure.times, reason=reason, image=image or "", why=text.message
    )


def _run_of(known: AllKnown, name: str, node: str) -> tuple[str, NodeRun] | None:
    """Where a node has its place in a repair of the set."""
    for task in known.repairs.tasks(name):
        run = known.runs.get(task)
        found = None if run is None else run.by_name.get(node)
        if found is not None and found.phase not in OVER:
            return task, found
    return None


def _waits_for(known: AllKnown, name: str, node: str) -> str | None:
    """The repair whose end a node that is due waits for.

    One that it is not in does not concern it, nor one that has made it warm; any other is not done
    with it: it was cancelled, or failed too often.
    """
    if known.repairs.may_begin(name, known.runs):
        for task in known.repairs.tasks(name):
            place = known.runs[task].by_name.get(node)
            if place is not None and place.phase is not NodePhase.SUCCEEDED:
                return task
        return None
    return known.repairs.task(name)


def _in_repair(known: AllKnown, name: str, node: str) -> SetNode | None:
    placed = _run_of(known, name, node)
    if placed is None:
        return None
    task, run = placed
    if run.phase in IN_FLIGHT:
        text = texts.SET_NODE_PULLING(node=node, task=task)
        return SetNode(node, SetNodePhase.PULLING, text=text, task=task)
    text = texts.SET_NODE_IN_REPAIR(node=node, task=task)
    return SetNode(node, SetNodePhase.WAITING, text=text, task=task)


def _unavailable(known: AllKnown, name: str, node: str, now: float) -> SetNode | None:
    head = known.membership.head(name)
    if head is not None and head.paused:
        return SetNode(node, SetNodePhase.BLOCKED, Blocked.PAUSED, texts.SET_PAUSED())
    if known.fleet.agent_for(node, now) is None:
        why = known.fleet.why_unavailable(node)
        reason = BY_CODE.get(why.code, Blocked.NO_AGENT)
        return SetNode(node, SetNodePhase.BLOCKED, reason, why)
    said = known.said.get(node)
    if said is not None and said.inventory is None:
        text = texts.SET_NODE_OLD_AGENT(node=node, version=said.version)
        return SetNode(node, SetNodePhase.BLOCKED, Blocked.NO_AGENT, text)
    return None


def _unheard(known: AllKnown, name: str, node: str) -> SetNode | None:
    if known.cold[name][node]:
        return None
    return SetNode(node, SetNodePhase.WAITING, text=texts.SET_NODE_UNHEARD(node=node))


def _left_alone(
    known: AllKnown, name: str, node: str, now: float, most: int | None
) -> SetNode | None:
    until = known.records.thrashes_until(name, node)
    if until is not None and now < until:
        text = texts.SET_NODE_THRASHING(node=node, times=THRASHING_TIMES)
        return SetNode(node, SetNodePhase.BLOCKED, Blocked.THRASHING, text, next_try=until)
    said = known.said.get(node)
    if said is not None and said.disk is not None and _is_full(said.disk, known.disk_percent):
        text = texts.SET_NODE_DISK(
            node=node,
            percent=100 - 100 * said.disk.free_bytes / said.disk.total_bytes,
            limit=known.disk_percent,
            free_gib=said.disk.free_bytes / GIB,
            total_gib=said.disk.total_bytes / GIB,
        )
        return SetNode(node, SetNodePhase.BLOCKED, Blocked.DISK_FULL, text)
    if said is not None and said.disk is not None:
        lacks_room = _lacks_room(known, name, node, said.disk, most)
        if lacks_room is not None:
            return SetNode(node, SetNodePhase.BLOCKED, Blocked.DISK_FULL, lacks_room)
    failure = known.records.failure(name, node)
    if failure is not None and now < failure.told_from:
        text = texts.SET_NODE_UNHEARD(node=node)
        return SetNode(node, SetNodePhase.WAITING, text=text, next_try=failure.told_from)
    closed = known.closed(name, node, now)
    if failure is not None and (now < failure.next_try or closed is not None):
        return _failed(node, failure, closed)
    return None if closed is None else _outside(known, name, node, closed)


def _is_full(disk: ImageDisk, percent: float) -> bool:
    used = disk.total_bytes - disk.free_bytes
    return disk.total_bytes > 0 and 100 * used >= percent * disk.total_bytes


def _lacks_room(
    known: AllKnown, name: str, node: str, disk: ImageDisk, most: int | None
) -> Text | None:
    """Why the images that a node lacks are not pulled: they would fill its disk beyond the limit.

    Those of which nobody knows the size count nothing, and what a layer shares with others counts.
    """
    limit = disk.total_bytes * known.disk_percent / 100
    free = limit - (disk.total_bytes - disk.free_bytes)
    if disk.total_bytes <= 0 or (most is not None and most <= free):
        return None
    needs = known.missing_bytes(name, node)
    if needs <= free:
        return None
    return texts.SET_NODE_NO_ROOM(
        node=node,
        needs_gib=needs / GIB,
        free_gib=free / GIB,
        limit=known.disk_percent,
        total_gib=disk.total_bytes / GIB,
    )


def _failed(node: str, failure: RepairFailure, closed: Window | None) -> SetNode:
    passes = failure.reason.retry_makes_sense
    phase = SetNodePhase.FAILED if passes else SetNodePhase.BLOCKED
    again: float | None = failure.next_try
    if closed is not None:
        again = None if closed.next is None else max(failure.next_try, closed.next)
    return SetNode(node, phase, failure.reason, failure.text, failure.image, again)


def _outside(known: AllKnown, name: str, node: str, closed: Window) -> SetNode:
    head = known.membership.head(name)
    zone = "" if head is None or head.schedule is None else head.schedule.time_zone
    text = texts.SET_OUTSIDE_WINDOW(next=closed.shown, zone=zone)
    if closed.next is None:
        text = texts.SET_NO_WINDOW(zone=zone)
    return SetNode(node, SetNodePhase.BLOCKED, Blocked.OUTSIDE_WINDOW, text, next_try=closed.next)


def _waiting(known: AllKnown, name: str, node: str) -> SetNode:
    task = _waits_for(known, name, node)
    begins = known.repairs.may_begin(name, known.runs)
    if task is not None:
        text = texts.SET_NODE_NEXT_REPAIR(node=node, task=task)
    elif begins or not known.repairs.are_full:
        text = texts.SET_NODE_DUE(node=node)
    else:
        text = texts.SET_NODE_QUEUED(node=node, most=known.repairs.most)
    return SetNode(node, SetNodePhase.WAITING, text=text, is_due=begins and task is None)
