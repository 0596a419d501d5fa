"""Images taken off nodes, in a whole fleet in virtual time, as every coordinator answers it."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import msgspec
import pytest
from msgspec.structs import replace

from agent.remover import Remover
from agent.runtime.simulated import SimulatedRuntime
from agent.stock import Stock
from common import subjects
from common.bus import KeyValue
from common.messages import Heartbeat
from common.removals import KeptFor, RemovalState
from coordinator.core.purge import NodePurge, PurgeCounts, PurgeHead, PurgeState
from coordinator.core.task import TaskSpec
from coordinator.engine import purge_records, purges
from coordinator.engine.purge_asks import AGREE_SECONDS, CALL_SECONDS
from coordinator.engine.purges import MOST_RUNNING, SILENT_SECONDS
from coordinator.engine.wanted_lists import WantedLists
from coordinator.port import NoSuchSet
from coordinator.purge_port import PurgeOrder, TooManyPurges
from coordinator.set_port import SetOrder
from coordinator.snapshots import PurgeSnapshot
from sandbox.simulator.cluster import Cluster, Coordinator, Node, task_of
from sandbox.virtual.time import virtual

NAMES = ("n1", "n2", "n3")


async def coordinators(cluster: Cluster) -> tuple[Coordinator, Coordinator]:
    """One that leads and one that follows, over three nodes that have two images each."""
    first = await cluster.leader()
    second = await cluster.coordinator("c2")
    for name in NAMES:
        await cluster.node(name, present=["ref/a", "ref/b"])
    await cluster.until(lambda: second.service.unreadable() is None)
    await asyncio.sleep(15.0)
    return first, second


def runtime_of(node: Node) -> SimulatedRuntime:
    """Its runtime, with what is on the node."""
    assert isinstance(node.runtime, SimulatedRuntime)
    return node.runtime


def there(cluster: Cluster) -> dict[str, list[str]]:
    """What is on each node."""
    return {name: sorted(runtime_of(node).present) for name, node in cluster.nodes.items()}


async def begin(coordinator: Coordinator, spec: TaskSpec, **order: Any) -> str:
    """Begin with a purge; its id."""
    wanted = PurgeOrder(spec, **order)
    return (await coordinator.ask(coordinator.service.purges.start(wanted, None))).head.id


async def over(coordinator: Coordinator, purge: str) -> PurgeSnapshot:
    """Wait for its end, as a client does."""
    async with asyncio.timeout(600.0):
        while True:
            found = await coordinator.service.purges.find(purge)
            assert found is not None
            if found.state is not PurgeState.RUNNING:
                return found
            await asyncio.sleep(0.5)


async def purged(coordinator: Coordinator, spec: TaskSpec, **order: Any) -> PurgeSnapshot:
    """What a purge came to."""
    return await over(coordinator, await begin(coordinator, spec, **order))


def states(found: PurgeSnapshot) -> dict[str, list[str]]:
    """Of each node what became of its images: the state, or why it is kept."""
    return {
        node.node: [image.reason or image.state for image in node.images] for node in found.nodes
    }


def problems(found: PurgeSnapshot) -> dict[str, str]:
    """The sentences of nodes of which nothing is known."""
    return {n.node: n.problem.code for n in found.nodes if n.problem is not None}


@virtual
async def test_images_that_nobody_wants_are_removed_and_every_coordinator_tells_of_it() -> None:
    """With what was there and what it took; a dry run says the same and removes nothing."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        runtime_of(cluster.nodes["n2"]).used = {"ref/a"}
        would = await purged(second, task_of("a", "absent"), dry_run=True)
        assert there(cluster) == {key: ["ref/a", "ref/b"] for key in NAMES}
        found = await purged(second, task_of("a", "absent"))
        assert states(found) == states(would)
        assert states(found) == {
            "n1": [RemovalState.REMOVED, RemovalState.ABSENT],
            "n2": [KeptFor.IN_USE, RemovalState.ABSENT],
            "n3": [RemovalState.REMOVED, RemovalState.ABSENT],
        }
        counts = found.head.counts
        assert (counts.answered, counts.unanswered) == (3, 0)
        assert (counts.removed, counts.kept, counts.absent) == (2, 1, 3)
        assert counts.bytes == 2000
        assert there(cluster) == {"n1": ["ref/b"], "n2": ["ref/a", "ref/b"], "n3": ["ref/b"]}
        elsewhere = await over(first, found.head.id)
        assert (elsewhere.head, elsewhere.nodes) == (found.head, found.nodes)
        assert await first.service.purges.find("purge-20260116-151234-00000000") is None
        assert await first.service.purges.find("../../etc") is None


