"""The engine as the API sees it: who answers, and what it says while nobody can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from common import texts
from common.bus import BusError
from common.text import Text
from coordinator.engine.leader import DeposedError
from coordinator.engine.live import LiveChanges
from coordinator.engine.service import ANEW_SECONDS, Service
from coordinator.port import Standing, StoreAway
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.following import AWAY, TASK

INSTANCE = "0123456789abcdef"


class FakeBus:
    """A connection, or none."""

    connected = True
    state_text = "not connected: Connection refused"


class FakeLease:
    """A lease that is given and taken as a test says."""

    name = "c1"

    def __init__(self) -> None:
        self.holder: str | None = None
        self.given: asyncio.Queue[int] = asyncio.Queue()
        self.taken = asyncio.Event()

    async def acquire(self) -> int:
        """As ``Lease.acquire``."""
        epoch = await self.given.get()
        self.holder = None
        return epoch

    async def rest(self) -> int:
        """As ``Lease.rest``."""
        return 7

    async def lost(self) -> None:
        """As ``Lease.lost``."""
        await self.taken.wait()
        self.taken.clear()


class Health:
    """What is said of the store."""

    trouble: str | None = None


class FakeCore:
    """Two tasks run."""

    runs = ("one", "two")


class FakeLookups:
    """Finds a task, unless the store is away."""

    def __init__(self) -> None:
        self.head: object = object()
        self.looked_for: list[str] = []
        self.trouble: BusError | None = None

    async def find(self, task: str) -> None:
        """As ``Lookups.find``."""
        self.looked_for.append(task)
        if self.trouble is not None:
            raise self.trouble


class FakeTasks:
    """Knows what was found."""

    def __init__(self, lookups: FakeLookups) -> None:
        self._lookups = lookups

    def head(self, task: str) -> object:
        """As ``TaskTable.head``."""
        return self._lookups.head if task in self._lookups.looked_for else None


class FakeReplica:
    """Loads when it is told to, and ends as it is told."""

    def __init__(self) -> None:
        self.loaded = asyncio.Event()
        self.health = Health()
        self.core = FakeCore()
        self.lookups = FakeLookups()
        self.tasks: Any = FakeTasks(self.lookups)
        self.nodes = object()
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False

    async def run(self) -> None:
        """Follow until something ends it."""
        try:
            await self.end
        finally:
            self.ended = True


class FakeLeader:
    """Leads, and may be told of a newer one."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.said: list[str] = []
        self.ended = False

    @property
    def journal(self) -> FakeLeader:
        """Its own."""
        return self

    def deposed(self, why: str) -> None:
        """Note that it leads no more."""
        self.said.append(why)

    async def run(self) -> None:
        """Lead until something ends it."""
        try:
            await self.end
        finally:
            self.ended = True


