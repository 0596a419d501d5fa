"""What the world is told of sets, over leaders that come and go: a whole fleet in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from common import subjects
from common.bus import KeyValue
from coordinator.core.sets.standing import SetCondition
from coordinator.engine.set_events import SetEvents
from coordinator.engine.set_turns import SetTurns
from coordinator.engine.webhooks import Parcel
from coordinator.set_documents import WarmSetWebhook
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.engine.test_cluster_sets import is_warm, put, runtime_of

HOOK = "https://hooks.example/token"


async def told(cluster: Cluster, *, progress: bool = False) -> list[Any]:
    """Every event of sets, in order."""
    found: list[Any] = []
    async for records in cluster.observer.replay(subjects.EVENTS, subjects.ALL_SET_EVENTS):
        for record in records:
            event = msgspec.json.decode(record.data)
            key = subjects.parse_event(record.subject)
            assert key is not None
            assert key.type == event["type"]
            if progress or event["type"] != "set.progress":
                found.append(event)
    ids = [event["id"] for event in found]
    assert len(ids) == len(set(ids))
    return found


def kinds(events: list[Any]) -> list[str]:
    """Their types without ``set.``."""
    return [event["type"].removeprefix("set.") for event in events]


async def second_leader(cluster: Cluster, first: Coordinator) -> Coordinator:
    """Another coordinator, which leads after the first was killed."""
    second = await cluster.coordinator("c2")
    await cluster.until(lambda: second.service.unreadable() is None)
    await asyncio.sleep(20.0)
    await first.kill()
    await cluster.until(lambda: second.leads)
    await asyncio.sleep(20.0)
    return second


def since(coordinator: Coordinator, condition: SetCondition) -> int | None:
    """Since when a condition is as it is."""
    shot = coordinator.service.sets.snapshot("web")
    assert shot is not None
    return shot.since.get(condition)


@virtual
async def test_the_life_of_a_set_is_told_in_order() -> None:
    """Each event once, with the set or the node as GET shows it."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        node = await cluster.node("n1")
        await put(leader, "a")
        await cluster.until(lambda: is_warm(leader, 1))
        await asyncio.sleep(10.0)
        runtime_of(node).remove("ref/a")
        await cluster.until(lambda: not is_warm(leader, 1))
        await cluster.until(lambda: is_warm(leader, 1))
        await asyncio.sleep(10.0)
        await put(leader, "b")
        await cluster.until(lambda: is_warm(leader, 1))
        await asyncio.sleep(10.0)
        await leader.service.sets.delete("web", None)
        await asyncio.sleep(5.0)
        events = await told(cluster)
        assert kinds(events) == [
            *("created", "node.warm", "ready"),
            *("node.cold", "node.warm", "ready"),
            *("updated", "node.warm", "ready", "deleted"),
        ]
        created, warm, ready = events[:3]
        assert (created["subject"], warm["subject"]) == ("web", "web/n1")
        assert (warm["data"]["nodeName"], warm["data"]["state"]) == ("n1", "warm")
        assert ready["data"]["warmPercent"] == 100.0
        assert events[-1]["data"]["messageCode"] == "set.deleted"


@virtual
async def test_progress_is_told_when_the_counts_change() -> None:
    """At most once a second, the last of them with what became of it."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        for number in range(20):
            await cluster.node(f"n{number}", seconds=0.1 * number)
        await asyncio.sleep(5.0)
        await put(leader, "a", batch_size=20)
        await cluster.until(lambda: is_warm(leader, 20))
        await asyncio.sleep(100.0)
        reports = [e for e in await told(cluster, progress=True) if e["type"] == "set.progress"]
        assert 3 <= len(reports) <= 10
        assert reports[-1]["data"]["nodes"]["warm"] == 20


@virtual
async def test_a_new_leader_tells_nothing_twice() -> None:
    """And what holds holds since when it did."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        await put(first, "a")
        await cluster.until(lambda: is_warm(first, 1))
        await asyncio.sleep(10.0)
        began = since(first, SetCondition.READY)
        before = await told(cluster)
        second = await second_leader(cluster, first)
        assert await told(cluster) == before
        assert began is not None
        assert since(second, SetCondition.READY) == began