@virtual
async def test_nodes_are_selected_by_labels_and_by_name() -> None:
    """Whoever takes no work is purged all the same; a name that nobody knows is told of."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        none = await purged(first, task_of("a", node_selector={"pool": "web"}))
        assert (none.head.nodes, list(none.nodes)) == (0, [])
        found = await purged(first, task_of("a", names_nodes=True), names=["n1", "nope"])
        assert states(found) == {"n1": [RemovalState.REMOVED], "nope": []}
        assert problems(found) == {"nope": "node.unknown"}
        assert there(cluster)["n2"] == ["ref/a", "ref/b"]


@virtual
async def test_what_a_set_wants_stays_and_is_gone_with_the_set() -> None:
    """The purge begins at once when the set is deleted, before its agents were told of that."""
    async with Cluster() as cluster:
        _, second = await coordinators(cluster)
        sets = second.service.sets
        await sets.put(SetOrder("web", task_of("a", "b")), None, None)
        await sets.put(SetOrder("db", task_of("b")), None, None)
        await asyncio.sleep(10.0)
        kept = await purged(second, task_of("a"))
        assert states(kept) == {key: [KeptFor.WANTED] for key in NAMES}
        await sets.delete("web", None)
        found = await purged(second, task_of("a", "b"), set="web", names=NAMES)
        assert states(found) == {key: [RemovalState.REMOVED, KeptFor.WANTED] for key in NAMES}
        await asyncio.sleep(60.0)
        assert there(cluster) == {key: ["ref/b"] for key in NAMES}


@virtual
async def test_a_set_that_is_put_meanwhile_wins() -> None:
    """Whichever coordinator took it in; what had gone before is warmed again."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        await first.service.sets.put(SetOrder("web", task_of("a")), None, None)
        found = await purged(second, task_of("a"))
        await asyncio.sleep(60.0)
        assert there(cluster) == {key: ["ref/a", "ref/b"] for key in NAMES}
        assert {state for of in states(found).values() for state in of} <= {
            KeptFor.WANTED,
            RemovalState.REMOVED,
        }


@virtual
async def test_what_agents_were_not_told_yet_is_waited_for_and_then_nothing_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They believe in a set that is gone: whoever tells them of that does not come to it."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        await first.service.sets.put(SetOrder("web", task_of("a")), None, None)
        await asyncio.sleep(10.0)
        monkeypatch.setattr(WantedLists, "_send", lambda *_: None)
        await second.service.sets.delete("web", None)
        began = asyncio.get_running_loop().time()
        found = await purged(second, task_of("a"))
        assert asyncio.get_running_loop().time() - began >= AGREE_SECONDS
        assert problems(found) == dict.fromkeys(NAMES, "purge.node.untold")
        assert there(cluster) == {key: ["ref/a", "ref/b"] for key in NAMES}


@virtual
async def test_silent_and_older_agents_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a sentence, and the others are purged meanwhile."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)

        async def never() -> NoReturn:
            await asyncio.Future()
            raise AssertionError

        monkeypatch.setattr(cluster.nodes["n1"].runtime, "used_images", never)
        heartbeats = cluster.nodes["n2"].agent._heartbeats
        message = heartbeats._message

        def older(leaving: bool) -> Heartbeat:
            return replace(message(leaving), abilities=[], agent_version="1.0.0")

        monkeypatch.setattr(heartbeats, "_message", older)
        await asyncio.sleep(15.0)
        began = asyncio.get_running_loop().time()
        found = await purged(first, task_of("a"))
        assert problems(found) == {"n1": "purge.node.silent", "n2": "purge.node.oldAgent"}
        assert states(found)["n3"] == [RemovalState.REMOVED]
        assert asyncio.get_running_loop().time() - began < CALL_SECONDS + 5.0
        assert (found.head.counts.answered, found.head.counts.unanswered) == (1, 2)


