"""A replica without a leader: it takes everything in, answers, and says nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from common import subjects
from common.bus import BusError
from common.clock import Clock
from common.lifecycle import leaves
from common.messages import (
    AttemptProgress,
    Heartbeat,
    Hold,
    ImageProgress,
    ImageState,
    Outcome,
    Progress,
)
from common.subjects import AttemptKey
from coordinator.core.events import AgentHeard, BusFellSilent, Event, TaskStarted
from coordinator.core.scheduler import Decision, Limits
from coordinator.core.task import TaskStatus
from coordinator.engine.live import LiveChanges
from coordinator.engine.loop import EVERYTHING, Observer
from coordinator.engine.replica import Context, Replica
from coordinator.engine.store_clock import StoreClock
from coordinator.faults import Faults
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.snapshots import Transfer
from coordinator.store import Store
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.server import VirtualServer
from sandbox.virtual.time import virtual
from tests.core.stage import head, pulled, spec
from tests.engine.following import OTHER, TASK, connected, stored

INSTANCE = "0123456789abcdef"


class QuietBus(VirtualBus):
    """Remembers what its program says beside questions: messages, and subjects of stored ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.said: list[str] = []

    def publish(self, subject: str, payload: bytes, *arguments: Any, **options: Any) -> None:
        """As ``Bus.publish``."""
        self.said.append(subject)
        super().publish(subject, payload, *arguments, **options)

    def ask(self, subject: str, *arguments: Any, **options: Any) -> None:
        """As ``Bus.ask``."""
        self.said.append(subject)
        super().ask(subject, *arguments, **options)

    async def store(self, subject: str, payload: bytes, **options: Any) -> int:
        """As ``Bus.store``."""
        self.said.append(subject)
        return await super().store(subject, payload, **options)


class Followed:
    """A replica on a bus of its own, and the world around it."""

    def __init__(self, bus: QuietBus, world: VirtualBus, observers: Sequence[Observer]) -> None:
        loop = asyncio.get_running_loop()
        self.bus, self.world = bus, world
        self.poison: list[str] = []
        self.faults: list[str] = []
        """The part of each fault that ended nothing."""
        self.live = LiveChanges()
        self.events: list[Event] = []
        clock = Clock(world.server.now, loop.time)
        context = Context(
            bus=bus,
            clock=clock,
            store_clock=StoreClock(bus, clock, world.server.now),
            rng=random.Random(1),
            live=self.live,
            new_source=AnnouncedNodes,
            on_poison=self.poison.append,
            limits=Limits(first_look=1.0, agent_wait=30.0),
            max_pending=1000,
            forget_seconds=600.0,
            faults=Faults(self.faults.append),
        )
        self.replica = Replica(context, [(o, EVERYTHING) for o in (self._observe, *observers)])
        self.connecting = asyncio.create_task(bus.run())
        self.running = asyncio.create_task(self.replica.run())

    def _observe(self, event: Event, _: Decision) -> None:
        self.events.append(event)

    def beat(self, node: str = "n1", *holds: int) -> None:
        """An agent speaks, and says which attempts of the task it holds."""
        held = [Hold(task=TASK, attempt=attempt) for attempt in holds]
        heartbeat = Heartbeat(agent_version="1", driver="cri", runtime="containerd", holds=held)
        self.world.publish(subjects.heartbeat(node, INSTANCE), msgspec.json.encode(heartbeat))

    async def start(self, *nodes: str) -> None:
        """A leader elsewhere starts the task."""
        store = Store(self.world)
        created = await store.create_head(head(TASK, spec(max_retries=1)))
        await store.save_list(TASK, "nodes", nodes)
        running = msgspec.structs.replace(
            created.head, status=TaskStatus.RUNNING, nodes=len(nodes), node_list="nodes"
        )
        await store.swap_head(created, running)

    async def end(self) -> None:
        """It is over."""
        for job in (self.running, self.connecting):
            job.cancel()
        await asyncio.wait([self.running, self.connecting])
        await self.bus.close()


