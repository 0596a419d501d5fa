"""What the store needs of the bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from common.bus import StreamState
from common.bus.protocol import RecordStore


class StoreBus(RecordStore, Protocol):
    """What is needed of the bus; errors as there."""

    async def purge(self, stream: str, subject: str) -> int:
        """Remove all records on a subject (wildcards allowed); how many."""

    async def stream_state(self, stream: str) -> StreamState:
        """How full a stream is."""

    async def subjects(self, stream: str, subject: str = ">") -> dict[str, int]:
        """Every subject of a stream and how many records it has."""

    def subject_pages(
        self, stream: str, subject: str = ">"
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """The same, some at a time."""
