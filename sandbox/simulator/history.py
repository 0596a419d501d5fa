"""One history: a world is populated, struck, mended, and looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.simulator import last_look
from sandbox.simulator.fates import Fates
from sandbox.simulator.laws import Broken, Law
from sandbox.simulator.strikes import Plan
from sandbox.simulator.witness import Witness
from sandbox.simulator.world import World
from sandbox.virtual.time import Deadlock, OutOfTime, VirtualLoop

WHOLE_WITHIN = 120.0
"""Seconds until a fleet that starts leads."""
AT_REST_WITHIN = 3600.0
"""Seconds until everything is over once faults have ceased: webhooks wait for five minutes."""
REST_SECONDS = 45.0
"""What is over stays so for a while; silent agents are noticed, late messages arrive."""
STEPS_LIMIT = 3_000_000


@dataclass(frozen=True, slots=True)
class Lived:
    """What became of one history."""

    plan: Plan
    broken: Broken | None
    trace: str
    """A hash over all that was sent and stored."""
    seconds: float
    """Of virtual time."""
    cpu: float
    """Seconds of this machine."""
    lines: list[str] = field(default_factory=list)
    """What happened, for people, where that was wanted."""


def live(plan: Plan, *, keep_lines: bool = False) -> Lived:
    """Live a plan through; always the same."""
    began = time.process_time()
    witness = Witness(plan.max_nodes_in_flight, plan.max_repairs, keep_lines=keep_lines)
    ended = 0.0
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(steps=STEPS_LIMIT)) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(witness.failed_by_itself)
        try:
            runner.run(_live(plan, witness))
        except Broken as broken:
            witness.broken = witness.broken or broken
        except (Deadlock, OutOfTime, TimeoutError) as why:
            witness.broken = witness.broken or Broken(Law.ENDS, f"{type(why).__name__}: {why}")
        ended = loop.time()
    cpu = time.process_time() - began
    return Lived(plan, witness.broken, witness.trace, ended, cpu, witness.lines)


async def _live(plan: Plan, witness: Witness) -> None:
    async with World(plan, witness) as world:
        fates = Fates(world)
        keeping = asyncio.create_task(world.observer.run())
        try:
            await _strike(world, fates)
            await fates.cease()
            await _until(world, lambda: last_look.is_at_rest(world), AT_REST_WITHIN)
            fates.sets.tempt()
            await asyncio.sleep(REST_SECONDS)
            witness.check()
            await _until(world, lambda: last_look.is_at_rest(world), AT_REST_WITHIN)
            await last_look.look(world)
            witness.check()
        finally:
            await fates.end()
            keeping.cancel()
            await asyncio.wait([keeping])


async def _strike(world: World, fates: Fates) -> None:
    await world.populate()
    await _until(world, lambda: bool(world.leading and world.answering), WHOLE_WITHIN)
    await asyncio.sleep(1.0)
    began = world.loop.time()
    for strike in world.plan.strikes:
        await asyncio.sleep(began + strike.at - world.loop.time())
        await fates.strike(strike)
        world.laws.check()
    await asyncio.sleep(1.0)


async def _until(world: World, condition: Callable[[], bool], within: float) -> None:
    """Let time pass until it is so. Raises Broken."""
    end = world.loop.time() + within
    while not condition():
        world.laws.check()
        if world.loop.time() > end:
            raise Broken(*last_look.why_not_at_rest(world))
        await asyncio.sleep(1.0)
