"""What is where, in a whole fleet in virtual time, as every coordinator answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NoReturn

import pytest

from agent.runtime.simulated import SimulatedRuntime
from coordinator.engine.node_images import ANSWER_SECONDS, MOST_ASKED
from coordinator.engine.sets import SetTable
from coordinator.port import NodeSilent, TooManyAsked
from coordinator.set_port import SetOrder
from coordinator.snapshots import PlaceState, Whereabouts
from sandbox.simulator.cluster import Cluster, Coordinator, Node, task_of
from sandbox.virtual.time import virtual

NAMES = ("n1", "n2", "n3")


async def coordinators(cluster: Cluster) -> tuple[Coordinator, Coordinator]:
    """One that leads and one that follows, over three nodes."""
    first = await cluster.leader()
    second = await cluster.coordinator("c2")
    for name in NAMES:
        await cluster.node(name)
    await cluster.until(lambda: second.service.unreadable() is None)
    await asyncio.sleep(15.0)
    return first, second


def runtime_of(node: Node) -> SimulatedRuntime:
    """Its runtime, which images can be taken from."""
    assert isinstance(node.runtime, SimulatedRuntime)
    return node.runtime


def hang(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let its runtime never answer what is there."""

    async def never() -> NoReturn:
        await asyncio.Future()
        raise AssertionError

    monkeypatch.setattr(node.runtime, "list_images", never)


async def where(coordinator: Coordinator, reference: str) -> Mapping[str, Whereabouts]:
    """Where an image is, asked when what was known has grown old."""
    await asyncio.sleep(6.0)
    return {place.node: place for place in await coordinator.service.images.places(reference)}


@virtual
async def test_what_a_node_has_is_asked_of_it() -> None:
    """Whoever brought it; with the task and the set that wanted it, by either coordinator."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        created = await first.service.create(task_of("a"), None)
        head = await cluster.over(first, created.head.id)
        runtime_of(cluster.nodes["n1"])._present.add("by/hand:1")
        await first.service.sets.put(SetOrder("web", task_of("a")), None, None)
        await asyncio.sleep(10.0)
        for coordinator in (first, second):
            found = await coordinator.service.images.on_node("n1")
            by_tag = {each.image.tags[0]: each for each in found}
            assert set(by_tag) == {"ref/a", "by/hand:1"}
            known = by_tag["ref/a"]
            assert (known.sets, known.task) == (["web"], head.id)
            assert known.since is not None
            assert head.created_at <= known.since <= (head.finished_at or 0)
            assert (by_tag["by/hand:1"].task, by_tag["by/hand:1"].sets) == (None, [])


@virtual
async def test_a_silent_node_is_a_sentence_and_makes_nobody_wait_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All who ask at once get the same, after one wait."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        hang(cluster.nodes["n2"], monkeypatch)
        cluster.nodes["n3"].sever(unsent=True)
        with pytest.raises(NodeSilent, match="n3"):
            await second.service.images.on_node("n3")
        began = asyncio.get_running_loop().time()
        asking = [
            asyncio.create_task(coordinator.service.images.on_node("n2"))
            for coordinator in (first, second, first, second)
        ]
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(each) for each in ended} == {NodeSilent}
        assert asyncio.get_running_loop().time() - began < ANSWER_SECONDS + 1
        with pytest.raises(NodeSilent, match="unknown"):
            await first.service.images.on_node("nope")


@virtual
async def test_only_so_many_nodes_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is refused at once; what is being asked already is waited for."""
    async with Cluster() as cluster:
        leader = await cluster.leader()
        names = [f"n{number}" for number in range(MOST_ASKED + 1)]
        for name in names:
            await cluster.node(name)
        await asyncio.sleep(15.0)
        for name in names:
            hang(cluster.nodes[name], monkeypatch)
        images = leader.service.images
        asking = [asyncio.create_task(images.on_node(name)) for name in names[:-1]]
        await asyncio.sleep(0.1)
        with pytest.raises(TooManyAsked):
            await images.on_node(names[-1])
        again = asyncio.create_task(images.on_node(names[0]))
        ended = await asyncio.gather(*asking, again, return_exceptions=True)
        assert {type(each) for each in ended} == {NodeSilent}