@virtual
async def test_a_purge_whose_coordinator_ends_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody takes it up, and nobody pretends: what was done is told, by whoever is asked."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        answer = Remover._answer

        async def slow(remover: Remover, *question: object) -> object:
            if remover is cluster.nodes["n3"].agent._inventory._remover:
                await asyncio.sleep(40.0)
            return await answer(remover, *question)  # type: ignore[arg-type]

        monkeypatch.setattr(Remover, "_answer", slow)
        purge = await begin(first, task_of("a"))
        await asyncio.sleep(10.0)
        running = await second.service.purges.find(purge)
        assert running is not None
        assert (running.state, running.head.counts.answered) == (PurgeState.RUNNING, 2)
        await first.kill()
        cluster.coordinators.remove(first)
        await asyncio.sleep(SILENT_SECONDS + 5.0)
        found = await second.service.purges.find(purge)
        assert found is not None
        assert found.state is PurgeState.INTERRUPTED
        assert [node.node for node in found.nodes] == ["n1", "n2"]


@virtual
async def test_the_next_life_of_a_coordinator_knows_that_its_purge_is_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not carry out what it stored itself a moment ago."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        monkeypatch.setattr(Remover, "ask", lambda *_: None)
        purge = await begin(first, task_of("a"))
        replica = first.replica
        assert replica is not None
        replica.purges._running.clear()
        found = await first.service.purges.find(purge)
        assert found is not None
        assert found.state is PurgeState.INTERRUPTED


@virtual
async def test_only_so_many_run_at_once_and_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest make room; of one that is too large, what its nodes came to is kept."""
    monkeypatch.setattr(purge_records, "MOST_KEPT", 3)
    monkeypatch.setattr(purges, "MOST_BYTES", 100)
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        look = SimulatedRuntime.list_images

        async def slow(runtime: SimulatedRuntime) -> object:
            await asyncio.sleep(3.0)
            return await look(runtime)

        monkeypatch.setattr(SimulatedRuntime, "list_images", slow)
        ids = [await begin(first, task_of("a"), dry_run=True) for _ in range(MOST_RUNNING)]
        with pytest.raises(TooManyPurges):
            await begin(first, task_of("a"))
        last = await over(first, ids[-1])
        assert last.head.cut
        assert last.head.counts.removed == 3
        assert [len(node.images) for node in last.nodes].count(1) < 3
        assert [node.node for node in last.nodes] == list(NAMES)
        await asyncio.sleep(5.0)
        newest = await purged(second, task_of("a"))
        assert await second.service.purges.find(newest.head.id) is not None
        kept = [await second.service.purges.find(each) for each in ids]
        assert sum(each is not None for each in kept) <= 3
        assert kept[0] is None


@virtual
async def test_a_purge_whose_condition_fails_never_was() -> None:
    """Nothing is removed, nothing of it is stored, and there is room for the next one."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)

        async def fails() -> None:
            raise NoSuchSet

        for _ in range(MOST_RUNNING + 1):
            with pytest.raises(NoSuchSet):
                await first.service.purges.start(PurgeOrder(task_of("a")), None, fails)
        await asyncio.sleep(5.0)
        assert there(cluster) == {name: ["ref/a", "ref/b"] for name in NAMES}
        bucket = KeyValue(cluster.observer, subjects.PURGES_BUCKET)
        kept = [entry async for entries in bucket.entries() for entry in entries]
        assert [entry for entry in kept if entry.value is not None] == []


