"""The store's clock beside this machine's, and how much of a task's retention has really passed.

No wall clock is trusted by one reading. The engine's clock begins with the store's time where this
machine's differs from it by minutes. What removes finished tasks asks both, and does not count time
that nobody was seen to live through: a wall clock that jumps between two runs of a coordinator, or
a store's that jumps in the middle of one, is such a time, and so is a long stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import Conflict, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log
from common.messages import NOT_DECODABLE
from common.text import Text
from common.texts import CLOCK_DIFFERS

log = Log(__name__)

TOLERANCE_SECONDS = 120.0
"""A machine's clock that differs from the store's by more is not used, and said to be wrong."""
UNSEEN_SECONDS = 3600.0
"""A time in which nobody was seen to lead counts for the retention only if it is shorter."""
MOST_PAUSES = 64
_STAMP = "uptime"
_PROBE = "clock"

CountedMoment = Annotated[float, Meta(ge=-1e12, le=1e12)]


class Adjustable(Protocol):
    """The engine's clock."""

    def __call__(self) -> float:
        """Seconds since 1970, never falling."""

    def begin_at(self, now: float) -> None:
        """Show this time from now on; only before anybody has read it."""


class StoreClock:
    """Reads the store's clock from records that it has just stamped."""

    def __init__(
        self,
        bus: RecordStore,
        clock: Adjustable,
        wall: Callable[[], float],
        tell: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``tell`` is told by how many seconds this machine's clock is ahead of the store's."""
        self.offset = 0.0
        """Seconds by which the store's clock is ahead of the engine's."""
        self.warning: Text | None = None
        """What is wrong with this machine's clock, where it is."""
        self._bus = bus
        self._keys = KeyValue(bus, subjects.KEYS_BUCKET)
        self._clock = clock
        self._wall = wall
        self._tell = tell

    async def begin(self) -> None:
        """Have the engine's clock show the store's time if this machine's is wrong. BusError."""
        now = await self.read()
        if self.warning is not None:
            self._clock.begin_at(now)
            self.offset = 0.0

    async def read(self) -> float:
        """The store's time by now, in seconds since 1970. Raises BusError."""
        began = self._clock()
        await self._keys.delete(_PROBE)
        stream = f"KV_{subjects.KEYS_BUCKET}"
        record = await self._bus.last(stream, f"$KV.{subjects.KEYS_BUCKET}.{_PROBE}")
        here, wall = self._clock(), self._wall()
        # How long ago it was stamped, within the time that asking took.
        now = (here if record is None else record.time) + (here - began) / 2
        self.offset = now - here
        self._judge(wall - now)
        return now

    def _judge(self, ahead: float) -> None:
        self._tell(ahead)
        was_wrong = self.warning is not None
        is_wrong = abs(ahead) > TOLERANCE_SECONDS
        self.warning = CLOCK_DIFFERS(seconds=round(ahead)) if is_wrong else None
        if is_wrong and not was_wrong:
            log.warning("this machine's clock differs from the store's", ahead=round(ahead))
        elif was_wrong and not is_wrong:
            log.info("this machine's clock agrees with the store's again")


class Pause(msgspec.Struct, frozen=True):
    """So many seconds that passed on the store's clock and that nobody lived through."""

    since: CountedMoment
    """The store's time at which they began."""
    seconds: Annotated[float, Meta(ge=0.0, le=1e12)]


class _Stamp(msgspec.Struct, frozen=True):
    at: CountedMoment
    """The store's time at which somebody was seen to lead."""
    pauses: Annotated[list[Pause], Meta(max_length=MOST_PAUSES)] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stamp).decode


class Uptime:
    """The time that counts for the retention; one record, which the leader writes each minute."""

    def __init__(
        self,
        bus: RecordStore,
        store_clock: StoreClock,
        clock: Callable[[], float],
        newest: Callable[[], float],
    ) -> None:
        """``newest``: the newest time in any head; 0 where there is none."""
        self._bucket = KeyValue(bus, subjects.KEYS_BUCKET)
        self._store_clock = store_clock
        self._clock = clock
        self._newest = newest
        self._pauses: list[Pause] = []
        self._seen: tuple[float, float] | None = None
        """When this one was last seen: by the store's clock, and by the engine's."""

    def now(self) -> float:
        """Seconds since 1970: the earlier of what the store's and the engine's clock show."""
        return self._clock() + min(0.0, self._store_clock.offset)

    def unseen(self, since: float) -> float:
        """Seconds after a moment that do not count."""
        return sum(pause.seconds for pause in self._pauses if pause.since >= since)

    async def note(self) -> None:
        """Note that this one leads, and the time that was skipped before, if any. BusError."""
        now, here = await self._store_clock.read(), self._clock()
        entry = await self._bucket.get(_STAMP)
        if self._seen is None:
            stamp = self._read(None if entry is None else entry.value)
            self._pauses = list(stamp.pauses)
            # A note of the future says nothing, nor does one that is older than what was stored.
            at = stamp.at if stamp.at <= now + UNSEEN_SECONDS else 0.0
            expected = max(at, self._newest()) or now
        else:
            expected = self._seen[0] + here - self._seen[1]
        pauses = self._pauses
        if now - expected > UNSEEN_SECONDS:
            since = expected if self._seen is None else self._seen[0]
            log.warning("time was skipped and does not count", seconds=round(now - expected))
            pauses = _bounded([*pauses, Pause(since, now - expected)])
        value = _encode(_Stamp(now, pauses))
        try:
            if entry is None:
                await self._bucket.create(_STAMP, value)
            else:
                await self._bucket.update(_STAMP, value, entry.revision)
        except Conflict:
            return  # somebody else leads, or an answer was lost: the next time tells
        self._pauses, self._seen = pauses, (now, here)

    def _read(self, value: bytes | None) -> _Stamp:
        if value is not None:
            try:
                return _decode(value)
            except (*NOT_DECODABLE, RecursionError) as why:
                log.warning("the time that was noted last cannot be read", why=str(why))
        return _Stamp(0.0)


def _bounded(pauses: list[Pause]) -> list[Pause]:
    """The two oldest as one where there are too many: tasks before either are kept the longer."""
    if len(pauses) <= MOST_PAUSES:
        return pauses
    first, second, *rest = pauses
    return [Pause(max(first.since, second.since), first.seconds + second.seconds), *rest]
