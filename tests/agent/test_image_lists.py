"""What an agent says of all images on its node, on a bus in memory and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from agent.image_lists import MOST_ASKING, ImageLists
from agent.runtime.protocol import RuntimeAway, StoredImage
from agent.runtime.simulated import SimulatedRuntime
from common import subjects
from common.inventory import MOST_NAMES, PART_BYTES, Show, ShownImages
from common.subjects import MAX_MESSAGE_BYTES
from sandbox.simulator.cluster import Cluster, Node
from sandbox.virtual.time import virtual


class Holding(SimulatedRuntime):
    """Has what it is given; counts how often it is asked."""

    def __init__(self, *images: StoredImage) -> None:
        super().__init__()
        self.images: Sequence[StoredImage] = images
        self.looks = 0
        self.away = ""

    async def list_images(self) -> Sequence[StoredImage]:
        """Say it."""
        self.looks += 1
        if self.away:
            raise RuntimeAway(self.away)
        return self.images


class Wire:
    """A bus that takes answers alone."""

    def __init__(self) -> None:
        self.answers: dict[str, ShownImages] = {}

    def publish(self, subject: str, payload: bytes) -> None:
        """Keep it."""
        assert len(payload) < MAX_MESSAGE_BYTES
        self.answers[subject] = msgspec.json.decode(payload, type=ShownImages)


async def asked(runtime: Holding, *questions: Show) -> list[ShownImages]:
    """What is answered to questions that come at once."""
    wire = Wire()
    lists = ImageLists(wire, runtime)
    for number, question in enumerate(questions):
        lists.ask(question, f"to.{number}")
    running = asyncio.create_task(lists.run())
    await asyncio.sleep(1.0)
    running.cancel()
    return [wire.answers[f"to.{number}"] for number in range(len(questions))]


async def ask(cluster: Cluster, node: Node, question: Show) -> ShownImages:
    """Ask over the bus, as a coordinator does."""
    subject = subjects.query(*node.agent.address)
    answer = await cluster.observer.call(subject, msgspec.json.encode(question), 5.0)
    return msgspec.json.decode(answer, type=ShownImages)


@virtual
async def test_what_is_there_is_said_though_no_set_wants_it() -> None:
    """Each with its names and its size, in the order of ids."""
    async with Cluster() as cluster:
        node = await cluster.node("n1")
        await asyncio.sleep(1.0)
        assert isinstance(node.runtime, SimulatedRuntime)
        assert (await ask(cluster, node, Show())).images == ()
        node.runtime._present.update({"r/app:1", "r/app@sha256:77"})
        images = (await ask(cluster, node, Show())).images
        assert sorted(name for image in images for name in image.tags) == ["r/app:1"]
        digests = [name for image in images for name in image.digests]
        assert "r/app@sha256:77" in digests
        assert {name.partition("@")[0] for name in digests} == {"r/app"}
        assert [image.id for image in images] == sorted(image.id for image in images)
        assert {image.size for image in images} == {node.runtime._size}


@virtual
async def test_more_than_a_message_holds_is_asked_for_in_turn() -> None:
    """After the last that was said; nothing is missing and nothing comes twice."""
    wide = tuple(f"r/{'n' * 1000}:{number}" for number in range(MOST_NAMES + 9))
    runtime = Holding(*(StoredImage(f"id{number}", wide) for number in range(20)))
    found: list[str] = []
    answer = ShownImages(more=True)
    while answer.more:
        after = found[-1] if found else ""
        (answer,) = await asked(runtime, Show(after=after))
        assert answer.images
        assert all(len(image.tags) == MOST_NAMES for image in answer.images)
        found += [image.id for image in answer.images]
    assert found == sorted(f"id{number}" for number in range(20))


@virtual
async def test_all_who_ask_at_once_cost_one_look() -> None:
    """And more than may wait are not answered."""
    runtime = Holding(StoredImage("a"), StoredImage("b"))
    one, other = await asked(runtime, Show(), Show(after="a"))
    assert ([image.id for image in one.images], [image.id for image in other.images]) == (
        ["a", "b"],
        ["b"],
    )
    assert runtime.looks == 1
    with pytest.raises(KeyError):
        await asked(runtime, *[Show()] * (MOST_ASKING + 1))


@virtual
async def test_a_runtime_that_is_away_is_a_reason() -> None:
    """Which is said instead."""
    runtime = Holding(StoredImage("a"))
    runtime.away = "nobody is at the socket"
    (answer,) = await asked(runtime, Show())
    assert answer == ShownImages(why_not="nobody is at the socket")


@virtual
async def test_what_no_message_can_hold_is_left_out() -> None:
    """A runtime may say anything; the others are told of."""
    odd = StoredImage("b", tuple("\x01" * 1280 + str(number) for number in range(MOST_NAMES)))
    monstrous = StoredImage("c", ("\x01" * 1280,) * MOST_NAMES)
    assert len(msgspec.json.encode(monstrous.tags)) > PART_BYTES
    runtime = Holding(StoredImage("a", size=-1), odd, monstrous, StoredImage("d" * 257))
    (answer,) = await asked(runtime, Show())
    assert [(image.id, image.tags, image.size) for image in answer.images] == [
        ("a", (), None),
        ("b", (), None),
    ]


@virtual
async def test_a_question_without_a_place_for_its_answer_is_none() -> None:
    """The runtime is not even asked."""
    runtime, wire = Holding(StoredImage("a")), Wire()
    lists = ImageLists(wire, runtime)
    lists.ask(Show(), "")
    running = asyncio.create_task(lists.run())
    await asyncio.sleep(1.0)
    running.cancel()
    assert (runtime.looks, wire.answers) == (0, {})
