"""A whole fleet in virtual time: coordinators and the logic of real agents on a bus in memory.

Nothing opens a port or waits. A run is decided by its seed, and what happens is looked at through
the same port that the API uses.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, Self, TypeVar

import msgspec

from agent.agent import Agent
from agent.credentials import Keyring
from agent.node_credentials import NodeCredentials
from agent.notices import Observer as AgentObserver
from agent.outbox import OutcomeSpool
from agent.runtime.protocol import Runtime
from agent.runtime.simulated import SimulatedRuntime
from agent.settings import AgentSettings
from common import subjects
from common.bus import OnState
from common.clock import Clock
from coordinator.core.scheduler import Limits
from coordinator.core.sets.core import SetLimits
from coordinator.core.task import TaskHead, TaskImage, TaskSpec, TaskStatus
from coordinator.documents import Document
from coordinator.engine.leader import Couriers, Leader, LeaderSettings
from coordinator.engine.live import LiveChanges
from coordinator.engine.loop import EVERYTHING
from coordinator.engine.loop import Observer as LoopObserver
from coordinator.engine.persistence import Persistently
from coordinator.engine.replica import Context, Replica
from coordinator.engine.service import Service
from coordinator.engine.store_clock import StoreClock
from coordinator.engine.webhooks import Look, Parcel
from coordinator.faults import Faults
from coordinator.lease import Lease
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.port import StoreAway
from coordinator.streams import definitions
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from sandbox.virtual.time import PROCESS

T = TypeVar("T")

EPOCH = 1_768_576_354.0
"""2026-01-16T15:12:34Z: when virtual time begins."""


def task_of(*images: str, **fields: Any) -> TaskSpec:
    """What a user asked for; one image ``a`` where none is given."""
    names = images or ("a",)
    work = tuple(TaskImage(name=name, reference=f"ref/{name}") for name in names)
    return TaskSpec(images=names, work=work, **fields)


class Delivered(Couriers):
    """Takes every webhook at once, and remembers whose."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, TaskStatus]] = []
        self.parcels: list[tuple[str, Document]] = []
        """What was told of anything else, with the id of each delivery."""

    async def deliver(self, head: TaskHead, look: Look) -> None:
        """Look the end up as a real one would, and take it."""
        shot = await look()
        self.bodies.append((head.id, shot.head.status))

    async def bring(self, parcel: Parcel) -> None:
        """Take it."""
        self.parcels.append((parcel.id, await parcel.look()))


class Onlooker(Protocol):
    """Watches what coordinators decide."""

    def follows(self, coordinator: Coordinator) -> LoopObserver:
        """Who is shown each event of the coordinator's next replica, and what came of it."""


