"""The table of nodes that users see: what the node source says of a node, and what its agent says.

Either may be missing: a node without an agent is not connected, and an agent without a node takes
no part in any selection. Both are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from coordinator.core.events import Event, NodeSeen, NodesListed, NodeVanished
from coordinator.core.fleet import Fleet, Node
from coordinator.engine.agent_table import AgentTable, Heard
from coordinator.nodes.source import NodeSource
from coordinator.port import KnownNode


class SourceFeed:
    """A node source's word, on its way to the core and to those who watch the table."""

    def __init__(
        self, feed: Callable[[Event], None], on_change: Callable[[Iterable[str]], None]
    ) -> None:
        self._feed = feed
        self._on_change = on_change

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


class FleetTable:
    """Every node that the source knows, and every other for which an agent speaks."""

    def __init__(self, fleet: Fleet, agents: AgentTable, source: NodeSource) -> None:
        self._fleet = fleet
        self._agents = agents
        self._source = source

    def labels(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Name and labels of every node, ordered by name; the rest is made for those asked for."""
        names = set(chain(self._fleet.nodes, self._agents.heard))
        return ((name, self._labels(self._fleet.nodes.get(name))) for name in sorted(names))

    def get(self, name: str) -> KnownNode | None:
        """One node; None for an unknown one."""
        known = name in self._fleet.nodes or name in self._agents.heard
        return self._known(name) if known else None

    @staticmethod
    def _labels(node: Node | None) -> Mapping[str, str]:
        return {} if node is None else node.labels

    def _known(self, name: str) -> KnownNode:
        node, heard = self._fleet.nodes.get(name), self._agents.heard.get(name)
        problem = self._problem(name, node)
        labels = self._labels(node)
        if heard is None:
            return KnownNode(name, labels, schedulable=not problem, problem=problem)
        return self._with_agent(name, labels, problem, heard)

    def _with_agent(
        self, name: str, labels: Mapping[str, str], problem: str, heard: Heard
    ) -> KnownNode:
        said = heard.heartbeat
        return KnownNode(
            name=name,
            labels=labels,
            schedulable=not problem,
            connected=self._agents.connected(name),
            last_seen=heard.last_seen,
            agent_version=said.agent_version,
            runtime=said.runtime,
            driver=said.driver,
            platform=said.platform,
            image_disk=said.image_disk,
            pulling=said.pulling,
            problem=problem,
        )

    def _problem(self, name: str, node: Node | None) -> str:
        """Why a node takes no new work, in one sentence; empty where it does, or might."""
        if self._fleet.presence(name).conflict:
            return self._fleet.why_unavailable(name)
        if node is None:
            return self._source.unknown(name)
        return "" if node.schedulable else self._fleet.why_unavailable(name)
