from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from common import subjects
from common.bus import Conflict, Entry, KeyValue
from tests.fixtures.memory import AnyBus
from tests.fixtures.nats import NatsServer, OpenBus, heard
from tests.fixtures.patience import NEVER, PATIENCE

BOTH = True


@pytest.fixture
def bucket(bus: AnyBus) -> KeyValue:
    """Open a bucket that takes times to live as well."""
    return KeyValue(bus, subjects.LEASE_BUCKET)


async def entries(bucket: KeyValue, keys: str = ">") -> list[Entry]:
    """Read all of them."""
    return [entry async for found in bucket.entries(keys) for entry in found]


async def test_a_key_is_created_once(bucket: KeyValue) -> None:
    """A live value stays as it is."""
    revision = await bucket.create("a", b"1")
    with pytest.raises(Conflict):
        await bucket.create("a", b"2")
    entry = await bucket.get("a")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("a", b"1", revision)


async def test_of_twenty_that_create_at_once_one_succeeds(
    nats_server: NatsServer, open_bus: OpenBus, bucket: KeyValue
) -> None:
    """Whoever it is, the value is theirs; over a tombstone as well as in an empty bucket."""
    buses = [await open_bus(nats_server) for _ in range(20)]
    for _ in range(3):
        answers = await asyncio.gather(
            *(KeyValue(bus, bucket.bucket).create("a", b"%d" % n) for n, bus in enumerate(buses)),
            return_exceptions=True,
        )
        winners = [n for n, answer in enumerate(answers) if isinstance(answer, int)]
        assert len(winners) == 1
        assert sum(isinstance(answer, Conflict) for answer in answers) == 19
        entry = await bucket.get("a")
        assert entry is not None
        assert entry.value == b"%d" % winners[0]
        await bucket.delete("a", entry.revision)


async def test_update_is_a_compare_and_swap(bucket: KeyValue) -> None:
    """An old revision loses."""
    first = await bucket.create("a", b"1")
    second = await bucket.update("a", b"2", first)
    with pytest.raises(Conflict):
        await bucket.update("a", b"3", first)
    assert await bucket.update("a", b"3", second) > second


async def test_a_put_replaces_whatever_is_there(bucket: KeyValue) -> None:
    """Nothing, a value or a tombstone; for those who alone write a key."""
    first = await bucket.put("a", b"1")
    second = await bucket.put("a", b"2", ttl=60)
    await bucket.delete("a")
    third = await bucket.put("a", b"3")
    assert first < second < third
    found = await bucket.get("a")
    assert found is not None
    assert found.value == b"3"


async def test_a_deleted_key_has_no_value_and_can_be_created_again(bucket: KeyValue) -> None:
    """The tombstone has a revision and is the newest entry; a wrong revision deletes nothing."""
    revision = await bucket.create("a", b"1")
    with pytest.raises(Conflict):
        await bucket.delete("a", revision + 1)
    tombstone = await bucket.delete("a", revision)
    assert await bucket.get("a") is None
    [entry] = await entries(bucket)
    assert (entry.value, entry.revision) == (None, tombstone)
    assert await bucket.create("a", b"2") > tombstone


async def test_a_revision_is_also_that_of_a_tombstone(bucket: KeyValue) -> None:
    """So that what was deleted by another one can be written again; 0 is for what never was."""
    assert await bucket.revision("key") == 0
    first = await bucket.create("key", b"one")
    assert await bucket.revision("key") == first
    gone = await bucket.delete("key")
    assert await bucket.revision("key") == gone > first


async def test_an_empty_value_is_a_value(bucket: KeyValue) -> None:
    """Only a tombstone has none."""
    await bucket.create("a", b"")
    entry = await bucket.get("a")
    assert entry is not None
    assert entry.value == b""
    with pytest.raises(Conflict):
        await bucket.create("a", b"")


async def test_an_expired_key_can_be_created_again(bucket: KeyValue) -> None:
    """After its time to live there is nothing, not even a marker to stumble over."""
    await bucket.create("a", b"1", ttl=1)
    async with asyncio.timeout(PATIENCE):
        while await bucket.get("a") is not None:
            await asyncio.sleep(0.05)
    assert await entries(bucket) == []
    await bucket.create("a", b"2", ttl=1)


async def test_a_tombstone_can_vanish_too(bucket: KeyValue) -> None:
    """Of keys that come and go all day nothing stays."""
    for key, ttl in (("a", 1), ("b", int(NEVER))):
        await bucket.delete(key, await bucket.create(key, b"1"), ttl=ttl)
    async with asyncio.timeout(PATIENCE):
        while (left := await entries(bucket)) and len(left) > 1:
            await asyncio.sleep(0.05)
    assert [(entry.key, entry.value) for entry in left] == [("b", None)]
    await bucket.create("a", b"2")


async def test_an_update_without_a_time_to_live_stays(bucket: KeyValue) -> None:
    """Each write says how long it lives."""
    await bucket.update("a", b"2", await bucket.create("a", b"1", ttl=3))
    await bucket.create("b", b"", ttl=3)
    async with asyncio.timeout(PATIENCE):
        while await bucket.get("b") is not None:
            await asyncio.sleep(0.05)
    assert await bucket.get("a") is not None


async def test_a_watch_goes_on_where_the_entries_end(bucket: KeyValue) -> None:
    """No change is missed between, tombstones are changes, and other keys do not show."""
    await bucket.create("x.a", b"1")
    await bucket.create("y.a", b"1")
    revision = await bucket.create("x.b", b"2")
    known = await entries(bucket, "x.*")
    assert [(entry.key, entry.value) for entry in known] == [("x.a", b"1"), ("x.b", b"2")]
    await bucket.update("x.b", b"3", revision)
    seen: list[tuple[str, bytes | None]] = []
    async with aclosing(bucket.watch("x.*", start=known[-1].revision + 1)) as watch:
        async for changes in watch:
            seen += [(change.key, change.value) for change in changes]
            if len(seen) == 1:
                await bucket.delete("x.a")
                await bucket.create("y.b", b"")
                await bucket.create("x.c", b"4")
            if len(seen) == 3:
                break
    assert seen == [("x.b", b"3"), ("x.a", None), ("x.c", b"4")]


async def test_a_tombstone_survives_a_killed_server(
    nats_server: NatsServer, bus: AnyBus, bucket: KeyValue
) -> None:
    """What is purged may come back after kill -9; what is deleted does not.

    Decisions: deleted records are not trusted to stay away.
    """
    revision = await bucket.create("a", b"1")
    await bucket.delete("a", revision)
    await nats_server.restart()
    await heard(bus)
    [entry] = await entries(bucket)
    assert entry.value is None
