"""Which join tokens are revoked, as the store has it: up to which serial, for each name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, Protocol

from common.bus import BusError, Entry, StoreWentBack
from common.join_token import JoinToken
from common.logs import Log
from coordinator.callout.join_tokens import revocation_key

ALL: Final = "revoked.*.*"
AGAIN_SECONDS: Final = 1.0
MOST: Final = 100_000
"""Names that are kept. Beyond them, no token of a name that is not kept is good any more."""
_DIGITS: Final = 16

log = Log(__name__)


class WatchedBucket(Protocol):
    """What is needed of the bucket of keys; errors as there."""

    def entries(self, keys: str = ">") -> AsyncGenerator[list[Entry], None]:
        """Read the newest entry of each matching key."""

    def watch(self, keys: str = ">", *, start: int) -> AsyncGenerator[list[Entry], None]:
        """Every change from a revision on."""


class Revocations:
    """Keeps up with the store. Nothing is known before ``loaded``, and nobody is let in by then."""

    def __init__(self) -> None:
        self.loaded = False
        self._upto: dict[str, int] = {}
        self._full = False

    def has(self, token: JoinToken) -> bool:
        """Whether a token is revoked, or may be."""
        upto = self._upto.get(revocation_key(token.kind, token.name))
        return self._full if upto is None else token.serial <= upto

    async def run(self, bucket: WatchedBucket) -> None:
        """Follow the bucket, for ever."""
        while True:
            try:
                await self._follow(bucket)
            except (BusError, StoreWentBack) as why:
                log.warning("revoked join tokens cannot be read", why=str(why))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, bucket: WatchedBucket) -> None:
        last = 0
        async for entries in bucket.entries(ALL):
            last = self._take(entries)
        self.loaded = True
        async for entries in bucket.watch(ALL, start=last + 1):
            self._take(entries)

    def _take(self, entries: list[Entry]) -> int:
        """Note what is revoked; what cannot be read revokes all of that name's: safe is safe."""
        for entry in entries:
            if entry.value is None:
                self._upto.pop(entry.key, None)
            elif len(self._upto) < MOST or entry.key in self._upto:
                self._upto[entry.key] = _serial(entry.value)
            elif not self._full:
                self._full = True
                log.error(
                    "more names have revoked join tokens than are kept: join tokens of all other "
                    "names count as revoked until there are fewer and the coordinator is restarted",
                    most=MOST,
                )
        return entries[-1].revision


def _serial(value: bytes) -> int:
    if value.isdigit() and len(value) <= _DIGITS:
        return int(value)
    log.warning("a revocation cannot be read: all tokens of that name count as revoked")
    return int("9" * _DIGITS)
