"""What befalls the processes: each kind in turn, then at random from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sandbox.chaos.fleet import Fleet, Member
from sandbox.chaos.proxy import Way
from sandbox.child import Child

HEALTHY_WITHIN: Final = 60.0
"""A server that is not whole by then is started anew, as an operator would."""
SHORTEST, LONGEST = 2.0, 8.0
"""Seconds that a fault lasts."""
BETWEEN: Final = 1.0


class Kind(StrEnum):
    """What can happen."""

    KILL_COORDINATOR = "kill -9 of a coordinator"
    PAUSE_COORDINATOR = "SIGSTOP of a coordinator"
    CUT_COORDINATOR = "a coordinator is cut from NATS"
    KILL_SERVER = "kill -9 of a nats-server"
    PAUSE_SERVER = "SIGSTOP of a nats-server"
    CUT_SERVER = "a nats-server is cut from all clients"
    FULL_DISK = "the disk of a nats-server is full"
    KILL_BUS = "kill -9 of all nats-servers at once"
    KILL_AGENTS = "kill -9 of a fifth of the agents"
    PAUSE_AGENTS = "SIGSTOP of a fifth of the agents"
    CUT_AGENTS = "a fifth of the agents is cut from NATS"
    RESET = "all connections of a program break"
    KILL_CONTAINERD = "kill -9 of a containerd"


OF_THE_BUS: Final = frozenset(
    {Kind.KILL_SERVER, Kind.PAUSE_SERVER, Kind.CUT_SERVER, Kind.FULL_DISK, Kind.KILL_BUS}
)
"""One of these at a time: a cluster of three lives with one server that is away."""


@dataclass(frozen=True)
class Happened:
    """One fault, for the table and for whoever looks for the cause of a breach."""

    kind: Kind
    victim: str
    began: float
    """Seconds since the run began."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.began:7.1f} s  {self.kind} ({self.victim}), {self.seconds:.1f} s"