@asynccontextmanager
async def followed(*observers: Observer) -> AsyncIterator[Followed]:
    """A replica that follows a store which others write to."""
    server = VirtualServer()
    async with connected(server) as world:
        replica = Followed(await QuietBus.connect(server, "replica"), world, observers)
        try:
            yield replica
        finally:
            await replica.end()


@virtual
async def test_a_follower_takes_everything_in_and_says_nothing() -> None:
    """No command, no event, no verdict, however much would be to be done.

    Not even the stop of work that was decided by somebody else.
    """
    async with followed() as here:
        await here.replica.loaded.wait()
        here.beat("n1", 1)
        await here.start("n1", "n2", "n3")
        await asyncio.sleep(1.0)
        await Store(here.world).store_outcome(AttemptKey(TASK, "n1", 1), Outcome(images=[]))
        await Store(here.world).create_head(head(OTHER))
        for _ in range(60):
            here.beat("n2")
            await asyncio.sleep(10.0)
        core = here.replica.core
        assert not core.leads
        assert core.runs[TASK].by_name["n1"].phase.value == "retrying"
        assert OTHER in core.waiting
        probes = [subject for subject in here.bus.said if "probe" in subject]
        wanted = {subjects.BRIEFING_WANTED}  # by who follows nobody yet, once
        assert [subject for subject in here.bus.said if subject not in wanted] == probes
        assert len(probes) > 100


@virtual
async def test_what_agents_say_reaches_whoever_asks_and_watches() -> None:
    """Heartbeats, held work, bytes; each change is told to those who look."""
    async with followed() as here:
        woken: list[str] = []
        await here.replica.loaded.wait()
        fleet = here.live.of_fleet(lambda: woken.append("fleet"))
        task = here.live.of_task(TASK, lambda: woken.append("task"))
        await here.start("n1", "n2")
        await asyncio.sleep(1.0)
        here.beat("n1", 1)
        await asyncio.sleep(1.0)
        assert set(fleet.take(10)) == {"n1"}
        assert set(task.take(10)) == {"n1"}
        image = ImageProgress(image="a", state=ImageState.PULLING, bytes=5)
        report = Progress(attempts=[AttemptProgress(task=TASK, attempt=1, images=[image])])
        here.world.publish(subjects.progress("n1", INSTANCE), msgspec.json.encode(report))
        await asyncio.sleep(1.0)
        assert set(task.take(10)) == {"n1"}
        assert woken == ["fleet", "task", "task"]
        shot = here.replica.tasks.snapshot(TASK)
        assert shot is not None
        assert shot.transfer == Transfer(bytes=5)
        node = here.replica.nodes.get("n1")
        assert node is not None
        assert node.connected
        await Store(here.world).store_outcome(AttemptKey(TASK, "n1", 1), pulled())
        await asyncio.sleep(1.0)
        shot = here.replica.tasks.snapshot(TASK)
        assert shot is not None
        assert shot.transfer == Transfer()


@virtual
async def test_poison_is_counted_by_its_kind_and_ends_nothing() -> None:
    """What comes behind it is heard."""
    async with followed() as here:
        await here.replica.loaded.wait()
        deep = b'{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        for data in (b"", b"\xff", deep):
            here.world.publish(subjects.heartbeat("n1", INSTANCE), data)
            here.world.publish(subjects.progress("n1", INSTANCE), data)
        here.beat("n2")
        await asyncio.sleep(1.0)
        assert sorted(here.poison) == ["heartbeat"] * 3 + ["progress"] * 3
        assert here.replica.nodes.get("n1") is None
        assert here.replica.nodes.get("n2") is not None
        assert not here.running.done()


@virtual
async def test_a_store_that_is_away_at_the_start_ends_it_with_an_error() -> None:
    """It was never loaded; whoever runs it makes another one."""
    async with followed() as here:
        here.world.jetstream.lead(subjects.RESULTS, leads=False)
        await asyncio.wait([here.running])
        error = here.running.exception()
        assert isinstance(error, BaseExceptionGroup)
        assert all(isinstance(leaf, BusError) for leaf in leaves(error))
        assert not here.replica.loaded.is_set()


