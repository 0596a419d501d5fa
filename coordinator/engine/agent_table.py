"""What agents say of themselves and of what runs on their nodes, and when they last said it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from common import subjects
from common.bus import Received
from common.messages import Heartbeat
from coordinator.core.events import AgentHeard, Event
from coordinator.core.fleet import Fleet
from coordinator.nodes.source import NodeSource

LONGEST_INTERVAL = 60.0
SHORTEST_INTERVAL = 0.1
"""Bounds (seconds) for what an agent may call its heartbeat interval."""
_decode = msgspec.json.Decoder(Heartbeat).decode


@dataclass(slots=True)
class Heard:
    """An agent's newest heartbeat."""

    heartbeat: Heartbeat
    seen_at: float
    """On the clock of silence, so that nobody is forgotten while the bus is away."""
    last_seen: int
    """Milliseconds since 1970."""
    connected: bool = True


class AgentTable:
    """The newest word of every agent, by the name of its node, until it is silent for long."""

    def __init__(
        self,
        fleet: Fleet,
        source: NodeSource,
        feed: Callable[[Event], None],
        clock: Callable[[], float],
        on_change: Callable[[Iterable[str]], None],
        forget_seconds: float,
    ) -> None:
        self._fleet = fleet
        self._source = source
        self._feed = feed
        self._clock = clock
        self._on_change = on_change
        self._forget_seconds = forget_seconds
        self.heard: dict[str, Heard] = {}

    def on_heartbeat(self, received: Received) -> None:
        """Take one heartbeat in. Raises msgspec.MsgspecError or ValueError for what is none."""
        address = subjects.parse_heartbeat(received.subject)
        if address is None:
            raise ValueError(f"no heartbeat has the subject {received.subject}")
        heartbeat = _decode(received.data)
        known = self.heard.get(address.node)
        now = self._clock()
        row = Heard(heartbeat, self._fleet.clock.at(now), int(now * 1000))
        self.heard[address.node] = row
        if known is None or known.heartbeat.labels != heartbeat.labels:
            self._source.announced(address.node, heartbeat.labels)
        interval = min(max(heartbeat.interval, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        holds = tuple(heartbeat.holds)
        self._feed(AgentHeard(*address, holds, interval, heartbeat.leaving))
        row.connected = self.connected(address.node)
        if known is None or _visibly_different(known, row):
            self._on_change([address.node])

    def connected(self, node: str) -> bool:
        """Whether any agent of a node is being heard."""
        return self._fleet.connected(node, self._clock())

    async def watch_silence(self) -> NoReturn:
        """Notice who fell silent, and forget who has been silent for long; runs without end."""
        while True:
            await asyncio.sleep(min(2.0, self._forget_seconds / 2))
            time = self._fleet.clock.at(self._clock())
            silent, gone = [], []
            for name, row in self.heard.items():
                if time > row.seen_at + self._forget_seconds:
                    gone.append(name)
                elif row.connected and not self.connected(name):
                    row.connected = False
                    silent.append(name)
            for name in gone:
                del self.heard[name]
                self._source.forgotten(name)
            if silent or gone:
                self._on_change(silent + gone)


def _visibly_different(old: Heard, new: Heard) -> bool:
    if old.connected != new.connected:
        return True
    was, now = old.heartbeat, new.heartbeat
    return (was.labels, was.runtime, was.agent_version, was.driver, was.pulling) != (
        now.labels,
        now.runtime,
        now.agent_version,
        now.driver,
        now.pulling,
    ) or was.image_disk != now.image_disk
