"""Who is there: nodes with their labels, and the agent instance that serves each of them.

Silence is measured on a clock of its own, which stands still while the leader itself is not heard
by the bus: a NATS that was paused or away makes nobody lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

from common.text import Template, Text
from common.texts import (
    NODE_CONFLICT,
    NODE_CONFLICT_WAITED,
    NODE_CORDONED,
    NODE_CORDONED_WAITED,
    NODE_NO_AGENT,
    NODE_NO_AGENT_WAITED,
    NODE_NO_RUNTIME,
    NODE_NO_RUNTIME_WAITED,
    NODE_NOT_READY,
    NODE_NOT_READY_WAITED,
    NODE_READY_UNKNOWN,
    NODE_READY_UNKNOWN_WAITED,
    NODE_UNKNOWN,
    NODE_UNKNOWN_WAITED,
    NODE_UNSCHEDULABLE,
    NODE_UNSCHEDULABLE_WAITED,
)

MISSED_HEARTBEATS = 3
"""An agent that misses so many is not connected."""
RESTART_GRACE = 1.0
"""Seconds in which a former instance's last heartbeat may overtake the first of the next."""
_WAITED: Final[Mapping[str, Template]] = {
    NODE_UNKNOWN.code: NODE_UNKNOWN_WAITED,
    NODE_CONFLICT.code: NODE_CONFLICT_WAITED,
    NODE_UNSCHEDULABLE.code: NODE_UNSCHEDULABLE_WAITED,
    NODE_NO_AGENT.code: NODE_NO_AGENT_WAITED,
    NODE_NO_RUNTIME.code: NODE_NO_RUNTIME_WAITED,
    NODE_CORDONED.code: NODE_CORDONED_WAITED,
    NODE_NOT_READY.code: NODE_NOT_READY_WAITED,
    NODE_READY_UNKNOWN.code: NODE_READY_UNKNOWN_WAITED,
}
"""How each sentence goes on where its reason was waited for in vain."""


class ClockView(Protocol):
    """The clock of silence, to be read."""

    def at(self, now: float) -> float:
        """This clock's time at the engine's time ``now``."""

    @property
    def stands(self) -> bool:
        """Whether the bus is silent at the moment."""


class FleetView(Protocol):
    """The fleet, to be read: nothing of it changes or inserts anything."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """What the node source has said of each node."""

    @property
    def clock(self) -> ClockView:
        """The clock on which silence is measured."""

    def instance(self, node: str) -> str | None:
        """The agent instance that serves a node; None while there is none or a conflict."""

    def connected(self, name: str, now: float) -> bool:
        """Whether any agent of a node is being heard."""

    def agent_for(self, name: str, now: float) -> str | None:
        """The instance that takes new work for a node now, if any."""

    def has_conflict(self, name: str) -> bool:
        """Whether two agents run under a node's name."""

    def lacks_runtime(self, name: str) -> bool:
        """Whether the agent of a node says that its container runtime is away."""

    def why_unavailable(self, name: str) -> Text:
        """What keeps a node from taking work."""


class SilenceClock:
    """Seconds during which the leader could have heard somebody."""

    def __init__(self) -> None:
        self.stands = False
        """Whether the bus is silent at the moment."""
        self.lost = 0.0
        """Seconds that did not count, all together: this clock is so much behind the engine's."""
        self._deaf_since = 0.0
        self._heard_again = -inf

    def at(self, now: float) -> float:
        """This clock's time at the engine's time ``now``."""
        return (self._deaf_since if self.stands else now) - self.lost

    def has_reached(self, time: float, now: float) -> bool:
        """Whether this clock shows ``time``: exactly from ``time + lost`` on while it goes.

        Not by ``at``: ``t + d - d`` may be less than ``t``, and who was woken at ``time + lost``
        would ask to be woken at the same moment again, for ever.
        """
        return time <= self.at(now) if self.stands else time + self.lost <= now

    def stop(self, since: float, now: float) -> None:
        """The bus has been silent since ``since``; no moment counts as silent twice."""
        if not self.stands:
            self.stands = True
            self._deaf_since = min(max(since, self._heard_again), now)

    def go_on(self, now: float) -> None:
        """The bus is heard again."""
        if self.stands:
            self.lost += now - self._deaf_since
            self.stands = False
            self._heard_again = now


