"""What a leader tells of sets when it begins, over whatever stands in the store."""

from __future__ import annotations

import asyncio

import pytest

from common import subjects
from common.bus import KeyValue
from coordinator.engine.set_event_ids import SpecId
from coordinator.engine.set_events import SetEvents
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.engine.test_cluster_set_events import kinds, told
from tests.engine.test_cluster_sets import is_warm, put


async def store(cluster: Cluster, event_type: str, name: str, data: bytes) -> None:
    """Have an event in the store that no leader of this test has told."""
    subject = subjects.event(event_type, subjects.about_set(name))
    await cluster.observer.store(subject, data, expect_last=None)


@pytest.mark.parametrize(
    "event_id",
    [
        *("x", "", "set/ghost/1/set.created", "set/ghost/1.1/set.created/n1"),
        *("set/ghost/-1.1/set.created", "set/ghost/\u0661.1/set.created"),
        *(f"set/ghost/{'1' * 5000}.1/set.created", "set/Ghost/1.1/set.created"),
        *("set/ghost/1.1/set.ready", "set/ghost/1.1/set.created\n"),
    ],
)
@pytest.mark.pure
def test_an_id_that_is_not_ours(event_id: str) -> None:
    """It is none at all."""
    assert SpecId.parse(event_id) is None


@pytest.mark.pure
def test_an_id_says_which_of_two_is_the_later() -> None:
    """By its numbers, and not by its letters."""
    text = "set/web/9.10/set.updated"
    found = SpecId.parse(text)
    assert found is not None
    assert str(found) == text
    assert found.moment() > SpecId("web", 9, 9, "set.deleted").moment()


@virtual
async def test_damaged_events_end_no_leader() -> None:
    """Of their sets nothing is told for them, and all of others."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await store(cluster, "set.created", "ghost", b'{"id":"x"}')
        await store(cluster, "set.deleted", "ghost", b'{"id":"/set.deleted"}')
        await store(cluster, "set.created", "other", b'{"id":"set/ghost/1.1/set.created"}')
        await store(cluster, "set.created", "none", b"{")
        await cluster.node("n1")
        await put(first, "a")
        await cluster.until(lambda: is_warm(first, 1))
        await first.kill()
        await asyncio.sleep(60.0)
        second = await cluster.leader(name="c2")
        await asyncio.sleep(60.0)
        assert second.leads
        assert second.faults == []
        await second.service.sets.delete("web", None)
        await asyncio.sleep(5.0)
        ours = [
            record.data
            async for records in cluster.observer.replay(subjects.EVENTS, subjects.ALL_SET_EVENTS)
            for record in records
            if b"set/web/" in record.data
        ]
        assert b'"set.deleted"' in ours[-1]


@virtual
async def test_a_set_that_cannot_be_read_is_not_gone() -> None:
    """Nobody is told that it was deleted, and what is remembered of it stays."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        await put(first, "a")
        await cluster.until(lambda: is_warm(first, 1))
        await asyncio.sleep(10.0)
        before = await told(cluster)
        await first.kill()
        sets, notes = (
            KeyValue(cluster.observer, bucket)
            for bucket in (subjects.SETS_BUCKET, subjects.SET_NOTES_BUCKET)
        )
        entry, note = await sets.get("web"), await notes.get("web")
        assert entry is not None
        assert note is not None
        await sets.update("web", b'{"of":"a newer version"}', entry.revision)
        await cluster.leader(name="c2")
        await asyncio.sleep(60.0)
        assert await told(cluster) == before
        assert await notes.get("web") == note


@virtual
async def test_the_end_of_a_set_that_came_and_went_while_nobody_led_is_told_once() -> None:
    """As that of what was put last."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await put(first, "a")
        await put(first, "b")
        await asyncio.sleep(10.0)
        await first.kill()
        assert kinds(await told(cluster)) == ["created", "updated"]
        sets = KeyValue(cluster.observer, subjects.SETS_BUCKET)
        entry = await sets.get("web")
        assert entry is not None
        await sets.delete("web", entry.revision)
        await cluster.leader(name="c2")
        await asyncio.sleep(60.0)
        events = await told(cluster)
        assert kinds(events) == ["created", "updated", "deleted"]
        put_last, end = SpecId.parse(events[1]["id"]), SpecId.parse(events[2]["id"])
        assert put_last is not None
        assert end == put_last._replace(type="set.deleted")


@virtual
async def test_what_is_put_while_a_leader_catches_up_is_told_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last of it, once; what was put and deleted before that is over."""
    read = SetEvents._read

    async def slowly(events: SetEvents) -> None:
        await asyncio.sleep(20.0)
        await read(events)

    monkeypatch.setattr(SetEvents, "_read", slowly)
    async with Cluster() as cluster:
        first = await cluster.leader()
        for image in ("a", "b", "c"):
            await put(first, image)
            await put(first, image, name="anew")
        await first.service.sets.delete("anew", None)
        await put(first, "d", name="anew")
        await first.service.sets.delete("web", None)
        await asyncio.sleep(5.0)
        await put(first, "e")
        await put(first, "f")
        await asyncio.sleep(60.0)
        await put(first, "g")
        await asyncio.sleep(5.0)
        parsed = [SpecId.parse(event["id"]) for event in await told(cluster)]
        kept = [(each.type, each.generation) for each in parsed if each and each.name == "web"]
        assert kept == [("set.updated", 2), ("set.updated", 3)]
        assert [each.type for each in parsed if each and each.name == "anew"] == ["set.created"]
