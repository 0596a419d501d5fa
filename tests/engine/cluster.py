"""A whole fleet in virtual time: coordinators and the logic of real agents on a bus in memory.

Nothing opens a port or waits. A run is decided by its seed, and what happens is looked at through
the same port that the API uses.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec

from agent.agent import Agent
from agent.credentials import Keyring
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common import subjects
from coordinator.core.scheduler import Limits
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from coordinator.engine.end_notifications import Deliverer
from coordinator.engine.leader import Leader, LeaderSettings
from coordinator.engine.live import LiveChanges
from coordinator.engine.loop import Clock
from coordinator.engine.persistence import Persistently
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_clock import StoreClock
from coordinator.engine.webhooks import Look
from coordinator.lease import Lease
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.port import StoreAway
from coordinator.streams import definitions
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from tests.core.stage import spec

EPOCH = 1_768_576_354.0
"""2026-01-16T15:12:34Z: when virtual time begins."""


class Delivered(Deliverer):
    """Takes every webhook at once, and remembers whose."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, TaskStatus]] = []

    async def deliver(self, head: TaskHead, look: Look) -> None:
        """Look the end up as a real one would, and take it."""
        shot = await look()
        self.bodies.append((head.id, shot.head.status))


class Coordinator:
    """One coordinator: what ``main`` wires, without HTTP."""

    def __init__(
        self, cluster: Cluster, name: str, bus: VirtualBus, limits: Limits, ahead: float
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.bus = bus
        self.poison: list[str] = []
        self.service = Service(LiveChanges())
        self._rng = random.Random(f"{cluster.seed}/{name}/{loop.time()}")

        def wall() -> float:
            return EPOCH + loop.time() + ahead

        clock = Clock(wall, loop.time)
        self.store_clock = StoreClock(bus, clock, wall)
        self.service.watch_clock(self.store_clock)
        self._context = Context(
            bus=bus,
            clock=clock,
            store_clock=self.store_clock,
            rng=self._rng,
            live=self.service.live,
            new_source=AnnouncedNodes,
            on_poison=self.poison.append,
            limits=limits,
            max_pending=cluster.max_pending,
            forget_seconds=600.0,
        )
        self._lease = Lease(bus, owner=name, name=name, clock=loop.time, rng=self._rng)
        self._settings = LeaderSettings(
            source="/ips/test", retention_seconds=3600.0, confirms=self._lease.confirms
        )
        self._webhooks = cluster.webhooks
        self._jobs: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        """Begin to follow, and to lead whenever the lease is held."""
        self._jobs = [
            asyncio.create_task(self.bus.run(), name=f"{self.name} bus"),
            asyncio.create_task(self._serve(), name=self.name),
        ]

    async def _serve(self) -> None:
        await Persistently(self._rng)(self.store_clock.begin)

        def new_leader(replica: Replica, epoch: int) -> Leader:
            return Leader(self._context, replica, epoch, self._webhooks, self._settings)

        await self.service.serve(
            self.bus, self._lease, lambda _: Replica(self._context), new_leader
        )

    async def kill(self) -> None:
        """End at once, as kill -9 does: the lease is not given back."""
        for job in self._jobs:
            job.cancel()
        await asyncio.wait(self._jobs)
        await self.bus.close()

    async def stop(self) -> None:
        """End in order."""
        self._jobs[1].cancel()
        await asyncio.wait(self._jobs[1:])
        await self._lease.release()
        self._jobs[0].cancel()
        await asyncio.wait(self._jobs)
        await self.bus.close()

    @property
    def died(self) -> BaseException | None:
        """What ended it, where nobody asked for that."""
        job = self._jobs[1]
        return job.exception() if job.done() and not job.cancelled() else None


class Node:
    """One node: an agent on a simulated runtime."""

    def __init__(
        self, cluster: Cluster, name: str, bus: VirtualBus, runtime: SimulatedRuntime
    ) -> None:
        loop = asyncio.get_running_loop()
        settings = AgentSettings.load(
            {"IPS_NODE_NAME": name, "IPS_NATS_URL": "nats://bus", "IPS_RUNTIME": "simulated"}
        )
        self.bus = bus
        self.runtime = runtime
        self.agent = Agent(
            settings=settings,
            bus=bus,
            runtime=runtime,
            keyring=Keyring(None),
            rng=random.Random(f"{cluster.seed}/{name}/{loop.time()}"),
        )
        self._jobs = [
            asyncio.create_task(bus.run(), name=f"{name} bus"),
            asyncio.create_task(self.agent.run(), name=name),
        ]

    async def kill(self) -> None:
        """End at once."""
        for job in self._jobs:
            job.cancel()
        await asyncio.wait(self._jobs)
        await self.bus.close()


class Cluster:
    """A bus, coordinators and nodes. Close it at the end of the test."""

    def __init__(self, *, seed: int = 1, max_pending: int = 1000) -> None:
        self.seed = seed
        self.max_pending = max_pending
        self.server = VirtualServer(epoch=EPOCH)
        self.server.start()
        self.webhooks = Delivered()
        self.coordinators: list[Coordinator] = []
        self.nodes: dict[str, Node] = {}
        self._buses = 0

    async def __aenter__(self) -> Self:
        bus = await self._connect("setup")
        for definition in definitions(1):
            await bus.ensure_stream(definition)
        self.observer = bus
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.kill()
        for coordinator in self.coordinators:
            await coordinator.kill()
        await self.observer.close()

    async def _connect(self, name: str) -> VirtualBus:
        self._buses += 1
        return await VirtualBus.connect(self.server, f"{name}-{self._buses}", seed=self.seed)

    async def coordinator(
        self, name: str = "c1", *, ahead: float = 0.0, **limits: Any
    ) -> Coordinator:
        """Start one on a machine whose clock is so many seconds ahead."""
        wanted = Limits(**{"first_look": 1.0, "agent_wait": 30.0} | limits)
        coordinator = Coordinator(self, name, await self._connect(name), wanted, ahead)
        self.coordinators.append(coordinator)
        coordinator.start()
        return coordinator

    async def leader(self, **limits: Any) -> Coordinator:
        """Start one and wait until it leads and takes tasks."""
        coordinator = await self.coordinator(**limits)
        await self.until(lambda: coordinator.service.not_ready() is None)
        return coordinator

    async def node(self, name: str, **runtime: Any) -> Node:
        """Start an agent on a runtime that takes one second for an image."""
        wanted: dict[str, Any] = {"seconds": 1.0, "size": 1000, "seed": name} | runtime
        simulated = SimulatedRuntime(**wanted)
        node = Node(self, name, await self._connect(name), simulated)
        self.nodes[name] = node
        return node

    async def until(self, condition: Callable[[], bool], within: float = 600.0) -> None:
        """Let virtual time pass until it is so."""
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(0.05)

    async def over(self, coordinator: Coordinator, task: str, within: float = 600.0) -> TaskHead:
        """Wait for a task's end."""

        def head() -> TaskHead | None:
            try:
                return coordinator.service.tasks.head(task)
            except StoreAway:
                return None

        await self.until(lambda: (found := head()) is not None and found.status.is_final, within)
        found = head()
        assert found is not None
        return found

    async def told(self, coordinator: Coordinator, task: str) -> None:
        """Wait until the world has been told of a task's end."""

        def is_told() -> bool:
            head = coordinator.service.tasks.head(task)
            return head is not None and head.status.is_final and not head.notify

        await self.until(is_told)

    async def create(
        self,
        coordinator: Coordinator,
        wanted: TaskSpec | None = None,
        names: Sequence[str] | None = None,
    ) -> str:
        """Create a task of one image on all nodes, or what is wanted; its id."""
        chosen = wanted or spec("a")
        if names is not None:
            chosen = msgspec.structs.replace(chosen, names_nodes=True)
        return (await coordinator.service.create(chosen, names)).head.id

    async def events(self, task: str) -> list[str]:
        """The types of all stored events of a task, in their order, progress left out."""
        found = []
        async for records in self.observer.replay(subjects.EVENTS, subjects.events_of(task)):
            for record in records:
                event = msgspec.json.decode(record.data)
                where = event["subject"].partition("/")[2]
                if event["type"] != "task.progress":
                    found.append(f"{event['type']} {where}".strip())
        return found

    async def outcomes(self) -> int:
        """How many outcomes are stored."""
        return (await self.observer.stream_state(subjects.RESULTS)).messages