@dataclass
class Faults:
    """Harms a fleet and mends it."""

    fleet: Fleet
    seed: int
    clock: Callable[[], float]
    """Seconds since the run began."""
    happened: list[Happened] = field(default_factory=list)
    are_over: bool = False

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 -- repeatable
        self._bus = asyncio.Lock()
        self._victims = defaultdict[str, asyncio.Lock](asyncio.Lock)

    @property
    def kinds(self) -> list[Kind]:
        """Those that can happen to this fleet."""
        without = set()
        if not self.fleet.has_small_disk:
            without.add(Kind.FULL_DISK)
        if not self.fleet.containerds:
            without.add(Kind.KILL_CONTAINERD)
        return [kind for kind in Kind if kind not in without]

    def counts(self) -> Counter[Kind]:
        """How often each has happened."""
        return Counter(each.kind for each in self.happened)

    async def run(self, until: float) -> None:
        """Each kind in turn, and then, up to a time, two at once at random; mended in the end."""
        for kind in self.kinds:
            await self._strike(kind)
            await asyncio.sleep(BETWEEN)
        async with asyncio.TaskGroup() as both:
            for _ in range(2):
                both.create_task(self._at_random(until))
        self.are_over = True

    async def _at_random(self, until: float) -> None:
        while self.clock() < until:
            await self._strike(self._random.choice(self.kinds))
            await asyncio.sleep(self._random.uniform(0.0, 2 * BETWEEN))

    async def _strike(self, kind: Kind) -> None:
        seconds = self._random.uniform(SHORTEST, LONGEST)
        if kind in OF_THE_BUS:
            async with self._bus:
                await self._go_through(kind, seconds)
        else:
            await self._go_through(kind, seconds)

    async def _go_through(self, kind: Kind, seconds: float) -> None:
        victim, harm = self._harm(kind)
        async with self._victims[victim]:
            began = self.clock()
            print(f"{began:7.1f} s  {kind} ({victim}), {seconds:.1f} s", flush=True)
            async with harm:
                await asyncio.sleep(seconds)
            self.happened.append(Happened(kind, victim, began, self.clock() - began))

    def _harm(self, kind: Kind) -> tuple[str, AbstractAsyncContextManager[None]]:
        """Whom it befalls, and what harms it for as long as it is entered."""
        if kind in OF_THE_BUS:
            return self._harm_bus(kind)
        fleet = self.fleet
        if kind is Kind.KILL_CONTAINERD:
            number = self._random.randrange(len(fleet.containerds))
            return f"containerd {number + 1}", self._without_containerd(number)
        agents = [*fleet.groups, *fleet.real]
        if kind in {Kind.KILL_AGENTS, Kind.PAUSE_AGENTS, Kind.CUT_AGENTS}:
            member = self._random.choice(agents)
        elif kind is Kind.RESET:
            member = self._random.choice([*fleet.coordinators, *agents])
        else:
            member = self._random.choice(fleet.coordinators)
        return member.name, _of_member(kind, member)

    def _harm_bus(self, kind: Kind) -> tuple[str, AbstractAsyncContextManager[None]]:
        servers = self.fleet.servers
        if kind is Kind.KILL_BUS:
            return "all", self._without_bus()
        if kind is Kind.FULL_DISK:
            return servers[-1].name, self._full_disk()
        number = self._random.randrange(len(servers))
        return servers[number].name, self._of_server(kind, number)

    # ── the bus ──

    @asynccontextmanager
    async def _of_server(self, kind: Kind, number: int) -> AsyncIterator[None]:
        server = self.fleet.servers[number]
        ways = [member.ways[number] for member in _members(self.fleet)]
        match kind:
            case Kind.KILL_SERVER:
                harm = _killed(server.child)
            case Kind.PAUSE_SERVER:
                harm = _paused(server.child)
            case _:
                harm = _cut(ways)
        async with harm:
            yield
        await self._whole()

    @asynccontextmanager
    async def _without_bus(self) -> AsyncIterator[None]:
        for server in self.fleet.servers:
            await server.child.kill()
        try:
            yield
        finally:
            for server in self.fleet.servers:
                server.child.start()
        await self._whole()

    @asynccontextmanager
    async def _full_disk(self) -> AsyncIterator[None]:
        server = self.fleet.servers[-1]
        await asyncio.to_thread(server.fill_disk)
        try:
            yield
        finally:
            server.empty_disk()
            await server.restart()  # nats-server gives JetStream up when its disk is full
        await self._whole()

    async def _whole(self) -> None:
        """Wait until every server has all of it again: else the next fault would be a second."""
        for server in self.fleet.servers:
            if not await server.healthy(HEALTHY_WITHIN):
                print(f"{self.clock():7.1f} s  {server.name} is started anew", flush=True)
                await server.restart()
                await server.healthy(HEALTHY_WITHIN)

    # ── runtimes ──

    @asynccontextmanager
    async def _without_containerd(self, number: int) -> AsyncIterator[None]:
        containerd = self.fleet.containerds[number]
        await containerd.kill()
        try:
            yield
        finally:
            await containerd.start()


def _members(fleet: Fleet) -> list[Member]:
    return [*fleet.coordinators, *fleet.groups, *fleet.real]


def _of_member(kind: Kind, member: Member) -> AbstractAsyncContextManager[None]:
    match kind:
        case Kind.KILL_COORDINATOR | Kind.KILL_AGENTS:
            return _killed(member.program)
        case Kind.PAUSE_COORDINATOR | Kind.PAUSE_AGENTS:
            return _paused(member.program)
        case Kind.RESET:
            return _reset(member)
        case _:
            return _cut(member.ways)


@asynccontextmanager
async def _killed(child: Child) -> AsyncIterator[None]:
    await child.kill()
    try:
        yield
    finally:
        if child.pid is None:
            child.start()


@asynccontextmanager
async def _paused(child: Child) -> AsyncIterator[None]:
    child.pause()
    try:
        yield
    finally:
        child.resume()


@asynccontextmanager
async def _cut(ways: Sequence[Way]) -> AsyncIterator[None]:
    for way in ways:
        way.cut()
    try:
        yield
    finally:
        for way in ways:
            way.mend()


@asynccontextmanager
async def _reset(member: Member) -> AsyncIterator[None]:
    for way in member.ways:
        way.reset()
    yield