class _Process:
    """What runs under one name until it is killed."""

    def __init__(self, name: str, bus: VirtualBus) -> None:
        self.name = name
        self.bus = bus
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, bus.link.name)
        self._jobs: list[asyncio.Task[Any]] = []
        self._requests: set[asyncio.Task[Any]] = set()

    def _begin(self, *jobs: Coroutine[Any, Any, Any]) -> None:
        loop = asyncio.get_running_loop()
        self._jobs = [loop.create_task(job, name=self.name, context=self._context) for job in jobs]

    def ask(self, request: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Have a user's request worked on inside of the process."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(request, context=self._context)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return task

    def sever(self, *, unsent: bool) -> None:
        """Let nothing more be heard of it; ``unsent``: not even what is on its way."""
        if unsent:
            self.bus.link.drop()
        self.bus.link.leave()

    async def kill(self) -> None:
        """End at once, as kill -9 does: nothing is given back."""
        jobs = [*self._jobs, *self._requests]
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
        await self.bus.close()

    @property
    def died(self) -> BaseException | None:
        """What ended it, where nobody asked for that."""
        for job in self._jobs:
            if job.done() and not job.cancelled() and (fault := job.exception()) is not None:
                return fault
        return None


class Coordinator(_Process):
    """One coordinator: what ``main`` wires, without HTTP."""

    def __init__(
        self, cluster: Cluster, name: str, bus: VirtualBus, limits: Limits, ahead: float
    ) -> None:
        super().__init__(name, bus)
        loop = asyncio.get_running_loop()
        self.ahead = ahead
        """By how many seconds its machine's clock is ahead."""
        self.poison: list[str] = []
        self.faults: list[str] = []
        """Parts that have failed, of those whose faults end nothing else."""
        self.replica: Replica | None = None
        """The newest, whether it leads or not."""
        self.leader: Leader | None = None
        """The newest."""
        self.service = Service(LiveChanges())
        self.rng = random.Random(f"{cluster.seed}/{name}/{loop.time()}")  # noqa: S311 -- repeatable
        self.clock = Clock(self._wall, loop.time)
        self.store_clock = StoreClock(bus, self.clock, self._wall)
        self.service.watch_clock(self.store_clock)
        self._witness = cluster.witness
        self._context_of_replicas = Context(
            bus=bus,
            clock=self.clock,
            store_clock=self.store_clock,
            rng=self.rng,
            live=self.service.live,
            new_source=AnnouncedNodes,
            on_poison=self.poison.append,
            limits=limits,
            max_pending=cluster.max_pending,
            set_limits=cluster.set_limits,
            forget_seconds=600.0,
            faults=Faults(self.faults.append),
        )
        self._lease = Lease(bus, owner=name, name=name, clock=loop.time, rng=self.rng)
        self._settings = LeaderSettings(
            source="/ips/test", retention_seconds=cluster.retention, confirms=self._lease.confirms
        )
        self._webhooks = cluster.webhooks_of(self)

    def _wall(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.ahead

    def start(self) -> None:
        """Begin to follow, and to lead whenever the lease is held."""
        self._begin(self.bus.run(), self._serve())

    async def _serve(self) -> None:
        await Persistently(self.rng)(self.store_clock.begin)
        await self.service.serve(self.bus, self._lease, self._new_replica, self._new_leader)

    def _new_replica(self, _has_led: bool) -> Replica:
        observers = () if self._witness is None else ((self._witness.follows(self), EVERYTHING),)
        self.replica = Replica(self._context_of_replicas, observers)
        return self.replica

    def _new_leader(self, replica: Replica, epoch: int) -> Leader:
        self.leader = Leader(
            self._context_of_replicas,
            replica,
            epoch,
            self._webhooks,
            self._settings,
            lambda: self._lease.held,
        )
        return self.leader

    async def stop(self) -> None:
        """End in order."""
        await self.service.hand_over()
        self._jobs[1].cancel()
        await asyncio.wait(self._jobs[1:])
        await self._lease.release()
        self._jobs[0].cancel()
        await asyncio.wait(self._jobs)
        await self.bus.close()

    @property
    def leads(self) -> bool:
        """Whether it is the one that assigns."""
        return self.service.standing().leads


class Presence:
    """Lets an agent know when its bus is connected again, as ``agent.readiness`` does."""

    def __init__(self) -> None:
        self.agent: Agent | None = None

    def bus_changed(self, connected: bool, _why: str) -> None:
        """Take the bus's state in."""
        if connected and self.agent is not None:
            self.agent.reconnected()


class Node(_Process):
    """One node: an agent on a runtime."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        bus: VirtualBus,
        runtime: Runtime,
        presence: Presence,
        *,
        spool: OutcomeSpool | None = None,
        observers: Sequence[AgentObserver] = (),
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(name, bus)
        loop = asyncio.get_running_loop()
        needed = {"IPS_NODE_NAME": name, "IPS_NATS_URL": "nats://bus", "IPS_RUNTIME": "simulated"}
        self.runtime = runtime
        self.agent = Agent(
            settings=AgentSettings.load(needed | (settings or {})),
            bus=bus,
            runtime=runtime,
            keyring=NodeCredentials(Keyring(None)),
            spool=spool,
            observers=observers,
            rng=random.Random(f"{cluster.seed}/{name}/{loop.time()}"),  # noqa: S311 -- repeatable
        )
        presence.agent = self.agent
        self._begin(bus.run(), self.agent.run())

    async def stop(self, within: float) -> None:
        """End in order, within so many seconds."""
        await self.agent.shut_down(within)
        await self.kill()


class Cluster:
    """A bus, coordinators and nodes. Close it at the end of the test."""

    def __init__(
        self,
        *,
        seed: int = 1,
        max_pending: int = 1000,
        retention: float = 3600.0,
        witness: Onlooker | None = None,
    ) -> None:
        self.seed = seed
        self.retention = retention
        """Seconds for which a task that is over is kept."""
        self.max_pending = max_pending
        self.set_limits = SetLimits()
        self.witness = witness
        self.server = VirtualServer(seed=seed, epoch=EPOCH)
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

    def webhooks_of(self, coordinator: Coordinator) -> Couriers:
        """Who delivers a coordinator's webhooks."""
        del coordinator
        return self.webhooks

    async def _connect(self, name: str, on_state: OnState | None = None) -> VirtualBus:
        self._buses += 1
        link = f"{name}-{self._buses}"
        return await VirtualBus.connect(self.server, link, seed=self.seed, on_state=on_state)

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
        await self.until(lambda: coordinator.leads)
        return coordinator

    async def node(self, name: str, **runtime: Any) -> Node:
        """Start an agent on a runtime that takes one second for an image."""
        wanted: dict[str, Any] = {"seconds": 1.0, "size": 1000, "seed": name} | runtime
        simulated = SimulatedRuntime(**wanted)
        presence = Presence()
        bus = await self._connect(name, presence.bus_changed)
        node = Node(self, name, bus, simulated, presence)
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
        assert found is not None  # noqa: S101 -- it was there a moment ago
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
        chosen = wanted or task_of("a")
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

    async def events_seen(self) -> int:
        """How many events were ever stored."""
        return (await self.observer.stream_state(subjects.EVENTS)).last_seq

    async def outcomes(self) -> int:
        """How many outcomes are stored."""
        stored = await self.observer.subjects(subjects.RESULTS)
        return sum(subjects.parse_result(subject) is not None for subject in stored)
