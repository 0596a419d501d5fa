"""The part of the bus that a bucket and the lease need; errors as in ``Bus``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from common.bus.records import Record


class RecordStore(Protocol):
    """Stores records by compare-and-swap and reads them in order."""

    async def store(
        self,
        subject: str,
        payload: bytes,
        *,
        expect_last: int | None,
        ttl: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Append a record if the subject's last one is the expected; its sequence."""

    async def last(self, stream: str, subject: str) -> Record | None:
        """Ask for the newest record on a subject."""

    def replay(
        self,
        stream: str,
        subjects: str | Sequence[str] = ">",
        *,
        start: int = 1,
        upto: int | None = None,
        last_per_subject: bool = False,
    ) -> AsyncGenerator[list[Record], None]:
        """Everything stored from ``start`` to ``upto``, in order."""

    def follow(
        self, stream: str, subjects: str | Sequence[str] = ">", *, start: int
    ) -> AsyncGenerator[list[Record], None]:
        """Every record from ``start`` on, as it is stored, without end."""
