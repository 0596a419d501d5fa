"""The table of nodes: what their source says of them, and what their agents say.

Either may be missing: a node without an agent is not connected, and an agent without a node takes
no part in any selection. Both are shown. Who is heard, and whether it counts, the core's fleet
knows; this table keeps the newest heartbeat for whoever looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import NoReturn

import msgspec

from common import subjects
from common.bus import Received
from common.messages import Heartbeat
from common.subjects import AgentAddress
from common.text import Text
from coordinator.core.events import AgentHeard, Event, NodeSeen, NodesListed, NodeVanished
from coordinator.core.fleet import FleetView, Node
from coordinator.nodes.source import NewSource
from coordinator.snapshots import KnownNode, NodeState

LONGEST_INTERVAL = 60.0
SHORTEST_INTERVAL = 0.1
"""Bounds (seconds) for what an agent may call its heartbeat interval."""
MOST_AGENTS = 100_000
"""Nodes that are known by their agents alone: each takes some kilobytes, and any name is free."""
NODES_AT_A_TIME = 1000
"""Nodes that are looked at before others have a turn on the event loop."""
LOOK_SECONDS = 2.0
"""Between two looks for agents that fell silent."""

_decode = msgspec.json.Decoder(Heartbeat).decode
_shown = attrgetter(
    *("labels", "runtime", "agent_version", "driver", "pulling", "image_disk", "abilities")
)
"""What of a heartbeat is shown."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """An agent's newest heartbeat."""

    heartbeat: Heartbeat
    instance: str
    at: float
    """On the clock of silence, so that nobody is forgotten while the bus is away."""
    last_seen: int
    """Milliseconds since 1970."""


