"""What the store needs of the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from common.bus import OnStored, StreamState
from common.bus.protocol import RecordStore


class StoreBus(RecordStore, Protocol):
    """What is needed of the bus; errors as there."""

    def store_soon(
        self, subject: str, payload: bytes, *, expect_last: int, on_stored: OnStored
    ) -> None:
        """Append a record; what comes of it goes to a callback."""

    async def purge(self, stream: str, subject: str) -> int:
        """Remove all records on a subject (wildcards allowed); how many."""

    async def stream_state(self, stream: str) -> StreamState:
        """How full a stream is."""

    def subject_pages(self, stream: str, subject: str = ">") -> AsyncIterator[Mapping[str, int]]:
        """Every subject that matches and how many records it has, some at a time."""
