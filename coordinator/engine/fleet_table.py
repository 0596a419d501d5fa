"""The node source ``agents``: nodes are what their agents say. Also the table that users see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from common import subjects
from common.bus import Received
from common.messages import Heartbeat
from coordinator.api.port import KnownNode
from coordinator.core.events import AgentHeard, Event, NodeSeen, NodeVanished
from coordinator.core.fleet import Fleet

LONGEST_INTERVAL = 60.0
SHORTEST_INTERVAL = 0.1
"""Bounds (seconds) for what an agent may call its heartbeat interval."""
_decode = msgspec.json.Decoder(Heartbeat).decode


@dataclass(slots=True)
class _Row:
    heartbeat: Heartbeat
    seen_at: float
    """On the clock of silence, so that nobody is forgotten while the bus is away."""
    last_seen: int
    connected: bool = True


class FleetTable:
    """What every node that ever announced itself was last heard to be."""

    def __init__(
        self,
        fleet: Fleet,
        feed: Callable[[Event], None],
        clock: Callable[[], float],
        on_change: Callable[[list[str]], None],
        forget_seconds: float,
    ) -> None:
        self._fleet = fleet
        self._feed = feed
        self._clock = clock
        self._on_change = on_change
        self._forget_seconds = forget_seconds
        self._rows: dict[str, _Row] = {}

    def on_heartbeat(self, received: Received) -> None:
        """Take one heartbeat in. Raises msgspec.MsgspecError or ValueError for what is none."""
        address = subjects.parse_heartbeat(received.subject)
        if address is None:
            raise ValueError(f"no heartbeat has the subject {received.subject}")
        heartbeat = _decode(received.data)
        known = self._rows.get(address.node)
        now = self._clock()
        row = _Row(heartbeat, self._fleet.clock.at(now), int(now * 1000))
        self._rows[address.node] = row
        if known is None or known.heartbeat.labels != heartbeat.labels:
            self._feed(NodeSeen(address.node, heartbeat.labels))
        interval = min(max(heartbeat.interval, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        holds = tuple(heartbeat.holds)
        self._feed(AgentHeard(*address, holds, interval, heartbeat.leaving))
        row.connected = self._connected(address.node)
        if known is None or _visibly_different(known, row):
            self._on_change([address.node])

    def _connected(self, node: str) -> bool:
        return self._fleet.connected(node, self._clock())

    async def watch_silence(self) -> None:
        """Notice who fell silent, and forget who has been silent for long; runs without end."""
        while True:
            await asyncio.sleep(min(2.0, self._forget_seconds / 2))
            time = self._fleet.clock.at(self._clock())
            silent, gone = [], []
            for name, row in self._rows.items():
                if time > row.seen_at + self._forget_seconds:
                    gone.append(name)
                elif row.connected and not self._connected(name):
                    row.connected = False
                    silent.append(name)
            for name in gone:
                del self._rows[name]
                self._feed(NodeVanished(name))
            if silent or gone:
                self._on_change(silent + gone)

    def __iter__(self) -> Iterator[KnownNode]:
        return (self._known(name, self._rows[name]) for name in sorted(self._rows))

    def get(self, name: str) -> KnownNode | None:
        """One node; None for an unknown one."""
        row = self._rows.get(name)
        return None if row is None else self._known(name, row)

    def _known(self, name: str, row: _Row) -> KnownNode:
        said = row.heartbeat
        conflict = self._fleet.presence(name).conflict
        return KnownNode(
            name=name,
            labels=said.labels,
            schedulable=not conflict,
            connected=self._connected(name),
            last_seen=row.last_seen,
            agent_version=said.agent_version,
            runtime=said.runtime,
            driver=said.driver,
            platform=said.platform,
            image_disk=said.image_disk,
            pulling=said.pulling,
            problem=self._fleet.why_unavailable(name) if conflict else "",
        )


def _visibly_different(old: _Row, new: _Row) -> bool:
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