@virtual
async def test_a_restart_of_all_tells_nothing_and_forgets_no_time() -> None:
    """Nobody was left who remembered it."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        await put(first, "a", webhook_url=HOOK)
        await cluster.until(lambda: is_warm(first, 1))
        await asyncio.sleep(10.0)
        began, before = [since(first, each) for each in SetCondition], await told(cluster)
        assert None not in began
        await first.kill()
        await asyncio.sleep(3600.0)
        second = await cluster.leader(name="c2")
        await cluster.until(lambda: is_warm(second, 1))
        await asyncio.sleep(100.0)
        assert await told(cluster) == before
        assert [since(second, each) for each in SetCondition] == began
        assert len(cluster.webhooks.parcels) == 1


@virtual
async def test_what_a_leader_did_not_get_to_say_the_next_one_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That a set was put, what became of its nodes, that it is ready; and that one is gone."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        second = await cluster.coordinator("c2")
        await cluster.node("n1")
        await put(first, "a", name="old")
        await cluster.until(lambda: is_warm(first, 1, "old"))
        await asyncio.sleep(60.0)
        before = await told(cluster)
        with monkeypatch.context() as mute:
            mute.setattr(SetEvents, "_queue", lambda *_: None)
            await put(first, "b")
            await cluster.until(lambda: is_warm(first, 1))
            await asyncio.sleep(5.0)
            await first.service.sets.delete("old", None)
            await asyncio.sleep(1.0)
            await first.kill()
        await cluster.until(lambda: second.leads)
        await asyncio.sleep(30.0)
        events = (await told(cluster))[len(before) :]
        assert sorted(kinds(events)) == ["created", "deleted", "node.warm", "ready"]
        assert events[-1]["id"].endswith("/set.deleted")


@virtual
async def test_a_webhook_is_told_that_a_set_is_ready_and_that_it_is_degraded() -> None:
    """Once each time, and the task that repairs it tells nobody."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1")
        await cluster.node("n2")
        await put(leader, "a", webhook_url=HOOK)
        await cluster.until(lambda: is_warm(leader, 2))
        await asyncio.sleep(10.0)
        node = await cluster.node("n3", failure_rate=1.0)
        await cluster.until(lambda: "n3" in leader.service.sets.node_names("web", ["failed"]))
        await node.kill()
        await asyncio.sleep(10.0)
        parcels = cluster.webhooks.parcels
        bodies = [body for _, body in parcels if isinstance(body, WarmSetWebhook)]
        assert [body.event for body in bodies] == ["set.ready", "set.degraded"]
        assert bodies[0].set.webhook_url == "https://hooks.example"
        assert bodies[1].message == "1 nodes cannot be warmed: 1 RegistryError."
        assert len({name for name, _ in parcels}) == 2
        assert cluster.webhooks.bodies == []
        notes = KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET)
        note = await notes.get("web")
        assert note is not None
        assert b"webhooks" not in (note.value or b"")


@virtual
async def test_a_webhook_that_a_leader_did_not_get_to_send_the_next_one_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stands in the set's note until it is taken."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        with monkeypatch.context() as mute:
            mute.setattr(SetTurns, "_bring", lambda *_: None)
            await put(first, "a", webhook_url=HOOK)
            await cluster.until(lambda: is_warm(first, 1))
            await asyncio.sleep(5.0)
            await first.kill()
        assert cluster.webhooks.parcels == []
        await asyncio.sleep(100.0)
        await cluster.leader(name="c2")
        await asyncio.sleep(60.0)
        assert len(cluster.webhooks.parcels) == 1


@virtual
async def test_a_webhook_of_a_set_that_is_gone_is_told_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often its receiver was asked before; that is nobody's fault."""
    tries: list[str] = []

    async def bring(parcel: Parcel) -> None:
        tries.append(parcel.id)
        await asyncio.sleep(30.0)
        await parcel.look()

    async with Cluster() as cluster:
        monkeypatch.setattr(cluster.webhooks, "bring", bring)
        leader = await cluster.leader()
        await cluster.node("n1")
        await put(leader, "a", webhook_url=HOOK)
        await cluster.until(lambda: bool(tries))
        await leader.service.sets.delete("web", None)
        await asyncio.sleep(60.0)
        assert leader.faults == []
        assert await KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET).get("web") is None


@virtual
async def test_a_note_that_cannot_be_read_ends_nothing() -> None:
    """It counts as none, and the set is told as one that was never judged."""
    async with Cluster() as cluster:
        first = await cluster.leader()
        await cluster.node("n1")
        await put(first, "a")
        await cluster.until(lambda: is_warm(first, 1))
        await first.kill()
        notes = KeyValue(cluster.observer, subjects.SET_NOTES_BUCKET)
        for key, value in (("web", b"{"), ("api", b'{"name":"web","createdAt":1}')):
            entry = await notes.get(key)
            await notes.update(key, value, 0 if entry is None else entry.revision)
        second = await cluster.leader(name="c2")
        await cluster.until(lambda: is_warm(second, 1))
        await asyncio.sleep(60.0)
        assert second.poison == ["set note"] * len(second.poison)
        assert since(second, SetCondition.READY) is not None
        stored = await notes.get("web")
        assert stored is not None
        assert b"Ready" in (stored.value or b"")
