"""The laws of the end: when faults have ceased and all has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.core.node_run import NodePhase
from coordinator.core.task import TaskHead
from sandbox.simulator import last_look_at_sets
from sandbox.simulator.laws import Law
from sandbox.simulator.truth import End, TaskTruth

if TYPE_CHECKING:
    from sandbox.simulator.cluster import Coordinator
    from sandbox.simulator.world import World

_LAST = "task."
_PHASES = {
    End.SUCCEEDED: NodePhase.SUCCEEDED,
    End.FAILED: NodePhase.FAILED,
    End.REMOVED: NodePhase.REMOVED,
    End.OPEN: NodePhase.CANCELLED,
}


def is_at_rest(world: World) -> bool:
    """Whether every stored task is over and told, and somebody leads."""
    known = world.laws.tasks.values()
    left = any(not each.is_removed and each.head and _is_left(each.head) for each in known)
    is_led = len(world.leading) == 1 and bool(world.answering)
    return not left and is_led and not last_look_at_sets.why_cold(world)


def why_not_at_rest(world: World) -> tuple[Law, str]:
    """What is still open, in one line, and which law that breaks."""
    heads = [known.head for known in world.laws.tasks.values() if not known.is_removed]
    left = [
        f"{head.id} is {head.status}, {list(head.notify)} to be told"
        for head in heads
        if head is not None and _is_left(head)
    ]
    if not left and (cold := last_look_at_sets.why_cold(world)):
        return Law.WARM, cold
    return Law.ENDS, "; ".join(left) or "nobody leads"


def _is_left(head: TaskHead) -> bool:
    return not head.status.is_final or bool(head.notify)


async def look(world: World) -> None:
    """Look at all that must be so in the end."""
    for program in world.programs:
        world.note_death(program)
    for task, known in world.laws.tasks.items():
        if known.head is not None:
            _look_at_told(world, task, known)
    _look_at_replicas(world)
    last_look_at_sets.look(world)
    await _look_at_answers(world)
    _look_at_rests(world)


def _look_at_told(world: World, task: str, known: TaskTruth) -> None:
    head = known.head
    assert head is not None  # noqa: S101 -- asked before
    last = [kind for kind, _ in known.events if kind.startswith(_LAST)][-1:]
    finals = [kind for kind, _ in known.events if kind == f"task.{head.status}"]
    if len(finals) != 1 or last != finals:
        world.laws.breaks(Law.TOLD_ONCE, f"{task} has the events {known.events}")
    if head.spec.webhook_url is not None and len(set(known.deliveries)) != 1:
        world.laws.breaks(Law.WEBHOOK, f"{task} has the deliveries {known.deliveries}")


def _look_at_replicas(world: World) -> None:
    stored = {
        task: (known.head.status, known.head.counts)
        for task, known in world.laws.tasks.items()
        if known.head is not None and not known.is_removed
    }
    for seat in world.seats:
        if seat.runs is None or seat.runs.replica is None:
            world.laws.breaks(Law.CONVERGES, f"{seat.name} has no replica")
            continue
        tasks = seat.runs.replica.tasks
        kept = {kept.id: (kept.status, kept.head.counts) for kept in tasks}
        if kept != stored:
            ids = sorted(task for task in kept | stored if kept.get(task) != stored.get(task))
            world.laws.breaks(Law.CONVERGES, f"{seat.name} differs from the store in {ids}")


async def _look_at_answers(world: World) -> None:
    for coordinator in world.answering:
        await _look_at_answers_of(world, coordinator)


async def _look_at_answers_of(world: World, coordinator: Coordinator) -> None:
    for task, known in world.laws.tasks.items():
        head = known.head
        if head is None or known.is_removed or head.started_at is None:
            continue
        shot = await coordinator.ask(coordinator.service.tasks.snapshot_with_nodes(task))
        shown = {} if shot.run is None else {node.name: node.phase for node in shot.run.nodes}
        folded = {node: _PHASES[known.end_of(node, head.results_seq)] for node in known.nodes}
        if shown != folded:
            world.laws.breaks(
                Law.COUNTED_ONCE, f"{coordinator.name} shows {shown} of {task}, which is {folded}"
            )


def _look_at_rests(world: World) -> None:
    for task in world.laws.tasks:
        if busy := world.laws.agents.busy(task):
            world.laws.breaks(Law.NOTHING_LEFT, f"{', '.join(busy)} still work on {task}")
    for seat in world.seats:
        replica = None if seat.runs is None else seat.runs.replica
        if replica is not None and (replica.core.runs or replica.core.in_flight):
            running = ", ".join(replica.core.runs)
            detail = f"{seat.name} has {replica.core.in_flight} in flight, and runs {running}"
            world.laws.breaks(Law.NOTHING_LEFT, detail)
