"""How each strike is carried out on a world, and how all of it is mended in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from common import subjects
from common.reasons import Reason
from coordinator.core.task import Rollout, TaskSpec
from coordinator.port import AlreadyOver, IdempotencyKey, NoSuchTask, StoreAway, TooManyPending
from sandbox.simulator.cluster import Coordinator, Node, task_of
from sandbox.simulator.set_fates import SetFates
from sandbox.simulator.strikes import Kind, Strike
from sandbox.simulator.world import Machine, Seat, World, pick
from sandbox.virtual.link import Link

Undo = Callable[[], object]

STREAMS = (
    f"KV_{subjects.TASKS_BUCKET}",
    f"KV_{subjects.LISTS_BUCKET}",
    f"KV_{subjects.KEYS_BUCKET}",
    f"KV_{subjects.LEASE_BUCKET}",
    f"KV_{subjects.NODES_BUCKET}",
    f"KV_{subjects.SETS_BUCKET}",
    subjects.RESULTS,
    subjects.EVENTS,
)
REASONS = (
    Reason.REGISTRY_ERROR,
    Reason.RATE_LIMITED,
    Reason.TIMEOUT,
    Reason.IMAGE_NOT_FOUND,
    Reason.DISK_FULL,
    Reason.UNAUTHORIZED,
)
UNHEARD = frozenset(
    {
        Kind.CUT,
        Kind.DROP,
        Kind.DEAFEN,
        Kind.DISTURB,
        Kind.PAUSE_AGENT,
        Kind.PAUSE_COORDINATOR,
        Kind.RESTART_SERVER,
        Kind.KILL_SERVER,
        Kind.PAUSE_SERVER,
        Kind.CRASH_SERVER,
    }
)
"""After these an agent may not be heard for a while, and what it holds is not known."""
_OF_THE_BUS = frozenset({"cut", "deaf", "disturb", "pause", "killed", "paused"})
LONGEST_ELECTION = 30.0
LONGEST_PAUSE = 90.0
"""Of a process or of all: longer than any lease."""
LONGEST_JUMP = 1800.0
"""Of a wall clock, in seconds."""
LEADERS_FROM = 3
"""Strikes of a greater size look for the leader."""
TURNS = 5
"""Turns of the loop between two sizes of ``KILL_AT_WRITE``."""


class Fates:
    """Strikes one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: list[str] = []
        """Those that users know of."""
        self._loop = world.loop
        self._undo: dict[object, Undo] = {}
        self._jobs: set[asyncio.Task[Any]] = set()
        self._keys = 0
        self.sets = SetFates(world, self._spawn)
        self._carry_out: dict[Kind, Callable[[Strike], Awaitable[None] | None]] = {
            Kind.CREATE: self._create,
            Kind.CREATE_TWICE: self._create_twice,
            Kind.CANCEL: self._cancel,
            Kind.KILL_COORDINATOR: self._kill_coordinator,
            Kind.KILL_AT_WRITE: self._kill_at_write,
            Kind.STOP_COORDINATOR: self._stop_coordinator,
            Kind.PAUSE_COORDINATOR: lambda s: self._pause(self._seat(s).runs, s),
            Kind.SET_CLOCK: self._set_clock,
            Kind.KILL_AGENT: self._kill_agent,
            Kind.STOP_AGENT: self._stop_agent,
            Kind.PAUSE_AGENT: lambda s: self._pause(self._machine(s).runs, s),
            Kind.LOSE_SPOOL: self._lose_spool,
            Kind.CUT: self._cut,
            Kind.DROP: self._drop,
            Kind.DEAFEN: self._deafen,
            Kind.DISTURB: self._disturb,
            Kind.LOSE_ANSWERS: self._lose_answers,
            Kind.RUNTIME_SLOW: self._runtime_slow,
            Kind.RUNTIME_FAILS: self._runtime_fails,
            Kind.RUNTIME_STALLS: self._runtime_stalls,
            Kind.RUNTIME_AWAY: self._runtime_away,
            Kind.RECEIVER_AWAY: self._receiver_away,
            Kind.RESTART_SERVER: lambda _: world.server.restart(),
            Kind.KILL_SERVER: self._kill_server,
            Kind.PAUSE_SERVER: self._pause_server,
            Kind.CRASH_SERVER: self._crash_server,
            Kind.ELECT: self._elect,
            Kind.ELECT_ALL: self._elect_all,
            Kind.FILL: self._fill,
            Kind.SET_STORE_CLOCK: self._set_store_clock,
            Kind.STAND_STILL: lambda s: self._loop.stand_still(min(s.seconds, LONGEST_PAUSE)),
            **self.sets.carry_out,
        }

    async def strike(self, strike: Strike) -> None:
        """Carry one out; what lasts goes on behind it."""
        self.world.laws.say("STRIKE", strike)
        if strike.kind in UNHEARD:
            self.world.laws.agents.trouble()
        going_on = self._carry_out[strike.kind](strike)
        if going_on is not None:
            await going_on

    async def cease(self) -> None:
        """Mend everything, and have everybody run."""
        self.world.laws.say("STRIKE", "all is mended")
        for key, undo in list(self._undo.items()):
            self._mend(key, undo)
        self._undo.clear()
        self.world.server.start()
        for program in self.world.programs:
            program.bus.link.on_write = None
            program.bus.link.answers_to_lose = 0
        self.world.receiver.answers_to_lose = 0
        for seat in self.world.seats:
            await self.world.seat_coordinator(seat)
        for machine in self.world.machines:
            await self.world.start_agent(machine)

    async def end(self) -> None:
        """Let no job of this outlive the history."""
        for job in list(self._jobs):
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)

    # ── who, and for how long ──

    def _seat(self, strike: Strike) -> Seat:
        """The leader's three times out of four, where somebody leads."""
        leading = [seat for seat in self.world.seats if seat.runs in self.world.leading]
        seats = leading if leading and strike.size > LEADERS_FROM else self.world.seats
        return seats[int(strike.who * len(seats))]

    def _machine(self, strike: Strike) -> Machine:
        return self.world.machines[int(strike.who * len(self.world.machines))]

    def _link(self, strike: Strike) -> Link | None:
        return pick(self.world.links, strike.who)

    def _later(self, key: object, seconds: float, undo: Undo) -> None:
        """Undo something after a while, or when all is mended; the newest of a kind counts."""
        self._undo[key] = undo

        def now() -> None:
            if self._undo.get(key) is undo:
                del self._undo[key]
                self._mend(key, undo)

        self._loop.call_later(seconds, now)

    def _mend(self, key: object, undo: Undo) -> None:
        undo()
        if isinstance(key, tuple) and key[0] in _OF_THE_BUS:
            self.world.laws.agents.trouble()

    def _spawn(self, job: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task

    # ── users ──

    def _wanted(self, strike: Strike) -> TaskSpec:
        size = strike.size
        return task_of(
            *("abc"[: 1 + size % 3]),
            batch_size=1 + size % 4,
            max_retries=(size * 7) % 4,
            retry_delay=(1, 5, 20, 60)[int(strike.who * 4)],
            priority=size % 3 * 5,
            rollout=Rollout.ROLLING if size % 2 else Rollout.BATCH,
            max_failed_nodes=size % 2,
            webhook_url="http://hooks.example/" if size % 4 else None,
            names_nodes=size in {5, 11},
        )

    def _create(self, strike: Strike) -> None:
        self._spawn(self._submit(strike, None))

    def _create_twice(self, strike: Strike) -> None:
        self._keys += 1
        key = IdempotencyKey(f"{self._keys:064x}", f"{strike.size:064x}")
        for _ in range(2):
            self._spawn(self._submit(strike, key))

    async def _submit(self, strike: Strike, key: IdempotencyKey | None) -> None:
        coordinator = self.world.pick_answering(strike.who)
        if coordinator is None:
            return
        wanted = self._wanted(strike)
        nodes = [machine.name for machine in self.world.machines]
        names = sorted({*nodes[: strike.size // 3], "n9"}) if wanted.names_nodes else None
        asked = coordinator.ask(coordinator.service.create(wanted, names, key=key))
        try:
            created = await asyncio.shield(asked)
        except (StoreAway, TooManyPending):
            return
        except asyncio.CancelledError:
            if asked.cancelled():
                return  # its coordinator was killed
            raise
        self.tasks.append(created.head.id)
        self.world.laws.created(created.head.id)

    def _cancel(self, strike: Strike) -> None:
        self._spawn(self._take_back(strike))

    async def _take_back(self, strike: Strike) -> None:
        coordinator, task = self.world.pick_answering(strike.who), pick(self.tasks, strike.who)
        if coordinator is None or task is None:
            return
        asked = coordinator.ask(coordinator.service.cancel(task))
        try:
            await asyncio.shield(asked)
        except (StoreAway, AlreadyOver, NoSuchTask):
            return
        except asyncio.CancelledError:
            if asked.cancelled():
                return
            raise
        self.world.laws.cancelled(task)

    # ── coordinators ──

    async def _end(self, place: Seat | Machine, strike: Strike, *, in_order: bool = False) -> None:
        """End what runs at a place; something runs there again after a while."""
        await self.world.vacate(place, unsent=strike.size % 2 == 0, in_order=in_order)
        await asyncio.sleep(strike.seconds)
        if isinstance(place, Seat):
            await self.world.seat_coordinator(place)
        else:
            await self.world.start_agent(place)

    def _kill_coordinator(self, strike: Strike) -> None:
        self._spawn(self._end(self._seat(strike), strike))

    def _stop_coordinator(self, strike: Strike) -> None:
        self._spawn(self._end(self._seat(strike), strike, in_order=True))

    def _kill_at_write(self, strike: Strike) -> None:
        """In the moment in which a write is stored, or some turns of the loop behind it."""
        seat = self._seat(strike)
        victim = seat.runs
        if victim is None:
            return
        writes, turns = 1 + strike.size // 3, int(strike.seconds * TURNS) % (3 * TURNS)

        def on_write() -> None:
            nonlocal writes
            writes -= 1
            if writes == 0:
                victim.bus.link.on_write = None
                self._spawn(self._kill_after(turns, seat, victim, strike))

        victim.bus.link.on_write = on_write

    async def _kill_after(
        self, turns: int, seat: Seat, victim: Coordinator, strike: Strike
    ) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        if seat.runs is victim:
            await self._end(seat, strike)

    def _pause(self, program: Coordinator | Node | None, strike: Strike) -> None:
        if program is None:
            return
        self._loop.pause(program.bus.link.name)
        program.bus.link.stop_reading()
        seconds = min(strike.seconds, LONGEST_PAUSE)
        self._later(("pause", program.name), seconds, lambda: self.world.wake(program))

    def _set_clock(self, strike: Strike) -> None:
        seat = self._seat(strike)
        jump = min(strike.seconds * strike.size, LONGEST_JUMP) * (1 if strike.size % 2 else -1)
        seat.ahead += jump
        self.world.laws.skipped += abs(jump)
        if seat.runs is not None:
            seat.runs.ahead = seat.ahead

    # ── agents and their nodes ──

    def _kill_agent(self, strike: Strike) -> None:
        self._spawn(self._end(self._machine(strike), strike))

    def _stop_agent(self, strike: Strike) -> None:
        self._spawn(self._end(self._machine(strike), strike, in_order=True))

    def _lose_spool(self, strike: Strike) -> None:
        machine = self._machine(strike)
        machine.disk = type(machine.disk)()
        self._spawn(self._end(machine, strike))

    def _runtime_slow(self, strike: Strike) -> None:
        runtime = self._machine(strike).runtime
        runtime.slow = float(strike.size)
        self._later(("slow", runtime), strike.seconds, lambda: setattr(runtime, "slow", 0.0))

    def _runtime_fails(self, strike: Strike) -> None:
        runtime = self._machine(strike).runtime
        runtime.failure = REASONS[strike.size % len(REASONS)]
        self._later(("fail", runtime), strike.seconds, lambda: setattr(runtime, "failure", None))

    def _runtime_stalls(self, strike: Strike) -> None:
        runtime = self._machine(strike).runtime
        runtime.stall(stalled=True)
        self._later(("stall", runtime), strike.seconds, lambda: runtime.stall(stalled=False))

    def _runtime_away(self, strike: Strike) -> None:
        runtime = self._machine(strike).runtime
        runtime.take_away(away=True)
        self._later(("away", runtime), strike.seconds, lambda: runtime.take_away(away=False))

    def _receiver_away(self, strike: Strike) -> None:
        receiver = self.world.receiver
        receiver.refuses = strike.size % 2 == 0
        receiver.answers_to_lose = 0 if receiver.refuses else strike.size
        self._later("receiver", strike.seconds, lambda: setattr(receiver, "refuses", False))

    # ── links ──

    def _cut(self, strike: Strike) -> None:
        if (link := self._link(strike)) is not None:
            link.cut()
            self._later(("cut", link.name), strike.seconds, link.mend)

    def _drop(self, strike: Strike) -> None:
        if (link := self._link(strike)) is not None:
            link.drop()

    def _deafen(self, strike: Strike) -> None:
        """One way of a connection loses everything: it never heals, it breaks."""
        if (link := self._link(strike)) is None:
            return
        link.deaf = True

        def mend() -> None:
            link.deaf = False
            link.drop()

        self._later(("deaf", link.name), min(strike.seconds, LONGEST_ELECTION), mend)

    def _disturb(self, strike: Strike) -> None:
        if (link := self._link(strike)) is None:
            return
        part = strike.size / 20
        link.delay = (0.0, strike.size / 8)
        link.loss, link.doubled, link.late = part, part, part
        link.late_by = float(strike.size)

        def mend() -> None:
            link.delay = (0.0, self.world.plan.link_delay)
            link.loss = link.doubled = link.late = 0.0

        self._later(("disturb", link.name), strike.seconds, mend)

    def _lose_answers(self, strike: Strike) -> None:
        seat = self._seat(strike)
        if seat.runs is not None:
            seat.runs.bus.link.answers_to_lose = strike.size

    # ── the bus ──

    def _kill_server(self, strike: Strike) -> None:
        server = self.world.server
        server.kill()
        self._later(("killed",), strike.seconds, server.start)

    def _pause_server(self, strike: Strike) -> None:
        server = self.world.server
        server.pause()
        self._later(("paused",), strike.seconds, server.resume)

    def _crash_server(self, _strike: Strike) -> None:
        self.world.server.jetstream.undo_purges()
        self.world.server.restart()

    def _elect(self, strike: Strike) -> None:
        self._leaderless(STREAMS[int(strike.who * len(STREAMS))], strike)

    def _elect_all(self, strike: Strike) -> None:
        for stream in STREAMS:
            self._leaderless(stream, strike)

    def _leaderless(self, stream: str, strike: Strike) -> None:
        jetstream = self.world.server.jetstream
        jetstream.lead(stream, leads=False)
        seconds = min(strike.seconds, LONGEST_ELECTION)
        self._later(("elect", stream), seconds, lambda: jetstream.lead(stream, leads=True))

    def _fill(self, strike: Strike) -> None:
        stream, jetstream = STREAMS[int(strike.who * len(STREAMS))], self.world.server.jetstream
        jetstream.refuse(stream)
        self._later(("fill", stream), strike.seconds, lambda: jetstream.refuse(stream, None))

    def _set_store_clock(self, strike: Strike) -> None:
        jump = min(strike.seconds * strike.size, LONGEST_JUMP) * (1 if strike.size % 2 else -1)
        self.world.server.move_clock(jump)
        self.world.laws.skipped += abs(jump)
