"""The table of credentials over a store in memory, with two coordinators that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from common import subjects
from common.bus import KeyValue
from coordinator.core.task import Creator
from coordinator.credentials import table as tables
from coordinator.credentials.records import RegistryLogin, UnreadableSecretError
from coordinator.credentials.table import (
    CredentialTable,
    NoCredentialKeyError,
    NoSuchCredentialError,
    TooManyCredentialsError,
)
from coordinator.port import StoreAway
from sandbox.virtual.bus import VirtualBus
from tests.engine.following import connected

NEW, OLD = bytes(range(32)), bytes(range(1, 33))
SECRET = "s3cret"
ANN = Creator(user="ann", way="tokens")


def login(name: str = "shop", password: str = SECRET) -> RegistryLogin:
    """What somebody stores."""
    return RegistryLogin(name=name, registry="reg.example", username="ci", password=password)


@pytest.fixture
async def bus() -> AsyncIterator[VirtualBus]:
    """A store."""
    async with connected() as bus:
        yield bus


class Followers:
    """Tables that follow a store until the test ends."""

    def __init__(self, bus: VirtualBus) -> None:
        self._bus = bus
        self.jobs: list[asyncio.Task[None]] = []

    async def __call__(self, keys: Sequence[bytes] = (NEW,)) -> CredentialTable:
        """One more, once it knows what is stored."""
        table = CredentialTable(lambda: keys)
        self.jobs.append(asyncio.create_task(table.run(self._bus)))
        while not table._is_loaded:
            await asyncio.sleep(0)
        return table


@pytest.fixture
async def follow(bus: VirtualBus) -> AsyncIterator[Followers]:
    """Makes tables."""
    followers = Followers(bus)
    yield followers
    for job in followers.jobs:
        job.cancel()
    await asyncio.wait(followers.jobs)


async def test_before_anything_is_read() -> None:
    """Nothing is said of what there is."""
    table = CredentialTable(lambda: [NEW])
    with pytest.raises(StoreAway):
        table.all()
    with pytest.raises(StoreAway):
        await table.put(login(), None)


async def test_what_one_stores_the_other_finds_at_once(follow: Followers, bus: VirtualBus) -> None:
    """Also before it has heard of it; no secret lies in the store."""
    one, other = await follow(), await follow()
    record, is_new = await one.put(login(), ANN)
    assert (is_new, record.updated_by) == (True, ANN)
    found = await other.find("shop")
    assert found == record
    assert other.open(found) == login()
    entry = await KeyValue(bus, subjects.CREDENTIALS_BUCKET).get("shop")
    assert entry is not None
    assert b"s3cret" not in (entry.value or b"")


async def test_changed_and_deleted_by_either(follow: Followers) -> None:
    """Whoever writes over what another has just written reads that first."""
    one, other = await follow(), await follow()
    first, _ = await one.put(login(), ANN)
    second, is_new = await other.put(login(password="n3w"), None)
    assert (is_new, second.created_at, second.updated_by) == (False, first.created_at, None)
    third, is_new = await one.put(login(password="n3wer"), ANN)
    assert (is_new, one.open(third).password) == (False, "n3wer")
    await other.delete("shop")
    with pytest.raises(NoSuchCredentialError):
        await other.delete("shop")
    _, is_new = await one.put(login(), ANN)
    assert is_new


async def test_without_a_key(follow: Followers) -> None:
    """Nothing can be stored, and what is stored cannot be opened."""
    record, _ = await (await follow()).put(login(), None)
    blind = CredentialTable()
    with pytest.raises(NoCredentialKeyError):
        await blind.put(login(), None)
    with pytest.raises(UnreadableSecretError):
        blind.open(record)


async def test_a_key_is_changed(follow: Followers) -> None:
    """With the new one first, a start seals everything anew: then the old one can go."""
    await (await follow([OLD])).put(login(), ANN)
    await follow([NEW, OLD])
    last = await follow([NEW])
    found = await last.find("shop")
    assert found is not None
    assert last.open(found) == login()
    assert found.updated_by == ANN


async def test_there_is_a_bound(follow: Followers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than may be is refused; to replace one is not one more."""
    monkeypatch.setattr(tables, "MOST_CREDENTIALS", 1)
    table = await follow()
    await table.put(login(), None)
    await table.put(login(password="other"), None)
    with pytest.raises(TooManyCredentialsError):
        await table.put(login("second"), None)


@pytest.mark.parametrize("value", [b"", b"\xff", b"{}", b"[" * 10_000, b'{"name":"other"}'])
async def test_a_record_that_cannot_be_read(
    follow: Followers, bus: VirtualBus, value: bytes
) -> None:
    """It is as good as none, and can be put anew."""
    await KeyValue(bus, subjects.CREDENTIALS_BUCKET).create("shop", value)
    table = await follow()
    assert table.all() == []
    record, is_new = await table.put(login(), None)
    assert is_new
    assert table.open(record) == login()