class NodeTable:
    """Every node that the source knows, and every other for which an agent speaks (``port.Nodes``).

    It is also what the source speaks to (``nodes.source.NodeSink``).
    """

    def __init__(
        self,
        *,
        fleet: FleetView,
        new_source: NewSource,
        feed: Callable[[Event], None],
        clock: Callable[[], float],
        on_change: Callable[[Iterable[str]], None],
        forget_seconds: float,
        on_said: Callable[[AgentAddress, Heartbeat], None] = lambda _address, _said: None,
    ) -> None:
        """``on_said`` is told of each heartbeat once it has counted."""
        self._on_said = on_said
        self._fleet = fleet
        self._feed = feed
        self._clock = clock
        self._on_change = on_change
        self._forget_seconds = forget_seconds
        self._heard: dict[str, _Heard] = {}
        self._remembered: dict[str, float] = {}
        """Nodes that were known before this table began, and of which nothing was heard since.

        With the time, on the clock of silence, from which on they are waited for.
        """
        self._shown_connected: set[str] = set()
        """Nodes that watchers were last told to be connected."""
        self.source = new_source(self)

    # ── what the source says ──

    def seen(self, name: str, node: Node) -> None:
        """A node exists, and this is what it is like now."""
        self._feed(NodeSeen(name, node.labels, node.schedulable, node.problem))
        self._on_change([name])

    def vanished(self, name: str) -> None:
        """A node has ceased to exist."""
        self._feed(NodeVanished(name))
        self._on_change([name])

    def listed(self) -> None:
        """Every node that exists has been named."""
        self._feed(NodesListed())

    def remember(self, name: str, labels: Mapping[str, str]) -> None:
        """A node was known by its agent's word before; heard or not, it stays for its time."""
        if name not in self._heard and name not in self._remembered:
            self._remembered[name] = self._fleet.clock.at(self._clock())
            self.source.announced(name, labels)

    # ── what agents say ──

    def on_heartbeat(self, received: Received) -> None:
        """Take one heartbeat in. Raises NOT_DECODABLE or ValueError for what is none."""
        address = subjects.parse_heartbeat(received.subject)
        if address is None:
            raise ValueError(f"no heartbeat has the subject {received.subject}")
        said, now, name = _decode(received.data), self._clock(), address.node
        before = self._heard.get(name)
        if before is None and len(self._heard) >= MOST_AGENTS and name not in self._fleet.nodes:
            raise ValueError(f"{len(self._heard)} nodes have agents, and there is room for no more")
        self._heard[name] = _Heard(
            said, address.instance, self._fleet.clock.at(now), int(now * 1000)
        )
        self._remembered.pop(name, None)
        if before is None or before.heartbeat.labels != said.labels:
            self.source.announced(name, said.labels)
        interval = min(max(said.interval, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        away = "" if said.runtime else said.why_no_runtime or "it does not say why"
        self._feed(AgentHeard(*address, tuple(said.holds), interval, said.leaving, away))
        self._on_said(address, said)
        changed = self._connection_changed(name, now)
        if changed or before is None or _shown(before.heartbeat) != _shown(said):
            self._on_change([name])

    def said_by(self, address: AgentAddress) -> Heartbeat | None:
        """The newest heartbeat of an agent instance; None where another has spoken since."""
        heard = self._heard.get(address.node)
        is_its = heard is not None and heard.instance == address.instance
        return heard.heartbeat if heard is not None and is_its else None

    def _connection_changed(self, name: str, now: float) -> bool:
        """Whether a node is connected that was shown as not, or the other way round."""
        connected = self._fleet.connected(name, now)
        if connected == (name in self._shown_connected):
            return False
        (self._shown_connected.add if connected else self._shown_connected.discard)(name)
        return True

    async def watch_silence(self) -> NoReturn:
        """Notice who fell silent, and forget who has been silent for long; runs without end."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._forget_seconds / 2))
            oldest = self._fleet.clock.at(self._clock()) - self._forget_seconds
            gone = [name for name, heard in self._heard.items() if heard.at < oldest]
            gone += [name for name, since in self._remembered.items() if since < oldest]
            for name in gone:
                self._heard.pop(name, None)
                self._remembered.pop(name, None)
                self._shown_connected.discard(name)
                self.source.forgotten(name)
            silent, now = [], self._clock()
            for number, name in enumerate(sorted(self._shown_connected), 1):
                if name in self._shown_connected and self._connection_changed(name, now):
                    silent.append(name)
                if number % NODES_AT_A_TIME == 0:
                    await asyncio.sleep(0)
            if silent or gone:
                self._on_change(silent + gone)

    # ── what is asked of a node ──

    def labels(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Name and labels of every node, ordered by name; the rest is made for those asked for."""
        names = set(chain(self._fleet.nodes, self._heard))
        return ((name, self._labels(self._fleet.nodes.get(name))) for name in sorted(names))

    @staticmethod
    def _labels(node: Node | None) -> Mapping[str, str]:
        return {} if node is None else node.labels

    @property
    def left_out(self) -> int:
        """How many nodes the source leaves out."""
        return self.source.left_out

    def counts(self) -> dict[NodeState, int]:
        """How many nodes are in each state."""
        counts = dict.fromkeys(NodeState, 0)
        for name in self._fleet.nodes.keys() | self._heard.keys():
            counts[self.state(name)] += 1
        return {**counts, NodeState.LEFT_OUT: self.left_out}

    def state(self, name: str) -> NodeState:
        """The state of a known node."""
        if self._problem(name, self._fleet.nodes.get(name)) is not None:
            return NodeState.UNSCHEDULABLE
        connected = self._fleet.connected(name, self._clock())
        return NodeState.READY if connected else NodeState.OFFLINE

    def get(self, name: str) -> KnownNode | None:
        """One node; None for an unknown one."""
        node, heard = self._fleet.nodes.get(name), self._heard.get(name)
        if node is None and heard is None:
            return None
        problem, labels = self._problem(name, node), self._labels(node)
        if heard is None:
            return KnownNode(name, labels, schedulable=problem is None, problem=problem)
        return self._with_agent(name, labels, problem, heard)

    def _with_agent(
        self, name: str, labels: Mapping[str, str], problem: Text | None, heard: _Heard
    ) -> KnownNode:
        said = heard.heartbeat
        return KnownNode(
            name=name,
            labels=labels,
            schedulable=problem is None,
            connected=self._fleet.connected(name, self._clock()),
            last_seen=heard.last_seen,
            agent_version=said.agent_version,
            runtime=said.runtime,
            driver=said.driver,
            platform=said.platform,
            image_disk=said.image_disk,
            pulling=said.pulling,
            abilities=tuple(said.abilities),
            problem=problem,
        )

    def _problem(self, name: str, node: Node | None) -> Text | None:
        """Why a node takes no new work; None where it does, or might."""
        if self._fleet.has_conflict(name):
            return self._fleet.why_unavailable(name)
        if node is None:
            return self.source.unknown(name)
        if node.schedulable and not self._fleet.lacks_runtime(name):
            return None
        return self._fleet.why_unavailable(name)