class Served:
    """A service over replicas and leaders that a test makes come and go."""

    def __init__(self) -> None:
        self.service = Service(LiveChanges())
        self.bus, self.lease = FakeBus(), FakeLease()
        self.replicas: list[FakeReplica] = []
        self.leaders: list[FakeLeader] = []
        self.led_before: list[bool] = []
        self.job: asyncio.Task[NoReturn] | None = None

    def start(self) -> None:
        """Begin to serve."""
        serve: Callable[..., Any] = self.service.serve
        self.job = asyncio.create_task(
            serve(self.bus, self.lease, self._new_replica, self._new_leader)
        )

    def _new_replica(self, led_before: bool) -> FakeReplica:
        self.led_before.append(led_before)
        self.replicas.append(FakeReplica())
        return self.replicas[-1]

    def _new_leader(self, _: FakeReplica, epoch: int) -> FakeLeader:
        self.leaders.append(FakeLeader(epoch))
        return self.leaders[-1]

    async def lead(self, epoch: int = 1) -> None:
        """The newest replica is loaded and gets the lease."""
        self.replicas[-1].loaded.set()
        self.lease.given.put_nowait(epoch)
        await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Stop."""
        assert self.job is not None
        self.job.cancel()
        await asyncio.wait([self.job])


def refused(service: Service) -> Text:
    """What is said to whoever reads."""
    for read in (lambda: service.tasks, lambda: service.nodes):
        with pytest.raises(StoreAway) as away:
            read()
    assert away.value.text == service.unreadable()
    return away.value.text


async def write_refused(service: Service) -> Text:
    """What is said to whoever creates or cancels."""
    with pytest.raises(StoreAway) as away:
        await service.create(spec(), None)
    with pytest.raises(StoreAway):
        await service.cancel(TASK)
    assert away.value.text == service.not_ready()
    return away.value.text


@virtual
async def test_what_is_said_from_the_start_until_it_leads() -> None:
    """Each step in its own sentence."""
    served = Served()
    service = served.service
    assert refused(service) == texts.COORDINATOR_STARTING()
    waiting = texts.NATS_AWAY(why="it is waited for")
    service.say_starting(waiting)
    assert refused(service) == await write_refused(service) == waiting
    served.start()
    await asyncio.sleep(1.0)
    assert refused(service) == texts.COORDINATOR_LOADING()
    served.bus.connected = False
    assert refused(service) == texts.NATS_AWAY(why=FakeBus.state_text)
    served.bus.connected = True
    served.lease.holder = "c9"
    assert refused(service) == await write_refused(service) == texts.COORDINATOR_LOADING()
    assert service.active_tasks() == 0
    await served.lead()
    assert service.unreadable() is None
    assert service.not_ready() is None
    assert service.tasks is served.replicas[0].tasks
    assert service.nodes is served.replicas[0].nodes
    assert service.active_tasks() == 2
    assert served.led_before == [False]
    await served.end()


@virtual
async def test_nobody_leads_before_everything_is_loaded() -> None:
    """However free the lease is."""
    served = Served()
    served.start()
    served.lease.given.put_nowait(1)
    await asyncio.sleep(60.0)
    assert served.leaders == []
    served.replicas[0].loaded.set()
    await asyncio.sleep(0.01)
    assert [leader.epoch for leader in served.leaders] == [1]
    await served.end()


@virtual
async def test_reads_go_on_while_writes_are_refused() -> None:
    """The store is away or full, or the lease cannot be renewed: each has its sentence."""
    served = Served()
    served.start()
    await asyncio.sleep(0.01)
    await served.lead()
    service, replica = served.service, served.replicas[0]
    replica.health.trouble = "disk full"
    assert await write_refused(service) == texts.STORE_REFUSES_WRITES(why="disk full")
    assert service.tasks is replica.tasks
    replica.health.trouble = None
    served.bus.connected = False
    assert await write_refused(service) == texts.NATS_AWAY(why=FakeBus.state_text)
    assert service.tasks is replica.tasks
    served.bus.connected = True
    served.lease.taken.set()
    await asyncio.sleep(0.01)
    assert await write_refused(service) == texts.LEASE_NOT_RENEWED()
    assert service.tasks is replica.tasks
    assert service.active_tasks() == 0
    await served.end()


@virtual
async def test_a_replica_answers_whoever_leads() -> None:
    """As soon as it is loaded, and after it was deposed; only who leads counts running tasks."""
    served = Served()
    service = served.service
    served.start()
    await asyncio.sleep(0.01)
    served.lease.holder = "c9"
    served.replicas[0].loaded.set()
    await asyncio.sleep(0.01)
    assert service.unreadable() is None
    assert service.not_ready() is None
    assert service.tasks is served.replicas[0].tasks
    assert service.active_tasks() == 0
    assert service.standing() == Standing("c1", False, "c9", True, None)
    await served.lead()
    assert service.standing() == Standing("c1", True, None, True, None)
    served.lease.taken.set()
    served.lease.holder = "c9"
    await asyncio.sleep(0.01)
    assert service.tasks is served.replicas[0].tasks
    assert service.not_ready() is None
    served.replicas[1].loaded.set()
    await asyncio.sleep(0.01)
    assert service.tasks is served.replicas[1].tasks
    await served.end()


@virtual
async def test_a_task_that_is_not_known_here_is_looked_for() -> None:
    """What is no id of a task is not, and a store that is away is said to be so."""
    served = Served()
    service = served.service
    served.start()
    await asyncio.sleep(0.01)
    served.replicas[0].loaded.set()
    await asyncio.sleep(0.01)
    lookups = served.replicas[0].lookups
    assert await service.find(TASK) is lookups.head
    assert await service.find("../../etc") is None
    assert lookups.looked_for == [TASK]
    lookups.trouble = AWAY
    with pytest.raises(StoreAway):
        await service.find(TASK)
    await served.end()


@virtual
async def test_who_loses_the_lease_ends_and_is_followed_by_another_one() -> None:
    """There is only one way to start; the new one knows that this process has led."""
    served = Served()
    served.start()
    await asyncio.sleep(0.01)
    await served.lead()
    served.lease.taken.set()
    await asyncio.sleep(0.01)
    assert served.leaders[0].said == ["the lease is lost"]
    assert served.leaders[0].ended
    assert served.replicas[0].ended
    await asyncio.sleep(ANEW_SECONDS)
    assert served.led_before == [False, True]
    assert served.service.tasks is served.replicas[0].tasks
    assert served.service.not_ready() == texts.LEASE_NOT_RENEWED()
    await served.lead(2)
    assert served.service.tasks is served.replicas[1].tasks
    assert served.service.not_ready() is None
    await served.end()


@pytest.mark.parametrize("error", [AWAY, DeposedError("an agent follows a leader of epoch 9")])
def test_what_a_replica_or_leader_cannot_survive_is_begun_anew(error: Exception) -> None:
    """Before it led and afterwards; after a pause, not at once."""

    @virtual
    async def run() -> None:
        served = Served()
        served.start()
        await asyncio.sleep(0.01)
        served.replicas[0].end.set_exception(error)
        await asyncio.sleep(ANEW_SECONDS / 2)
        assert len(served.replicas) == 1
        await asyncio.sleep(ANEW_SECONDS)
        assert served.led_before == [False, False]
        await served.lead()
        served.leaders[0].end.set_exception(error)
        await asyncio.sleep(0.01)
        assert served.replicas[1].ended
        assert served.service.not_ready() == texts.LEASE_NOT_RENEWED()
        await asyncio.sleep(ANEW_SECONDS)
        assert served.led_before == [False, False, True]
        await served.end()

    run()


@virtual
async def test_what_cannot_go_on_for_long_is_said_seldom(caplog: pytest.LogCaptureFixture) -> None:
    """Each second one more replica finds the store away; the first says so."""
    served = Served()
    served.start()
    for number in range(20):
        await asyncio.sleep(0.01)
        assert len(served.replicas) == number + 1
        served.replicas[number].end.set_exception(AWAY)
        await asyncio.sleep(ANEW_SECONDS)
    assert [record.message for record in caplog.records].count("following anew") == 1
    await served.end()


@virtual
async def test_a_fault_of_the_program_ends_it() -> None:
    """Its supervisor starts it again; no half of it serves on."""
    served = Served()
    served.start()
    await asyncio.sleep(0.01)
    served.replicas[0].end.set_exception(RuntimeError("planted"))
    assert served.job is not None
    with pytest.raises(ExceptionGroup) as ended:
        await served.job
    assert ended.group_contains(RuntimeError, match="planted")
