"""What a source of nodes is: it says which nodes exist, with which labels, and which take work.

What runs on a node (runtime, disk, pulls) is never the source's business: agents say it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, NoReturn, Protocol

from common.reasons import Reason
from common.text import Text
from coordinator.core.fleet import Node
from coordinator.core.sets.gating import NodeGates
from coordinator.nodes.marks import MarkedNodes


class FailedPull(NamedTuple):
    """One image that could not be pulled onto one node in one attempt."""

    task: str
    node: str
    image: str
    reason: Reason
    message: str


class NodeSink(Protocol):
    """Who wants to know. Calls are cheap and never fail; a repeated word has no effect."""

    def seen(self, name: str, node: Node) -> None:
        """A node exists, and this is what it is like now."""

    def vanished(self, name: str) -> None:
        """A node has ceased to exist."""

    def listed(self) -> None:
        """Every node that exists has been named."""


class NodeSource(Protocol):
    """A source for one replica."""

    @property
    def trouble(self) -> Text | None:
        """Why the nodes may be out of date or are not known yet; None where all is well."""

    @property
    def relies_on_agents(self) -> bool:
        """Whether it knows nodes by their agents' word alone, which is then kept for it."""

    @property
    def left_out(self) -> int:
        """How many nodes there are that take no part, because no agent is to run there."""

    @property
    def marked(self) -> MarkedNodes | None:
        """What Nodes say that is of gates; None where nobody asked for it."""

    def announced(self, name: str, labels: Mapping[str, str]) -> None:
        """An agent serves a node and says how it is labelled; told when that is new or changed."""

    def forgotten(self, name: str) -> None:
        """No agent has spoken for a node for long."""

    def unknown(self, name: str) -> Text | None:
        """Why a node for which an agent speaks is no node; None where it is one."""

    def uid(self, name: str) -> str | None:
        """What tells a node from another one of the same name, where the source knows it."""

    async def run(self) -> NoReturn:
        """Keep the sink up to date, without end."""


class FailureSink(Protocol):
    """Who wants to know of failed pulls, to show them where a node's admins look."""

    def pull_failed(self, failed: FailedPull) -> None:
        """A pull failed; cheap, never fails, and a repeated word has no effect."""

    async def run(self) -> NoReturn:
        """Tell of them, without end."""


class GatesAwayError(Exception):
    """The API server cannot be told anything at the moment; the text says why."""


class WritesGates(Protocol):
    """Connections to the API server, for writing."""

    async def write(self, node: str, gates: NodeGates) -> bool:
        """Write what is decided about a Node; whether all of it is so by now.

        False where something is refused, or has changed meanwhile. Raises GatesAwayError.
        """


class GateSink(Protocol):
    """Who writes to Nodes."""

    def connected(self) -> AbstractAsyncContextManager[WritesGates]:
        """Open connections for as long as the block lasts. Raises GatesAwayError."""


NewSource = Callable[[NodeSink], NodeSource]
