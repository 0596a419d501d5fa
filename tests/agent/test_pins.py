"""Which images an agent keeps from the kubelet's clean-up, by plan and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from agent.pin_plan import TIMES_ON_DISK, plan_pins
from agent.pinner import UNCLAIMED_SECONDS, Pinner
from agent.runtime.protocol import PinFailed, RuntimeAway, StoredImage
from agent.runtime.simulated import SimulatedRuntime
from agent.stock import Stock
from common.inventory import (
    InventoryQuestion,
    PinState,
    inventory_hash,
    pin_these,
    pins_hash,
    wants,
)
from common.messages import ImageDisk
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.agent.test_inventory import Listener

GIB = 2**30


def image(name: str, *tags: str, size: int | None = 10, pinned: bool = False) -> StoredImage:
    """One that has these names."""
    return StoredImage(f"id-{name}", (f"r/{name}:1", *tags), (), size, pinned)


def states(claims: Sequence[str], images: Iterable[StoredImage], most: float | None) -> list[str]:
    """What becomes of claims."""
    plan = plan_pins(claims, images, frozenset(), most)
    return [plan.states.get(claim, "absent") for claim in claims]


def test_what_is_claimed_first_has_the_share() -> None:
    """What does not fit is named; what is smaller may still."""
    images = [image("a"), image("b", size=100), image("c")]
    most = 2 * 10 * TIMES_ON_DISK
    claims = ["r/a:1", "r/b:1", "r/c:1", "r/gone:1"]
    assert states(claims, images, most) == ["pinned", "share", "pinned", "absent"]
    assert states(["r/b:1", "r/a:1"], images, 100 * TIMES_ON_DISK) == ["pinned", "share"]
    assert states(["r/a:1"], images, None) == ["diskUnknown"]
    assert states(["r/a:1"], [image("a", size=None)], most) == ["diskUnknown"]


def test_an_image_counts_once_whatever_its_names() -> None:
    """By whichever of them it is claimed."""
    images = [image("a", "r/x:2")]
    plan = plan_pins(["r/a:1", "r/x:2"], images, frozenset(), 10 * TIMES_ON_DISK)
    assert plan.pin == ["id-a"]
    assert set(plan.states.values()) == {PinState.PINNED}
    plan.refused("id-a")
    assert set(plan.states.values()) == {PinState.REFUSED}


def test_what_is_pinned_stays_so_while_nobody_knows_how_much_that_is() -> None:
    """Neither a runtime that is slow to tell of its disk nor an image without a size lets go."""
    images = [image("a"), image("b", size=None), image("c")]
    plan = plan_pins(["r/a:1", "r/b:1", "r/c:1"], images, frozenset({"id-a", "id-b"}), None)
    assert (plan.pin, plan.unpin) == ([], [])
    assert [*plan.states.values()] == [PinState.PINNED, PinState.PINNED, PinState.DISK_UNKNOWN]


def test_what_others_have_pinned_stays_theirs() -> None:
    """It is pinned, is not made ours, and takes nothing of our share; ours are let go unclaimed."""
    images = [image("pause", pinned=True), image("a", pinned=True), image("b")]
    plan = plan_pins(["r/pause:1", "r/b:1"], images, {"id-a"}, 10 * TIMES_ON_DISK)
    assert (plan.pin, plan.unpin) == (["id-b"], ["id-a"])
    assert set(plan.states.values()) == {PinState.PINNED}


class Stubborn(SimulatedRuntime):
    """Refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__(disk=ImageDisk(free_bytes=1, total_bytes=1000))
        self.refused: set[str] = set()
        self.asked = 0

    async def our_pins(self) -> frozenset[str]:
        """Count how often."""
        self.asked += 1
        return await super().our_pins()

    async def pin(self, image_id: str) -> None:
        """Pin it, or not."""
        if image_id in self.refused:
            raise PinFailed("no")
        await super().pin(image_id)

    async def unpin(self, image_id: str) -> None:
        """Let it go, or not."""
        if image_id in self.refused:
            raise PinFailed("no")
        await super().unpin(image_id)


def pinner(runtime: SimulatedRuntime, percent: float = 50.0) -> Pinner:
    """One on a disk of a thousand bytes."""
    disk = ImageDisk(free_bytes=1, total_bytes=1000)
    return Pinner(runtime, lambda: disk, percent)


@virtual
async def test_pins_follow_the_claims() -> None:
    """Also those that the runtime refuses at first; a runtime without any is asked no more."""
    runtime, images = Stubborn(), [image("a"), image("b")]
    pins = pinner(runtime)
    runtime.refused = {"id-b"}
    assert await pins.keep(["r/a:1", "r/b:1"], images) == {
        "r/a:1": PinState.PINNED,
        "r/b:1": PinState.REFUSED,
    }
    assert (runtime.pinned, set(pins.ours)) == ({"id-a"}, {"id-a"})
    runtime.refused = {"id-a"}
    await pins.keep(["r/b:1"], images)
    assert (runtime.pinned, pins.may_hold) == ({"id-a", "id-b"}, True)
    runtime.refused = set()
    await pins.keep((), ())
    assert (runtime.pinned, pins.may_hold) == (set(), False)
    asked = runtime.asked
    await pins.keep((), images)
    assert runtime.asked == asked


