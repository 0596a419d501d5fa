"""Who is there: nodes with their labels, and the agent instance that serves each of them.

Silence is measured on a clock of its own, which stands still while the leader itself is not heard
by the bus: a NATS that was paused or away makes nobody lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MISSED_HEARTBEATS = 3
"""An agent that misses so many is not connected."""
RESTART_GRACE = 1.0
"""Seconds in which a former instance's last heartbeat may overtake the first of the next."""


class SilenceClock:
    """Seconds during which the leader could have heard somebody."""

    def __init__(self) -> None:
        self._deaf_since: float | None = None
        self._deaf_total = 0.0

    def at(self, now: float) -> float:
        """This clock's time at the engine's time ``now``."""
        return (now if self._deaf_since is None else self._deaf_since) - self._deaf_total

    def when(self, time: float) -> float:
        """The engine's time at which this clock shows ``time``, if the bus stays heard."""
        return time + self._deaf_total

    @property
    def stands(self) -> bool:
        """Whether the bus is silent at the moment."""
        return self._deaf_since is not None

    def stop(self, since: float) -> None:
        """The bus has been silent since ``since``."""
        if self._deaf_since is None:
            self._deaf_since = since

    def go_on(self, now: float) -> None:
        """The bus is heard again."""
        if self._deaf_since is not None:
            self._deaf_total += max(0.0, now - self._deaf_since)
            self._deaf_since = None


@dataclass(slots=True)
class _Sighting:
    first: float
    last: float
    interval: float

    def silent_at(self, time: float) -> bool:
        return time > self.last + MISSED_HEARTBEATS * self.interval


@dataclass(slots=True)
class Presence:
    """What is known of the agents under one node name. Times are of the silence clock."""

    instance: str | None = None
    """The instance that takes work; None while there is none or a conflict."""
    sightings: dict[str, _Sighting] = field(default_factory=dict)
    conflict: bool = False

    def heard(self, instance: str, interval: float, time: float) -> None:
        """A heartbeat of an instance; the newest instance is the current one."""
        self.sightings = {
            name: sighting
            for name, sighting in self.sightings.items()
            if name == instance or not sighting.silent_at(time)
        }
        seen = self.sightings.setdefault(instance, _Sighting(time, time, interval))
        seen.last, seen.interval = time, interval
        newest = max(self.sightings, key=lambda name: self.sightings[name].first)
        began = self.sightings[newest].first
        # A former instance that speaks again, later than its successor began, is no restart.
        self.conflict = any(
            sighting.last > began + RESTART_GRACE
            for name, sighting in self.sightings.items()
            if name != newest
        )
        self.instance = None if self.conflict else newest

    def gone(self, instance: str) -> None:
        """An instance has said good-bye, or nobody listens on its subject."""
        self.sightings.pop(instance, None)
        if self.instance == instance:
            self.instance = None
        if len(self.sightings) == 1:
            self.conflict = False
            self.instance = next(iter(self.sightings))

    def last_heard(self, instance: str) -> float | None:
        """When an instance was last heard; None if it is not remembered."""
        sighting = self.sightings.get(instance)
        return None if sighting is None else sighting.last

    def hears(self, instance: str, time: float) -> bool:
        """Whether an instance is being heard."""
        sighting = self.sightings.get(instance)
        return sighting is not None and not sighting.silent_at(time)


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its source describes it."""

    labels: Mapping[str, str]
    schedulable: bool


class Fleet:
    """The nodes, and the agents that serve them."""

    def __init__(self) -> None:
        self.clock = SilenceClock()
        self.nodes: dict[str, Node] = {}
        self.version = 0
        """Grows with every change of ``nodes``."""
        self._presence: dict[str, Presence] = {}

    def presence(self, node: str) -> Presence:
        """What is known of the agents under a node's name."""
        return self._presence.setdefault(node, Presence())

    def schedulable(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Nodes that a starting task may take, with their labels."""
        return ((name, node.labels) for name, node in self.nodes.items() if node.schedulable)

    def connected(self, name: str, now: float) -> bool:
        """Whether any agent of a node is being heard."""
        presence, time = self._presence.get(name), self.clock.at(now)
        return presence is not None and any(presence.hears(i, time) for i in presence.sightings)

    def agent_for(self, name: str, now: float) -> str | None:
        """The instance that takes new work for a node now, if any."""
        node, presence = self.nodes.get(name), self._presence.get(name)
        if presence is None or presence.instance is None:
            return None
        if node is not None and not node.schedulable:
            return None
        heard = presence.hears(presence.instance, self.clock.at(now))
        return presence.instance if heard else None

    def why_unavailable(self, name: str) -> str:
        """What keeps a node from taking work, in one sentence."""
        node, presence = self.nodes.get(name), self._presence.get(name)
        if presence is not None and presence.conflict:
            return f"Two agents run under the node name {name}: {', '.join(presence.sightings)}."
        if node is None and presence is None:
            return f"No node of the name {name} is known."
        if node is not None and not node.schedulable:
            return f"Node {name} is not ready or takes no new work."
        return f"No agent of node {name} takes the work."

    def see(self, name: str, node: Node) -> None:
        """The node source knows a node, or knows something new of it."""
        self.nodes[name] = node
        self.version += 1

    def lose(self, name: str) -> bool:
        """A node has ceased to exist; False if it was not known."""
        self._presence.pop(name, None)
        self.version += 1
        return self.nodes.pop(name, None) is not None