@virtual
async def test_who_knows_of_nothing_agrees_with_nobody() -> None:
    """A fresh agent was told nothing, and a coordinator that begins does not know its labels."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        order = SetOrder("web", task_of("a"))
        await first.service.sets.put(order, None, None)
        await asyncio.sleep(15.0)
        assert first.replica is not None
        labels = first.replica.sets._core._known.membership._labels
        seen = labels.pop("n1")
        node = cluster.nodes["n1"]
        node.agent._inventory._stock = Stock()
        purge = await begin(first, task_of("a"), names=["n1"])
        await asyncio.sleep(5.0)
        assert "ref/a" in there(cluster)["n1"]
        labels["n1"] = seen
        found = await over(first, purge)
        assert states(found) == {"n1": [KeptFor.WANTED]}


@virtual
async def test_what_still_runs_makes_room_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """However old it is: it would be stored again without what was there of it."""
    monkeypatch.setattr(purge_records, "MOST_KEPT", 2)
    async with Cluster() as cluster:
        await coordinators(cluster)
        records = purge_records.PurgeRecords(cluster.observer, lambda _what: None)
        runs, over = (f"purge-20260116-151234-0000000{number}" for number in (1, 2))
        for at, (purge, finished_at) in enumerate([(runs, None), (over, 5)], start=1):
            head = PurgeHead(
                id=purge, images=(), work=(), run="r", created_at=at, finished_at=finished_at
            )
            await records.save(head)
        await records.make_room()
        assert await records.load(over) is None
        assert await records.load(runs) is not None


@virtual
async def test_a_purge_that_fails_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is interrupted; the coordinator goes on, and so do other purges."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)

        def broken(*_: object) -> NoReturn:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(PurgeCounts, "and_of", broken)
            purge = await begin(first, task_of("a"))
            await asyncio.sleep(5.0)
        found = await first.service.purges.find(purge)
        assert found is not None
        assert found.state is PurgeState.INTERRUPTED
        assert first.faults == ["purge"]
        assert (await purged(first, task_of("a"))).head.counts.absent == 3


@virtual
async def test_what_is_kept_of_a_large_purge_is_read_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of which is larger than a message; all are there at the other coordinator."""
    monkeypatch.setattr(purges, "PART_BYTES", 150)
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        found = await purged(first, task_of("a", "b"))
        assert found.head.parts > 1
        assert (await over(second, found.head.id)).nodes == found.nodes


@virtual
async def test_a_record_that_cannot_be_read_is_none() -> None:
    """It is counted, and ends nothing."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        found = await purged(first, task_of("a"))
        bucket = KeyValue(cluster.observer, subjects.PURGES_BUCKET)
        await bucket.put(f"{found.head.id}.0", b"[{]")
        again = await first.service.purges.find(found.head.id)
        assert again is not None
        assert again.nodes == []
        await bucket.put(found.head.id, b"{}")
        assert await first.service.purges.find(found.head.id) is None
        assert first.poison.count("purge") == 2


@virtual
async def test_the_store_is_away() -> None:
    """A purge that cannot be stored does not begin; one that runs goes on and is stored later."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        stream = f"KV_{subjects.PURGES_BUCKET}"
        cluster.server.jetstream.refuse(stream)
        with pytest.raises(Exception, match="store"):
            await begin(first, task_of("b"))
        assert there(cluster)["n1"] == ["ref/a", "ref/b"]
        cluster.server.jetstream.refuse(stream, None)
        purge = await begin(first, task_of("a"))
        cluster.server.jetstream.refuse(stream)
        await asyncio.sleep(20.0)
        cluster.server.jetstream.refuse(stream, None)
        await asyncio.sleep(10.0)
        found = await over(second, purge)
        assert found.state is PurgeState.FINISHED
        assert found.head.counts.removed == 3


def test_what_is_stored_of_a_node_is_small() -> None:
    """So that two mebibytes are thousands of them."""
    node = NodePurge(node="node-1234")
    assert len(msgspec.json.encode(node)) < 60
