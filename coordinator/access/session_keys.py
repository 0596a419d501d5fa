"""The keys that sessions are sealed with: from a file, or made once and kept in the store.

A new key opens before it seals, so that what one replica sealed can be opened by another that has
not read the store since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from cryptography.fernet import Fernet
from msgspec import Meta

from common.bus import BusError, Conflict, Entry
from common.logs import Log
from common.messages import NOT_DECODABLE

KEY: Final = "session"
"""Under which the keys are kept, in the bucket of keys."""
LOOK_SECONDS: Final = 60.0
RIPE_SECONDS: Final = 3 * LOOK_SECONDS
"""After so long every replica has read a new key."""
ROTATE_SECONDS: Final = 30 * 24 * 3600.0
MOST: Final = 2

log = Log(__name__)


class SessionKey(msgspec.Struct, frozen=True, rename="camel"):
    """A Fernet key, and when it was made in seconds since 1970."""

    key: Annotated[str, Meta(min_length=44, max_length=44)]
    made_at: float


class KeyRing(msgspec.Struct, frozen=True, rename="camel"):
    """What is stored: the newest key first."""

    keys: Annotated[tuple[SessionKey, ...], Meta(max_length=10)]

    def in_use(self, now: float) -> list[bytes]:
        """Every key, the one that seals first: the newest that all replicas have read by now."""
        ripe = [key for key in self.keys if now - key.made_at > RIPE_SECONDS]
        first = (ripe or list(self.keys[-1:]))[:1]
        rest = [key for key in self.keys if key not in first]
        return [key.key.encode() for key in (*first, *rest)]

    def is_due(self, now: float) -> bool:
        """Whether there is to be a new key."""
        return not self.keys or now - self.keys[0].made_at > ROTATE_SECONDS

    def rotated(self, now: float, new: str) -> KeyRing:
        """With a new key, and as many of the old as are kept."""
        return KeyRing((SessionKey(new, now), *self.keys[: MOST - 1]))


class KeyBucket(Protocol):
    """What is needed of a bucket of the store. Each raises BusError."""

    async def get(self, key: str) -> Entry | None:
        """What is stored now."""

    async def create(self, key: str, value: bytes) -> int:
        """Store what is not there yet. Raises Conflict."""

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Replace exactly this revision. Raises Conflict."""


_read_ring = msgspec.json.Decoder(KeyRing).decode


class StoredKeys:
    """Keys in the store; whichever replica comes first makes them."""

    def __init__(
        self, clock: Callable[[], float], new_key: Callable[[], bytes] = Fernet.generate_key
    ) -> None:
        """``clock``: seconds since 1970."""
        self._clock = clock
        self._new_key = new_key
        self._ring = KeyRing(())

    def __call__(self) -> Sequence[bytes]:
        """The keys, the one that seals first; none before they were read."""
        return self._ring.in_use(self._clock())

    async def run(self, bucket: KeyBucket) -> None:
        """Keep up with the store, for ever."""
        while True:
            try:
                await self.look(bucket)
            except BusError as why:
                log.warning("the keys of sessions cannot be read", why=str(why))
            await asyncio.sleep(LOOK_SECONDS if self._ring.keys else 1.0)

    async def look(self, bucket: KeyBucket) -> None:
        """Read the keys, and make one where it is due. Raises BusError."""
        entry = await bucket.get(KEY)
        ring = KeyRing(()) if entry is None or entry.value is None else _ring_of(entry.value)
        if ring.is_due(self._clock()):
            ring = ring.rotated(self._clock(), self._new_key().decode())
            value = msgspec.json.encode(ring)
            try:
                if entry is None:
                    await bucket.create(KEY, value)
                else:
                    await bucket.update(KEY, value, entry.revision)
            except Conflict:
                return  # by another replica, a moment ago: read at the next look
        self._ring = ring


def _ring_of(value: bytes) -> KeyRing:
    """What is stored; nothing where it cannot be read, so that it is made anew."""
    try:
        ring = _read_ring(value)
        for key in ring.keys:
            Fernet(key.key)
    except (ValueError, *NOT_DECODABLE):
        log.warning("the stored keys of sessions cannot be read; new ones are made")
        return KeyRing(())
    return ring


def keys_of_file(path: Path) -> list[bytes]:
    """Fernet keys from a file, one a line, the one that seals first. Raises ValueError, OSError."""
    keys = [line.strip().encode() for line in path.read_text(encoding="ascii").splitlines()]
    keys = [key for key in keys if key]
    if not keys:
        raise ValueError("it is empty")
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                f"line {number} is no key: 32 random bytes in URL-safe base64 are"
            ) from None
    return keys