@virtual
async def test_where_an_image_is_by_what_tasks_say() -> None:
    """Running ones too; and by every coordinator alike."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        names = ["n1", "n2"]
        created = await first.service.create(task_of("a", names_nodes=True), names)
        head = await cluster.over(first, created.head.id)
        for coordinator in (first, second):
            found = await where(coordinator, "ref/a")
            assert [found[name].state for name in NAMES] == ["present", "present", "unknown"]
            assert found["n1"].task == head.id
            assert found["n1"].digest is not None
            assert found["n1"].at is not None
        slow = runtime_of(cluster.nodes["n3"])
        slow._seconds = 60.0
        await first.service.create(task_of("a", names_nodes=True), ["n3"])
        assert (await where(first, "ref/a"))["n3"].state is PlaceState.PULLING


@virtual
async def test_a_failed_pull_says_why_the_image_is_not_there() -> None:
    """Until a newer task says otherwise."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        name = "fails/image-not-found"
        created = await first.service.create(task_of(name), None)
        await cluster.over(first, created.head.id)
        for coordinator in (first, second):
            place = (await where(coordinator, f"ref/{name}"))["n1"]
            assert (place.state, place.reason) == (PlaceState.FAILED, "ImageNotFound")
            assert place.text is not None


@virtual
async def test_the_lists_of_nodes_are_not_gone_through_for_one_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which sets have it is found out once for all of them."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        await first.service.sets.put(SetOrder("web", task_of("a"), paused=True), None, None)
        await first.service.sets.put(SetOrder("api", task_of("b"), paused=True), None, None)
        monkeypatch.setattr(SetTable, "wanting", None)
        found = await where(first, "ref/a")
        assert [place.sets for place in found.values()] == [["web"]] * len(NAMES)


@virtual
async def test_a_nodes_own_word_counts_more_than_any_task() -> None:
    """Where a set has it give one: what was pulled and removed is absent."""
    async with Cluster() as cluster:
        first, _ = await coordinators(cluster)
        created = await first.service.create(task_of("a"), None)
        await cluster.over(first, created.head.id)
        order = SetOrder("web", task_of("a"), paused=True)
        await first.service.sets.put(order, None, None)
        await asyncio.sleep(10.0)
        runtime_of(cluster.nodes["n2"]).remove("ref/a")
        found = await where(first, "ref/a")
        assert [found[name].state for name in NAMES] == ["present", "absent", "present"]
        assert (found["n1"].at, found["n1"].sets) == (None, ["web"])
        assert (found["n2"].reason, found["n2"].text is not None) == ("Paused", True)


@virtual
async def test_which_images_are_known_and_how_often() -> None:
    """From tasks, sets and inventory."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        for images in (("a", "b"), ("a",)):
            created = await first.service.create(task_of(*images), None)
            await cluster.over(first, created.head.id)
        await first.service.sets.put(SetOrder("web", task_of("a", "c"), paused=True), None, None)
        await asyncio.sleep(10.0)
        for coordinator in (first, second):
            known = {image.reference: image for image in await coordinator.service.images.known()}
            assert sorted(known) == ["ref/a", "ref/b", "ref/c"]
            a, b, c = (known[f"ref/{name}"] for name in "abc")
            assert (a.tasks, a.sets, a.wanted_nodes, a.warm_nodes) == (2, 1, 3, 3)
            assert (b.tasks, b.sets, b.wanted_nodes) == (1, 0, 0)
            assert (c.tasks, c.last_task_at, c.wanted_nodes, c.warm_nodes) == (0, None, 3, 0)


@virtual
async def test_the_past_of_a_node() -> None:
    """Tasks that tried it, those that run on it, and none that only waits."""
    async with Cluster() as cluster:
        first, second = await coordinators(cluster)
        done = (await first.service.create(task_of("a"), None)).head.id
        await cluster.over(first, done)
        elsewhere = (await first.service.create(task_of("b", names_nodes=True), ["n2"])).head.id
        await cluster.over(first, elsewhere)
        runtime_of(cluster.nodes["n1"])._seconds = 60.0
        running = (await first.service.create(task_of("c"), None)).head.id
        await asyncio.sleep(5.0)
        for coordinator in (first, second):
            images = coordinator.service.images
            assert set(await images.tasks_on("n1")) == {done, running}
            past = await images.past("n1", [running, elsewhere, done])
            assert [each.head.id for each in past] == [running, done]
            assert past[1].node.images["a"].digest is not None
            assert await images.tasks_on("No Node") == frozenset()
