"""Who changed what, and who was refused: kept in a stream of its own, and one line each in the log.

What happens is noted in memory and written at once by one writer; while the store is away it waits,
bounded, and the log has it already. Nothing here changes or removes what is kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from typing import Annotated, Final, NoReturn, Protocol

import msgspec
from msgspec import Meta

from common import subjects, texts
from common.bus import BusError, Record, StreamState
from common.clock import elapsed
from common.logs import Log
from common.messages import NOT_DECODABLE
from coordinator.access.rate_limit import RateLimit
from coordinator.port import StoreAway

WAITING: Final = 10_000
"""Entries that may wait for the store; the oldest go first, and stay in the log."""
AGAIN_SECONDS: Final = 2.0
FLUSH_SECONDS: Final = 2.0
REFUSALS_PER_MINUTE: Final = 60
"""Of one address, and of one caller: nobody is to push what counts out of the stream by being
refused."""
FIRST_WINDOW: Final = 256
"""Records that are looked at first for the newest ones; twice as many each time after that."""

_Short = Annotated[str, Meta(max_length=1024)]
_Names = Annotated[tuple[_Short, ...], Meta(max_length=1000)]

log = Log(__name__)


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One change or refusal, as it is stored."""

    at: Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
    """Milliseconds since 1970."""
    user: _Short = ""
    groups: _Names = ()
    way: _Short
    address: _Short = ""
    """Where the request came from: a proxy's, where there is one."""
    action: _Short
    """Verb and resource, ``create tasks``; or ``log in``, ``log out``."""
    status: Annotated[int, Meta(ge=100, le=599)]
    reason: _Short = ""
    """The code of a refusal."""
    task: _Short = ""
    images: _Names = ()


class AuditLog(Protocol):
    """What of ``common.bus.Bus`` is needed here; errors as there."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Append a record; its sequence."""

    async def stream_state(self, stream: str) -> StreamState:
        """How full a stream is."""

    def replay(
        self, stream: str, subjects: str, *, start: int, upto: int
    ) -> AsyncGenerator[list[Record], None]:
        """Everything stored from ``start`` to ``upto``, in order."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditRecord).decode


class AuditTrail:
    """Notes what happens, and reads what is kept."""

    def __init__(self, clock: Callable[[], float] = elapsed, most_waiting: int = WAITING) -> None:
        """``clock`` counts seconds and never jumps."""
        self._waiting: deque[AuditRecord] = deque(maxlen=most_waiting)
        self._wake = asyncio.Event()
        self._bus: AuditLog | None = None
        self._refusals = RateLimit(REFUSALS_PER_MINUTE, clock)

    # ── written ──

    def changed(self, record: AuditRecord) -> None:
        """Somebody has changed something."""
        log.info("audit", **_fields(record))
        self._waiting.append(record)
        self._wake.set()

    def refused(self, record: AuditRecord) -> None:
        """Somebody was refused; of those who are refused again and again not each time is kept."""
        who: Hashable = (record.way, record.user) if record.user else record.address
        if not self._refusals.take(who):
            self.changed(record)

    async def run(self, bus: AuditLog) -> NoReturn:
        """Write what waits, for as long as the bus lives."""
        self._bus = bus
        try:
            while True:
                await self._wake.wait()
                try:
                    await self._write(bus)
                except BusError as why:
                    log.warning("the audit waits for the store", why=str(why))
                    await bus.wait_connected()
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self._bus = None

    async def flush(self, bus: AuditLog) -> None:
        """Write what waits before the program ends; what cannot be written is in the log."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._write(bus)
        except (BusError, TimeoutError) as why:
            log.warning("not all of the audit was stored", left=len(self._waiting), why=str(why))

    async def _write(self, bus: AuditLog) -> None:
        while self._waiting:
            record = self._waiting[0]
            await bus.store(subjects.audit(record.user), _encode(record), expect_last=None)
            if self._waiting and self._waiting[0] is record:
                self._waiting.popleft()
        self._wake.clear()

    # ── read ──

    async def newest(self, limit: int, *, user: str | None, since: int) -> Sequence[AuditRecord]:
        """The newest entries (of one user), the newest first, none before ``since``.

        ``since``: milliseconds since 1970. Raises StoreAway.
        """
        if self._bus is None:
            raise StoreAway(texts.AUDIT_NOT_READY())
        try:
            return await self._newest(self._bus, limit, user, since)
        except BusError as why:
            raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why

    @staticmethod
    async def _newest(
        bus: AuditLog, limit: int, user: str | None, since: int
    ) -> Sequence[AuditRecord]:
        wanted = subjects.ALL_AUDIT if user is None else subjects.audit(user)
        state = await bus.stream_state(subjects.AUDIT)
        found: list[AuditRecord] = []
        end, window = state.last_seq, max(FIRST_WINDOW, limit)
        while end >= max(state.first_seq, 1) and len(found) < limit:
            start = max(state.first_seq, end - window + 1, 1)
            part: deque[AuditRecord] = deque(maxlen=limit)
            oldest = None
            async for records in bus.replay(subjects.AUDIT, wanted, start=start, upto=end):
                for stored in records:
                    oldest = oldest or stored.time * 1000
                    part.extend(record for record in _read(stored) if record.at >= since)
            found += reversed(part)
            if oldest is not None and oldest < since:
                break
            end, window = start - 1, window * 2
        return found[:limit]


def _read(stored: Record) -> Sequence[AuditRecord]:
    try:
        return (_decode(stored.data),)
    except NOT_DECODABLE as why:
        log.warning("an entry of the audit cannot be read", seq=stored.seq, why=str(why))
        return ()


def _fields(record: AuditRecord) -> dict[str, object]:
    return {
        "user": record.user,
        "groups": list(record.groups),
        "way": record.way,
        "client": record.address,
        "action": record.action,
        "status": record.status,
        "reason": record.reason,
        "task": record.task,
        "images": list(record.images),
    }