@virtual
async def test_a_store_that_goes_away_later_is_waited_for() -> None:
    """What is known is answered meanwhile; then everything is taken in."""
    async with followed() as here:
        await here.start("n1", "n2")
        await here.replica.loaded.wait()
        here.world.server.kill()
        await asyncio.sleep(300.0)
        assert here.replica.tasks.snapshot(TASK) is not None
        assert here.replica.health.trouble is not None
        assert here.replica.core.fleet.clock.stands
        assert any(isinstance(event, BusFellSilent) for event in here.events)
        here.world.server.start()
        connecting = asyncio.create_task(here.world.run())
        await here.world.wait_connected()
        await Store(here.world).store_outcome(AttemptKey(TASK, "n1", 1), pulled())
        await asyncio.sleep(20.0)
        assert here.replica.core.runs[TASK].by_name["n1"].phase.value == "succeeded"
        assert here.replica.health.trouble is None
        assert not here.replica.core.fleet.clock.stands
        connecting.cancel()
        await asyncio.wait([connecting])


@virtual
async def test_a_store_that_went_back_ends_it() -> None:
    """What it has told may never have been: it must be read from its beginning."""
    async with followed() as here:
        await here.start("n1")
        await here.replica.loaded.wait()
        await asyncio.sleep(1.0)
        here.world.server.kill()
        await asyncio.sleep(1.0)
        here.world.jetstream.streams[f"KV_{subjects.TASKS_BUCKET}"].last_seq = 0
        here.world.server.start()
        await asyncio.wait([here.running], timeout=60.0)
        error = here.running.exception()
        assert isinstance(error, BaseExceptionGroup)
        assert any("was read already" in str(leaf) for leaf in leaves(error))


@virtual
async def test_a_fault_of_an_observer_is_counted_and_ends_nothing() -> None:
    """Whoever looks behind it sees the event, and the core goes on."""
    heard = AgentHeard("n1", INSTANCE)

    def observe(event: Event, _: Decision) -> None:
        if event == heard:
            raise RuntimeError("planted")

    behind: list[Event] = []
    async with followed(observe, lambda event, _: behind.append(event)) as here:
        await here.replica.loaded.wait()
        here.beat()
        await asyncio.sleep(5.0)
        assert here.faults == ["observer"]
        assert heard in behind
        assert behind == here.events
        await here.start("n1")
        await asyncio.sleep(1.0)
        assert TASK in here.replica.core.runs
        assert not here.running.done()


@virtual
async def test_after_its_end_it_hears_and_does_nothing() -> None:
    """A job that comes too late is left to the next one, without a word."""
    async with followed() as here:
        await here.replica.loaded.wait()
        here.running.cancel()
        await asyncio.wait([here.running])
        heard = len(here.events)
        here.beat()
        await asyncio.sleep(10.0)
        assert len(here.events) == heard
        assert here.replica.nodes.get("n1") is None
        done: list[str] = []

        async def job() -> None:
            done.append("done")

        here.replica.spawn(job())
        await asyncio.sleep(1.0)
        assert done == []


@virtual
async def test_one_that_comes_later_knows_the_same() -> None:
    """What the first one saw happen the second one reads."""
    async with followed() as first:
        await first.replica.loaded.wait()
        await first.start("n1", "n2")
        await Store(first.world).store_outcome(AttemptKey(TASK, "n1", 1), pulled())
        await Store(first.world).create_head(stored(OTHER).head)
        await asyncio.sleep(1.0)
        second = Followed(await QuietBus.connect(first.world.server, "second"), first.world, ())
        await second.replica.loaded.wait()
        for here in (first, second):
            run = here.replica.core.runs[TASK]
            assert [node.phase.value for node in run.nodes] == ["succeeded", "waiting"]
            assert list(here.replica.tasks.ids()) == [OTHER, TASK]
            assert here.replica.tasks.outcomes_seen.upto == 1
            started = [event for event in here.events if isinstance(event, TaskStarted)]
            assert len(started) == 1
        await second.end()
