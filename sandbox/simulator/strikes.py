"""What happens to a fleet in one history: drawn from a seed, printable, and free to be shortened.

A strike names its victim by a number between 0 and 1, among whoever is there at that moment, so
that each means something without the others.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What can happen. The first are what users do, the last what programs and machines do."""

    CREATE = "create a task"
    CREATE_TWICE = "create a task twice with one key"
    CANCEL = "cancel a task"
    KILL_COORDINATOR = "kill a coordinator"
    KILL_AT_WRITE = "kill a coordinator some turns after a write"
    STOP_COORDINATOR = "stop a coordinator in order"
    PAUSE_COORDINATOR = "let a coordinator stand still"
    SET_CLOCK = "set a coordinator's wall clock"
    KILL_AGENT = "kill an agent"
    STOP_AGENT = "stop an agent in order"
    PAUSE_AGENT = "let an agent stand still"
    LOSE_SPOOL = "kill an agent and lose its disk"
    CUT = "cut a link"
    DROP = "break a connection"
    DEAFEN = "let a program hear nothing"
    DISTURB = "delay, lose, double and reorder messages of a link"
    LOSE_ANSWERS = "lose answers to writes"
    RUNTIME_SLOW = "slow pulls of a node down"
    RUNTIME_FAILS = "let pulls of a node fail"
    RUNTIME_STALLS = "stall the pulls of a node"
    RUNTIME_AWAY = "take a node's runtime away"
    RECEIVER_AWAY = "let the receiver of webhooks refuse"
    RESTART_SERVER = "restart the bus"
    KILL_SERVER = "kill the bus for a while"
    PAUSE_SERVER = "let the bus stand still"
    CRASH_SERVER = "crash the bus, so that what was purged comes back"
    ELECT = "let a stream elect its leader"
    ELECT_ALL = "let all streams elect"
    FILL = "let a stream refuse writes"
    SET_STORE_CLOCK = "set the wall clock of the bus"
    STAND_STILL = "let everything stand still"
    PUT_SET = "put a warm set"
    DELETE_SET = "delete a warm set"
    LOSE_IMAGE = "let an image vanish from a node"
    JOIN = "let a node join"


OF_SETS: Final[dict[Kind, int]] = {
    Kind.PUT_SET: 4,
    Kind.DELETE_SET: 2,
    Kind.LOSE_IMAGE: 4,
    Kind.JOIN: 2,
}
"""What happens to warm sets, beside all else, in half of the histories."""

WEIGHTS: Final[dict[Kind, int]] = dict.fromkeys((k for k in Kind if k not in OF_SETS), 2) | {
    Kind.CREATE: 8,
    Kind.CANCEL: 4,
    Kind.KILL_AT_WRITE: 8,
    Kind.PAUSE_COORDINATOR: 4,
    Kind.LOSE_ANSWERS: 4,
    Kind.CUT: 4,
    Kind.DISTURB: 3,
    Kind.RUNTIME_FAILS: 4,
    Kind.SET_CLOCK: 1,
    Kind.SET_STORE_CLOCK: 1,
    Kind.STAND_STILL: 1,
}


SETS_PART: Final = 0.5
"""The part of all histories in which there are warm sets."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that happens."""

    at: float
    """Seconds since the fleet was whole."""
    kind: Kind
    who: float
    """Which of those that are there, from 0 to 1."""
    seconds: float
    """How long it lasts."""
    size: int
    """How much of it, from 1 to 12."""

    def __str__(self) -> str:
        return (
            f"{self.at:9.3f} s  {self.kind} (who {self.who:.3f}, {self.seconds:.3f} s, {self.size})"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One history before it is lived."""

    seed: int
    coordinators: int
    nodes: int
    heartbeat_seconds: float
    pull_seconds: float
    link_delay: float
    """Of every link, at most, in seconds."""
    max_nodes_in_flight: int
    max_repairs: int
    strikes: tuple[Strike, ...] = field(default=())

    def __str__(self) -> str:
        head = (
            f"seed {self.seed}: {self.coordinators} coordinators, {self.nodes} nodes, heartbeats of"
            f" {self.heartbeat_seconds:g} s, pulls of {self.pull_seconds:g} s, links of"
            f" {self.link_delay:g} s, {self.max_nodes_in_flight or 'any number of'} nodes in flight"
            f", {self.max_repairs} repairs"
        )
        return "\n".join([head, *(f"  {strike}" for strike in self.strikes)])


def draw(seed: int, only: Collection[Kind] = ()) -> Plan:
    """The plan of a seed, always the same; strikes of these kinds alone where some are named."""
    source = random.Random(f"plan/{seed}")  # noqa: S311 -- repeatable
    chances = dict.fromkeys(only, 1) or WEIGHTS
    kinds, weights = list(chances), list(chances.values())
    # Between two strikes lies a moment or a quarter of an hour: what overlaps, and what waits.
    pace = source.choice([1.0, 1.0, 4.0, 30.0])
    strikes, at, burst = [], 0.0, source.choice([1, 1, 2, 3])
    for number in range(source.randint(4, 24)):
        kind = Kind.CREATE if number < burst else source.choices(kinds, weights)[0]
        strikes.append(
            Strike(
                at=round(at, 3),
                kind=kind,
                who=round(source.uniform(0.0, 0.999), 3),
                seconds=round(min(900.0, source.lognormvariate(1.5, 1.4)), 3),
                size=source.randint(1, 12),
            )
        )
        at += source.expovariate(1 / pace) * source.choice([0.02, 1.0, 1.0, 6.0])
    of_sets = random.Random(f"sets/{seed}")  # noqa: S311 -- repeatable
    if of_sets.random() < SETS_PART:
        strikes += _strikes_of_sets(of_sets, at)
    return Plan(
        seed=seed,
        coordinators=source.choice([1, 2, 2, 2, 3]),
        nodes=source.randint(1, 6),
        heartbeat_seconds=source.choice([5.0, 10.0, 10.0, 30.0]),
        pull_seconds=source.choice([0.5, 3.0, 20.0, 20.0]),
        link_delay=source.choice([0.0, 0.0, 0.0, 0.002, 0.2]),
        max_nodes_in_flight=source.choice([0, 0, 0, 2]),
        max_repairs=of_sets.choice([1, 2, 3]),
        strikes=tuple(sorted(strikes, key=lambda strike: strike.at)),
    )


def _strikes_of_sets(source: random.Random, until: float) -> list[Strike]:
    """A set is put first; what happens to it lies anywhere among the rest."""
    kinds, weights = list(OF_SETS), list(OF_SETS.values())
    begin = source.uniform(0.0, until / 3)
    times = [begin, *(source.uniform(begin, until) for _ in range(source.randint(2, 8)))]
    return [
        Strike(
            at=round(at, 3),
            kind=source.choices(kinds, weights)[0] if number else Kind.PUT_SET,
            who=round(source.uniform(0.0, 0.999), 3),
            seconds=round(min(900.0, source.lognormvariate(1.5, 1.4)), 3),
            size=source.randint(1, 12),
        )
        for number, at in enumerate(sorted(times))
    ]
