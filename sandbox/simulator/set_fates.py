"""What happens to warm sets: users put and delete them, images vanish, nodes join."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from coordinator.port import NoSuchSet, SetChanged, StoreAway
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import task_of
from sandbox.simulator.strikes import Kind, Strike
from sandbox.simulator.world import Machine, World, pick

NAMES: Final = ("s1", "s2", "s3")
MOST_NODES: Final = 8
PAUSED_SIZE: Final = 12
"""A strike of this size puts a set that is paused."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class SetFates:
    """Those strikes of one world."""

    def __init__(self, world: World, spawn: Spawn) -> None:
        """``spawn`` lets a user's request go on beside what else happens."""
        self.world = world
        self._spawn = spawn
        self.carry_out: dict[Kind, Callable[[Strike], Awaitable[None] | None]] = {
            Kind.PUT_SET: lambda strike: self._begin(self._put(strike)),
            Kind.DELETE_SET: lambda strike: self._begin(self._delete(strike)),
            Kind.LOSE_IMAGE: self._lose_image,
            Kind.JOIN: self._join,
        }

    def tempt(self) -> None:
        """Let vanish what only sets want that are deleted: nobody is to bring it back."""
        sets = self.world.laws.sets
        for machine in self.world.machines:
            for reference in sorted(machine.runtime.present & sets.unwanted):
                machine.runtime.lose(reference)
        sets.is_calm = True

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        self._spawn(request)

    async def _put(self, strike: Strike) -> None:
        coordinator = self.world.pick_answering(strike.who)
        if coordinator is None:
            return
        size = strike.size
        name = NAMES[size % len(NAMES)]
        images = "abcd"[size % 3 : 2 + size % 3]
        spec = task_of(
            *images,
            batch_size=1 + size % 3,
            max_retries=size % 3,
            retry_delay=(1, 5, 20)[size % 3],
            priority=size % 2 * 5,
        )
        order = SetOrder(name, spec, paused=size == PAUSED_SIZE)
        asked = coordinator.ask(coordinator.service.sets.put(order, None, None))
        try:
            done = await asyncio.shield(asked)
        except (StoreAway, SetChanged):
            return
        except asyncio.CancelledError:
            if asked.cancelled():
                return  # its coordinator was killed
            raise
        self.world.laws.sets.put(name, done.stored.revision)

    async def _delete(self, strike: Strike) -> None:
        coordinator = self.world.pick_answering(strike.who)
        name = pick(self.world.laws.sets.names, strike.who)
        if coordinator is None or name is None:
            return
        asked = coordinator.ask(coordinator.service.sets.delete(name, None))
        try:
            await asyncio.shield(asked)
        except (StoreAway, NoSuchSet):
            return
        except asyncio.CancelledError:
            if asked.cancelled():
                return
            raise
        self.world.laws.sets.deleted(name)

    def _lose_image(self, strike: Strike) -> None:
        machine = pick(self.world.machines, strike.who)
        if machine is None:
            return
        present = sorted(machine.runtime.present)
        if present:
            machine.runtime.lose(present[strike.size % len(present)])
            machine.losses.append(self.world.loop.time())

    async def _join(self, _strike: Strike) -> None:
        machines = self.world.machines
        if len(machines) < MOST_NODES:
            machine = Machine(f"n{len(machines) + 1}", self.world.plan.pull_seconds)
            machines.append(machine)
            await self.world.start_agent(machine)