@virtual
async def test_pins_never_take_more_than_their_share() -> None:
    """And those that no longer fit are let go."""
    runtime, images = Stubborn(), [image("a", size=100), image("b", size=100)]
    claims = ["r/a:1", "r/b:1"]
    await pinner(runtime, 40.0).keep(claims, images)
    assert runtime.pinned == {"id-a", "id-b"}
    found = await pinner(runtime, 39.0).keep(claims, [image("a", size=100, pinned=True), images[1]])
    assert (found["r/b:1"], runtime.pinned) == (PinState.SHARE, {"id-a"})


@virtual
async def test_pins_of_a_former_run_wait_to_be_claimed() -> None:
    """For a while; then they are nobody's."""
    runtime = Stubborn()
    runtime.pinned = {"id-a"}
    pins = pinner(runtime)
    await pins.keep(None, ())
    await asyncio.sleep(UNCLAIMED_SECONDS - 1)
    await pins.keep(None, ())
    assert runtime.pinned == {"id-a"}
    await asyncio.sleep(2.0)
    await pins.keep(None, ())
    assert runtime.pinned == set()


def test_what_is_to_be_pinned_is_taken_in_whole_or_not_at_all() -> None:
    """In parts; by its name; and the order of its references is a part of that."""
    stock = Stock()
    claims = [f"r/{'n' * 1000}{number}:1" for number in range(400)]
    parts = list(pin_these(claims))
    assert len(parts) > 1
    assert [stock.claimed(part) for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (stock.claims, stock.state.pins) == (tuple(claims), pins_hash(claims))
    assert not any(stock.claimed(part) for part in parts)
    assert pins_hash(["a", "b"]) != pins_hash(["b", "a"])
    (wrong,) = pin_these(["r/a:1"])
    assert not Stock().claimed(type(wrong)(hash=wrong.hash, references=["r/b:1"]))


def test_an_agent_without_pins_has_the_hash_that_it_had() -> None:
    """So that older coordinators and agents go on understanding one another."""
    there = [("r/a:1", "sha256:1"), ("r/b:1", None)]
    assert inventory_hash("0" * 16, there) == inventory_hash("0" * 16, there, {})
    pinned = inventory_hash("0" * 16, there, {"r/a:1": PinState.PINNED})
    assert pinned != inventory_hash("0" * 16, there)


@virtual
@pytest.mark.parametrize("percent", ["50", "0"])
async def test_an_agent_pins_what_it_is_told_and_says_so(percent: str) -> None:
    """When that changes, and to whoever asks; an image that comes later, too."""
    async with Cluster() as cluster:
        disk = ImageDisk(free_bytes=GIB, total_bytes=GIB)
        node = await cluster.node("n1", present=["r/a"], disk=disk)
        node.agent._inventory._pinner._percent = float(percent)
        listener = Listener(cluster, node)
        await listener.open()
        await asyncio.sleep(1.0)
        assert isinstance(node.runtime, SimulatedRuntime)
        questions: list[InventoryQuestion] = [*wants(["r/a", "r/b"]), *pin_these(["r/a", "r/b"])]
        listener.ask(*questions)
        await asyncio.sleep(1.0)
        state = PinState.PINNED if percent == "50" else PinState.SHARE
        assert [found.pin for found in listener.reports[-1].found] == [state, None]
        node.runtime._present.add("r/b")
        node.runtime._tell()
        await asyncio.sleep(1.0)
        assert [(f.reference, f.pin) for f in listener.reports[-1].found] == [("r/b", state)]
        assert len(node.runtime.pinned) == (2 if percent == "50" else 0)
        await asyncio.sleep(15.0)
        said = listener.heartbeats[-1]
        assert said.abilities == ["remove", "pin"]
        assert said.inventory is not None
        assert said.inventory.pins == pins_hash(["r/a", "r/b"])
        listener.ask(*pin_these([]))
        await asyncio.sleep(1.0)
        assert [found.pin for found in listener.reports[-1].found] == [None, None]
        assert node.runtime.pinned == set()


@virtual
async def test_a_runtime_that_goes_away_is_asked_again() -> None:
    """What could not be let go is let go then."""
    async with Cluster() as cluster:
        node = await cluster.node("n1", disk=ImageDisk(free_bytes=GIB, total_bytes=GIB))
        runtime = node.runtime
        assert isinstance(runtime, SimulatedRuntime)
        runtime.pinned = {"sha256:former"}
        ours, away = runtime.our_pins, True

        async def our_pins() -> frozenset[str]:
            if away:
                raise RuntimeAway("no")
            return await ours()

        runtime.our_pins = our_pins  # type: ignore[method-assign]
        await asyncio.sleep(UNCLAIMED_SECONDS + 120.0)
        assert runtime.pinned == {"sha256:former"}
        away = False
        await asyncio.sleep(120.0)
        assert runtime.pinned == set()
