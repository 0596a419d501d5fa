"""JetStream as a log: store with an expectation, read in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.bus.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from common.bus.records import Draft, Record, StreamConfig, StreamState


class Bus(Connection):
    """Core NATS (``Connection``) and the log. Every method here has its own time limit.

    While JetStream elects a leader (up to 9 s, no responders) it is asked again for 15 s; then
    StoreUnavailable. StoreRefused carries the server's own words.
    """

    async def store(
        self,
        subject: str,
        payload: bytes,
        *,
        expect_last: int | None,
        msg_id: str | None = None,
        ttl: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Append to whatever stream holds ``subject``; its sequence there, once it is on disk.

        ``expect_last``: the sequence of the newest record on this subject, 0 for none, None for
        "whatever it is". ``ttl``: whole seconds to live (stream with ``allow_msg_ttl``).

        Raises Conflict (10071), StoreRefused, or StoreUnavailable, after which it MAY have landed.
        """
        raise NotImplementedError

    async def store_batch(self, drafts: Sequence[Draft]) -> int:
        """Append 1 to 200 messages to one stream (``allow_atomic``), all or none (ADR-50).

        The sequence of the last one. Raises as ``store``.
        """
        raise NotImplementedError

    async def last(self, stream: str, subject: str) -> Record | None:
        """Ask the stream's leader for the newest record on a subject (never stale)."""
        raise NotImplementedError

    def replay(
        self,
        stream: str,
        subjects: str | Sequence[str] = ">",
        *,
        start: int = 1,
        upto: int | None = None,
        last_per_subject: bool = False,
    ) -> AsyncIterator[list[Record]]:
        """Everything stored from ``start`` to ``upto`` (default: the end at the call), in order.

        Lists are never empty; no list at all when nothing matches. ``last_per_subject``: only the
        newest of each subject (``start`` must be 1). Continues over restarts of the server; waits
        while it is away.
        """
        raise NotImplementedError

    def follow(
        self, stream: str, subjects: str | Sequence[str] = ">", *, start: int
    ) -> AsyncIterator[list[Record]]:
        """Every record from sequence ``start`` on, as it is stored, without end.

        In order, each exactly once, over reconnections and restarts. Close it
        (``contextlib.aclosing``) or cancel the task that reads it. Raises StoreWentBack.
        """
        raise NotImplementedError

    async def stream_state(self, stream: str) -> StreamState:
        """How full the stream is."""
        raise NotImplementedError

    async def purge(self, stream: str, subject: str) -> int:
        """Remove all records on a subject (wildcards allowed); how many.

        Not crash-proof on one replica: they can be back after kill -9 (nats-server #8505).
        """
        raise NotImplementedError

    async def subjects(self, stream: str, subject: str = ">") -> dict[str, int]:
        """Every subject that matches and how many records it has."""
        raise NotImplementedError

    async def ensure_stream(self, config: StreamConfig) -> None:
        """Create the stream, or change it where it differs; several programs may do so at once."""
        raise NotImplementedError
