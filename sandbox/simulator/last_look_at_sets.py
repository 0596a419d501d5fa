"""The laws of the end as far as they concern warm sets: what the runtimes really have decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import SetNodePhase
from sandbox.simulator.laws import Law

if TYPE_CHECKING:
    from sandbox.simulator.cluster import Coordinator
    from sandbox.simulator.world import Machine, World

THRASHING_LOSSES: Final = 3
"""A node that lost so many images within an hour may be left alone."""
THRASHING_SECONDS: Final = 3600.0


def why_cold(world: World) -> str:
    """Nodes that are to be warm and are not, in one line; empty where there is none."""
    cold = [
        f"{machine.name} lacks {sorted(_missing(head, machine))} of {name}"
        for name, head in world.laws.sets.heads.items()
        for machine in world.machines
        if not head.paused and _missing(head, machine) and not _thrashes(world, machine)
    ]
    return "; ".join(cold)


def look(world: World) -> None:
    """Every coordinator knows the same sets, and of each node what its runtime has."""
    for coordinator in world.answering:
        for name, head in world.laws.sets.heads.items():
            _look_at_set(world, coordinator, name, head)
        names = list(coordinator.service.sets.names())
        if names != world.laws.sets.names:
            world.laws.breaks(Law.CONVERGES, f"{coordinator.name} knows the sets {names}")


def _look_at_set(world: World, coordinator: Coordinator, name: str, head: SetHead) -> None:
    sets = coordinator.service.sets
    shot = sets.snapshot(name)
    if shot is None or shot.stored.head != head:
        world.laws.breaks(Law.CONVERGES, f"{coordinator.name} has {shot} for the set {head}")
        return
    if shot.repair is not None and not any(_thrashes(world, each) for each in world.machines):
        world.laws.breaks(Law.NOTHING_LEFT, f"{coordinator.name} repairs {name}: {shot.repair}")
    said = {node: sets.node(name, node) for node in sets.node_names(name)}
    warm = {node for node, each in said.items() if each and each.state.phase is SetNodePhase.WARM}
    really = {machine.name for machine in world.machines if not _missing(head, machine)}
    if set(said) != {machine.name for machine in world.machines}:
        world.laws.breaks(Law.CONVERGES, f"{coordinator.name} has {sorted(said)} in {name}")
    elif warm != really:
        detail = f"{coordinator.name} shows {sorted(warm)} of {name} as warm, and it is {really}"
        world.laws.breaks(Law.CONVERGES, detail)


def _missing(head: SetHead, machine: Machine) -> set[str]:
    return set(head.references) - machine.runtime.present


def _thrashes(world: World, machine: Machine) -> bool:
    since = world.loop.time() - THRASHING_SECONDS
    return sum(when > since for when in machine.losses) >= THRASHING_LOSSES
