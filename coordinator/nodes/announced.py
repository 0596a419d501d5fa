"""The node source ``agents``: nodes are what their agents say, until they are silent for long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NoReturn

from coordinator.core.fleet import Node
from coordinator.nodes.source import NodeSink


class AnnouncedNodes:
    """Every agent is its node."""

    trouble: Final = None
    relies_on_agents: Final = True
    left_out: Final = 0
    marked: Final = None

    def __init__(self, sink: NodeSink) -> None:
        self._sink = sink

    def announced(self, name: str, labels: Mapping[str, str]) -> None:
        """The node is there, and takes work."""
        self._sink.seen(name, Node(labels, schedulable=True))

    def forgotten(self, name: str) -> None:
        """The node is no more."""
        self._sink.vanished(name)

    def unknown(self, name: str) -> None:
        """There is none: whoever speaks is a node."""
        del name

    def uid(self, name: str) -> None:
        """Agents know only the name."""

    async def run(self) -> NoReturn:
        """Nothing happens by itself."""
        await asyncio.Future()
        raise AssertionError  # the future has no end
