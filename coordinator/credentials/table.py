"""The credentials that are stored (bucket ``IPS_CREDENTIALS``), followed by every coordinator.

A secret is opened only by whoever sends it to an agent, and kept by nobody in clear.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec
from msgspec.structs import replace

from common import credential_texts, subjects, texts
from common.bus import BusError, Conflict, Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from common.reasons import clip
from coordinator.core.task import Creator
from coordinator.credentials.records import (
    CredentialRecord,
    RegistryLogin,
    UnreadableSecretError,
    is_credential_name,
    seal,
    unseal,
)
from coordinator.port import StoreAway

MOST_CREDENTIALS: Final = 1000
LARGEST_BYTES: Final = 128 * 1024
"""Of one record: a sealed secret in base64, and what is shown beside it."""
AGAIN_SECONDS: Final = 2.0
TRIES: Final = 10
"""Of a change, where others change the same at the same time."""

log = Log(__name__)
noisy = RateLimitedLog(log)

Keys = Callable[[], Sequence[bytes]]
"""The keys of the moment, the one that seals first."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CredentialRecord).decode


class NoCredentialKeyError(Exception):
    """Nothing can be sealed, since there is no key to do it with."""


class NoSuchCredentialError(Exception):
    """There is no credential of this name."""


class TooManyCredentialsError(Exception):
    """There are as many credentials as may be."""


@dataclass(frozen=True, slots=True)
class KnownCredential:
    """What is known of a name; ``record`` is None where it was deleted."""

    record: CredentialRecord | None
    revision: int


