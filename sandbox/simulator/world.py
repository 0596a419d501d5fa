"""The fleet of one history: places that programs come back to, and a witness of all they do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TypeVar, cast

import aiohttp

from common.bus import OnState
from coordinator.core.scheduler import Limits
from coordinator.core.sets.core import SetLimits
from coordinator.engine.leader import Couriers
from coordinator.engine.webhooks import Webhooks
from coordinator.faults import Faults
from sandbox.simulator.cluster import Cluster, Coordinator, Node, Presence
from sandbox.simulator.laws import Law
from sandbox.simulator.places import Disk, Receiver, TroubledRuntime
from sandbox.simulator.strikes import Plan
from sandbox.simulator.witness import Witness
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.link import Link
from sandbox.virtual.time import VirtualLoop


def pick(choices: Sequence[T], who: float) -> T | None:
    """One of those that are there; None where nobody is."""
    return choices[int(who * len(choices))] if choices else None


T = TypeVar("T")


class Seat:
    """Where a coordinator runs, and is started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs: Coordinator | None = None
        self.ahead = 0.0
        """By how many seconds the wall clock of its machine is ahead."""


class Machine:
    """A node: its disk and its runtime, and the agent that runs there."""

    def __init__(self, name: str, pull_seconds: float) -> None:
        self.name = name
        self.disk = Disk()
        self.runtime = TroubledRuntime(pull_seconds, name)
        self.runs: Node | None = None
        self.losses: list[float] = []
        """When images vanished, by the loop's clock."""


class World(Cluster):
    """Begins empty; ``populate`` it."""

    def __init__(self, plan: Plan, witness: Witness) -> None:
        super().__init__(seed=plan.seed, witness=witness)
        self.plan = plan
        self.laws = witness
        self.receiver = Receiver(witness.delivered)
        self.seats = [Seat(f"c{number}") for number in range(1, plan.coordinators + 1)]
        self.machines = [
            Machine(f"n{number}", plan.pull_seconds) for number in range(1, plan.nodes + 1)
        ]
        self.set_limits = SetLimits(max_repairs=plan.max_repairs)
        self.server.on_sent = witness.sent
        self.server.jetstream.on_stored = witness.stored
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101 -- there is no other
        self.loop = loop
        self._limits = Limits(
            first_look=1.0, agent_wait=30.0, max_nodes_in_flight=plan.max_nodes_in_flight
        )

    def webhooks_of(self, coordinator: Coordinator) -> Couriers:
        """The real ones, over the receiver of this world."""
        http = cast("aiohttp.ClientSession", self.receiver)
        rng = random.Random(f"{self.seed}/webhooks/{coordinator.name}")  # noqa: S311 -- repeatable
        return Webhooks(http, coordinator.clock, rng, Faults(coordinator.faults.append))

    async def populate(self) -> None:
        """Start all programs."""
        for seat in self.seats:
            await self.seat_coordinator(seat)
        for machine in self.machines:
            await self.start_agent(machine)

    async def _reach(self, name: str, on_state: OnState | None = None) -> VirtualBus:
        bus = await self._connect(name, on_state)
        bus.link.delay = (0.0, self.plan.link_delay)
        return bus

    async def seat_coordinator(self, seat: Seat) -> None:
        """Start a coordinator, unless one runs there."""
        if seat.runs is None:
            bus = await self._reach(seat.name)
            if seat.runs is not None:
                await bus.close()
                return
            seat.runs = Coordinator(self, seat.name, bus, self._limits, seat.ahead)
            seat.runs.start()

    async def start_agent(self, machine: Machine) -> None:
        """Start an agent, unless one runs there."""
        if machine.runs is None:
            presence = Presence()
            bus = await self._reach(machine.name, presence.bus_changed)
            if machine.runs is not None:
                await bus.close()
                return
            machine.runs = Node(
                self,
                machine.name,
                bus,
                machine.runtime,
                presence,
                spool=machine.disk,
                observers=(self.laws.agents.watch(machine.name),),
                settings={"IPS_HEARTBEAT_SECONDS": f"{self.plan.heartbeat_seconds:g}"},
            )

    async def vacate(self, place: Seat | Machine, *, unsent: bool, in_order: bool = False) -> None:
        """End what runs at a place: at once, or in order."""
        program, place.runs = place.runs, None
        if program is None:
            return
        self.note_death(program)
        self.wake(program)
        if isinstance(place, Machine) and not in_order:
            self.laws.agents.gone(place.name)
        if in_order:
            await (program.stop() if isinstance(program, Coordinator) else program.stop(5.0))
        else:
            program.sever(unsent=unsent)
            await program.kill()
        if isinstance(place, Machine) and place.runs is None:
            self.laws.agents.gone(place.name)

    def wake(self, program: Coordinator | Node) -> None:
        """End its standing still, if it does."""
        self.loop.resume(program.bus.link.name)
        program.bus.link.read_again()

    def note_death(self, program: Coordinator | Node) -> None:
        """See whether a program has ended by itself, or a part of it has failed."""
        if (fault := program.died) is not None:
            self.laws.breaks(Law.NOTHING_DIES, f"{program.name} has ended: {fault!r}")
        if program.bus.handler_faults:
            self.laws.breaks(Law.NOTHING_DIES, f"{program.name} fails at a message")
        if isinstance(program, Coordinator) and program.faults:
            self.laws.breaks(Law.NOTHING_DIES, f"parts of {program.name} fail: {program.faults}")

    @property
    def leading(self) -> list[Coordinator]:
        """Those who think that they lead: one, or for a moment more."""
        return [c for seat in self.seats if (c := seat.runs) and c.service.standing().leads]

    @property
    def answering(self) -> list[Coordinator]:
        """Those who take tasks and answer."""
        return [c for seat in self.seats if (c := seat.runs) and c.service.not_ready() is None]

    def pick_answering(self, who: float) -> Coordinator | None:
        """One of those that answer."""
        return pick(self.answering, who)

    @property
    def programs(self) -> list[Coordinator | Node]:
        """All that run."""
        places: list[Seat | Machine] = [*self.seats, *self.machines]
        return [place.runs for place in places if place.runs is not None]

    @property
    def links(self) -> list[Link]:
        """Those of all that run."""
        return [program.bus.link for program in self.programs]

    async def __aexit__(self, *rest: object) -> None:
        places: list[Seat | Machine] = [*self.seats, *self.machines]
        for place in places:
            await self.vacate(place, unsent=True)
        await super().__aexit__(*rest)