MOST_SIGHTINGS = 8
"""Instances under one node name that are told apart: two are a conflict already."""


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
    runtime_away: str = ""
    """Why the current instance has no container runtime; empty where it has one."""
    left: str | None = None
    """The last instance that said good-bye: what still comes in from it is late."""

    def heard(self, instance: str, interval: float, time: float) -> None:
        """A heartbeat of an instance; the newest instance is the current one."""
        seen = self.sightings.get(instance)
        if seen is None:
            seen = self.sightings[instance] = _Sighting(time, time, interval)
            if len(self.sightings) > MOST_SIGHTINGS:
                quietest = min(self.sightings, key=lambda name: self.sightings[name].last)
                del self.sightings[quietest]
        seen.last, seen.interval = max(seen.last, time), interval
        if self.instance != instance or len(self.sightings) > 1:
            self.sightings = {
                name: other
                for name, other in self.sightings.items()
                if name == instance or not other.silent_at(time)
            }
            self._elect()

    def said_goodbye(self, instance: str) -> None:
        """An instance has stopped in order and never comes back."""
        self.left = instance
        self.gone(instance)

    def gone(self, instance: str) -> None:
        """Nobody listens on an instance's subject."""
        self.sightings.pop(instance, None)
        self._elect()

    def _elect(self) -> None:
        ranked = sorted(self.sightings.items(), key=lambda item: item[1].first)
        self.conflict, last = False, -inf
        for _, seen in ranked:
            # A former instance that spoke again, later than its successor began, is no restart.
            self.conflict |= last > seen.first + RESTART_GRACE
            last = max(last, seen.last)
        instance = ranked[-1][0] if ranked and not self.conflict else None
        if instance != self.instance:
            self.instance, self.runtime_away = instance, ""

    def hears_any(self, time: float) -> bool:
        """Whether any instance is being heard."""
        return any(not seen.silent_at(time) for seen in self.sightings.values())

    def hears(self, instance: str, time: float) -> bool:
        """Whether an instance is being heard."""
        seen = self.sightings.get(instance)
        return seen is not None and not seen.silent_at(time)


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its source describes it."""

    labels: Mapping[str, str]
    schedulable: bool
    problem: Text | None = None
    """Why it takes no new work, where its source says so."""


class Fleet:
    """The nodes, and the agents that serve them."""

    def __init__(self) -> None:
        self.clock = SilenceClock()
        self._nodes: dict[str, Node] = {}
        self.nodes: Mapping[str, Node] = MappingProxyType(self._nodes)
        self._presence: dict[str, Presence] = {}

    # ── questions ──

    def instance(self, node: str) -> str | None:
        """The agent instance that serves a node; None while there is none or a conflict."""
        presence = self._presence.get(node)
        return None if presence is None else presence.instance

    def connected(self, name: str, now: float) -> bool:
        """Whether any agent of a node is being heard."""
        presence = self._presence.get(name)
        return presence is not None and presence.hears_any(self.clock.at(now))

    def agent_for(self, name: str, now: float) -> str | None:
        """The instance that takes new work for a node now, if any."""
        node, presence = self._nodes.get(name), self._presence.get(name)
        if presence is None or presence.instance is None:
            return None
        if presence.runtime_away or (node is not None and not node.schedulable):
            return None
        heard = presence.hears(presence.instance, self.clock.at(now))
        return presence.instance if heard else None

    def has_conflict(self, name: str) -> bool:
        """Whether two agents run under a node's name."""
        presence = self._presence.get(name)
        return presence is not None and presence.conflict

    def lacks_runtime(self, name: str) -> bool:
        """Whether the agent of a node says that its container runtime is away."""
        presence = self._presence.get(name)
        return presence is not None and presence.runtime_away != ""

    def has_sighted(self, name: str, instance: str) -> bool:
        """Whether an instance was heard and is neither replaced nor gone."""
        presence = self._presence.get(name)
        return presence is not None and instance in presence.sightings

    def has_left(self, name: str, instance: str) -> bool:
        """Whether an instance was the last of its node to say good-bye."""
        presence = self._presence.get(name)
        return presence is not None and presence.left == instance

    def why_unavailable(self, name: str) -> Text:
        """What keeps a node from taking work."""
        node, presence = self._nodes.get(name), self._presence.get(name)
        if presence is not None and presence.conflict:
            return NODE_CONFLICT(node=name, instances=", ".join(presence.sightings))
        if node is None and (presence is None or not presence.sightings):
            return NODE_UNKNOWN(node=name)
        if node is not None and not node.schedulable:
            return node.problem or NODE_UNSCHEDULABLE(node=name)
        if presence is not None and presence.instance is not None and presence.runtime_away:
            return NODE_NO_RUNTIME(node=name, why=presence.runtime_away)
        return NODE_NO_AGENT(node=name)

    def why_given_up(self, name: str, seconds: float) -> Text:
        """The same, where it was waited for so long in vain."""
        why = self.why_unavailable(name)
        template = _WAITED.get(why.code)
        return why if template is None else template(**why.params, seconds=seconds)

    # ── what is heard ──

    def see(self, name: str, node: Node) -> None:
        """The node source knows a node, or knows something new of it."""
        self._nodes[name] = node

    def lose(self, name: str) -> None:
        """A node has ceased to exist."""
        self._presence.pop(name, None)
        self._nodes.pop(name, None)

    def heard(self, name: str, instance: str, interval: float, now: float) -> None:
        """A heartbeat of an instance."""
        presence = self._presence.setdefault(name, Presence())
        presence.heard(instance, interval, self.clock.at(now))

    def runtime_is(self, name: str, instance: str, away: str) -> None:
        """An instance that was heard has a container runtime, or says why it has none."""
        presence = self._presence.get(name)
        if presence is not None and presence.instance == instance:
            presence.runtime_away = away

    def said_goodbye(self, name: str, instance: str) -> None:
        """An instance has stopped in order."""
        self._presence.setdefault(name, Presence()).said_goodbye(instance)

    def gone(self, name: str, instance: str) -> None:
        """Nobody listens on an instance's subject."""
        presence = self._presence.get(name)
        if presence is not None:
            presence.gone(instance)