class CredentialTable:
    """What is stored, and who changes it. Reads answer from memory at once."""

    def __init__(self, keys: Keys | None = None, wall: Callable[[], float] = time.time) -> None:
        """``wall``: seconds since 1970."""
        self._keys = keys
        self._wall = wall
        self._bucket: KeyValue | None = None
        self._known: dict[str, KnownCredential] = {}
        self._is_loaded = False
        self._listeners: list[Callable[[str], None]] = []

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have this one told the name of each credential that is put or deleted; ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ── followed ──

    async def run(self, bus: RecordStore) -> NoReturn:
        """Keep up with the store, for as long as the bus lives."""
        self._bucket = KeyValue(bus, subjects.CREDENTIALS_BUCKET)
        while True:
            try:
                await self._follow(self._bucket)
            except BusError as why:
                noisy.warning("away", "the stored credentials cannot be followed", why=str(why))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, bucket: KeyValue) -> None:
        end = 0
        async for entries in bucket.entries():
            for entry in entries:
                self._learn(entry)
                end = entry.revision
        is_start, self._is_loaded = not self._is_loaded, True
        if is_start:
            await self._seal_anew(bucket)
        async for entries in bucket.watch(start=end + 1):
            for entry in entries:
                self._learn(entry)

    def _learn(self, entry: Entry) -> None:
        known = self._known.get(entry.key)
        if known is None or known.revision < entry.revision:
            self._know(entry.key, KnownCredential(_read(entry), entry.revision))

    def _know(self, name: str, known: KnownCredential) -> None:
        """Take in what is stored under a name, and tell of it unless it was found at the start."""
        self._known[name] = known
        for listener in list(self._listeners) if self._is_loaded else ():
            listener(name)

    async def _seal_anew(self, bucket: KeyValue) -> None:
        """Have the first key seal everything, so that the one before it can be thrown away.

        At a start alone: two coordinators whose files differ would else undo each other's work.
        """
        keys = self._keys() if self._keys is not None else ()
        for name, known in list(self._known.items()):
            try:
                if known.record is None:
                    continue
                login, number = unseal(known.record, keys)
                if number:
                    record = replace(known.record, sealed=seal(login, keys[0]))
                    revision = await bucket.update(name, _encode(record), known.revision)
                    self._known[name] = KnownCredential(record, revision)
            except UnreadableSecretError:
                log.warning("a stored credential cannot be opened by any key", name=name)
            except Conflict:
                continue  # somebody else has just put it, or done the same

    # ── read ──

    def all(self) -> Sequence[CredentialRecord]:
        """Every credential, ordered by name. Raises StoreAway before they are known."""
        self._require_loaded()
        return [k.record for _, k in sorted(self._known.items()) if k.record is not None]

    async def find(self, name: str) -> CredentialRecord | None:
        """One of them, read from the store where it is not known here. Raises StoreAway."""
        bucket = self._require_loaded()
        known = self._known.get(name)
        if (known is None or known.record is None) and is_credential_name(name):
            try:
                entry = await bucket.get(name)
            except BusError as why:
                raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why
            if entry is not None:
                self._learn(entry)
            known = self._known.get(name)
        return None if known is None else known.record

    def open(self, record: CredentialRecord) -> RegistryLogin:
        """The secret of a credential. Raises UnreadableSecretError."""
        return unseal(record, self._keys() if self._keys is not None else ())[0]

    def _require_loaded(self) -> KeyValue:
        if self._bucket is None or not self._is_loaded:
            raise StoreAway(credential_texts.CREDENTIALS_LOADING())
        return self._bucket

    # ── changed ──

    async def put(
        self, login: RegistryLogin, creator: Creator | None
    ) -> tuple[CredentialRecord, bool]:
        """Store a credential; when this returns it is stored. Also whether it is new.

        Raises NoCredentialKeyError, TooManyCredentialsError and StoreAway.
        """
        if self._keys is None:
            raise NoCredentialKeyError
        sealed = seal(login, self._keys()[0])
        for _ in range(TRIES):
            before = await self.find(login.name)
            now = int(self._wall() * 1000)
            record = CredentialRecord(
                name=login.name,
                registry=login.registry,
                username=login.username,
                created_at=now if before is None else before.created_at,
                updated_at=now,
                updated_by=creator,
                sealed=sealed,
            )
            if await self._written(record):
                return record, before is None
        raise StoreAway(credential_texts.CREDENTIAL_CONTENDED())

    async def _written(self, record: CredentialRecord) -> bool:
        """Write over what is known; False where somebody else was faster, which is known then."""
        bucket = self._require_loaded()
        known = self._known.get(record.name)
        if (known is None or known.record is None) and len(self.all()) >= MOST_CREDENTIALS:
            raise TooManyCredentialsError
        try:
            revision = await bucket.update(
                record.name, _encode(record), 0 if known is None else known.revision
            )
        except Conflict:
            await self._read_anew(bucket, record.name)
            return False
        except BusError as why:
            raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why
        self._know(record.name, KnownCredential(record, revision))
        return True

    async def delete(self, name: str) -> None:
        """Delete a credential. Raises NoSuchCredentialError and StoreAway."""
        bucket = self._require_loaded()
        for _ in range(TRIES):
            if await self.find(name) is None:
                raise NoSuchCredentialError(name)
            try:
                revision = await bucket.delete(name, self._known[name].revision)
            except Conflict:
                await self._read_anew(bucket, name)
                continue
            except BusError as why:
                raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why
            self._know(name, KnownCredential(None, revision))
            return
        raise StoreAway(credential_texts.CREDENTIAL_CONTENDED())

    async def _read_anew(self, bucket: KeyValue, name: str) -> None:
        """Know the newest state of a name, a tombstone included. Raises StoreAway."""
        try:
            async for entries in bucket.entries(name):
                for entry in entries:
                    self._learn(entry)
        except BusError as why:
            raise StoreAway(texts.STORE_UNUSABLE(why=why.cause)) from why


def _read(entry: Entry) -> CredentialRecord | None:
    """What is stored; a record that cannot be read is none, and can be put anew."""
    if entry.value is None:
        return None
    try:
        if len(entry.value) > LARGEST_BYTES:
            raise ValueError("the record is too large")  # noqa: TRY301 - noted below
        record = _decode(entry.value)
        if record.name != entry.key:
            raise ValueError("it is that of another credential")  # noqa: TRY301
    except (*NOT_DECODABLE, ValueError) as why:
        noisy.warning("record", "a stored credential cannot be read", key=clip(entry.key), why=why)
        return None
    return record
