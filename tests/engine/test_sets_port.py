"""What the API relies on of sets, in the engine and in the fake that stands for it in its tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from coordinator.core.task import Asker, Creator
from coordinator.port import NoSuchSet, SetChanged
from coordinator.set_port import SetOrder, Sets
from sandbox.simulator.cluster import Cluster, task_of
from sandbox.virtual.time import virtual
from tests.api.fake_sets import FakeSets

KINDS = ["engine", "fake"]


@asynccontextmanager
async def sets_of(kind: str) -> AsyncIterator[Sets]:
    """Either of the two."""
    if kind == "fake":
        yield FakeSets()
        return
    async with Cluster() as cluster:
        yield (await cluster.leader()).service.sets


def order(*images: str, paused: bool = False) -> SetOrder:
    """A set of images."""
    return SetOrder("web", task_of(*images), paused=paused)


@pytest.mark.parametrize("kind", KINDS)
@virtual
async def test_a_put_counts_generations_and_says_whose_it_is(kind: str) -> None:
    """The same again is neither another generation nor anybody else's."""
    async with sets_of(kind) as sets:
        ann, ben = Creator(user="ann", way="tokens"), Creator(user="ben", way="tokens")
        first = await sets.put(order("a"), ann, None)
        again = await sets.put(order("a"), ben, None)
        assert (first.is_new, again.is_new, again.stored) == (True, False, first.stored)
        changed = await sets.put(order("a", paused=True), ben, first.stored.revision)
        assert changed.stored.head.generation == first.stored.head.generation + 1
        assert changed.stored.head.created_by == ben
        assert changed.stored.revision > first.stored.revision
        assert await sets.find("web") == changed.stored
        shot = sets.snapshot("web")
        assert shot is not None
        assert shot.stored == changed.stored
        assert list(sets.names()) == ["web"]


@pytest.mark.parametrize("kind", KINDS)
@virtual
async def test_the_same_again_keeps_whose_credentials_are_used(kind: str) -> None:
    """Somebody else's put is none; its owner's groups are those of the last time."""

    def named(user: str, *groups: str) -> SetOrder:
        asker = Asker(user=user, way="tokens", groups=groups)
        spec = replace(task_of("a"), credentials=("shop",), asked_by=asker)
        return SetOrder("web", spec)

    async with sets_of(kind) as sets:
        ann, ben = Creator(user="ann", way="tokens"), Creator(user="ben", way="tokens")
        first = (await sets.put(named("ann", "ops"), ann, None)).stored
        for who, asked in ((ann, named("ann", "ops")), (ben, named("ben", "ops"))):
            again = await sets.put(asked, who, first.revision)
            assert (again.is_new, again.stored) == (False, first)
        renewed = (await sets.put(named("ann", "ops", "night"), ann, first.revision)).stored
        assert renewed.revision > first.revision
        assert renewed.head == replace(first.head, spec=named("ann", "ops", "night").spec)
        assert await sets.find("web") == renewed


@pytest.mark.parametrize("kind", KINDS)
@virtual
async def test_what_is_bound_to_another_revision_changes_nothing(kind: str) -> None:
    """Neither a put nor a delete; 0 stands for a set that is not there."""
    async with sets_of(kind) as sets:
        with pytest.raises(SetChanged):
            await sets.put(order("a"), None, 5)
        stored = (await sets.put(order("a"), None, 0)).stored
        for stale in (0, stored.revision + 1):
            with pytest.raises(SetChanged):
                await sets.put(order("b"), None, stale)
            with pytest.raises(SetChanged):
                await sets.delete("web", stale)
        assert await sets.find("web") == stored


@pytest.mark.parametrize("kind", KINDS)
@virtual
async def test_what_is_deleted_is_unknown(kind: str) -> None:
    """It can be put anew, under another revision."""
    async with sets_of(kind) as sets:
        stored = (await sets.put(order("a"), None, None)).stored
        await sets.delete("web", stored.revision)
        assert await sets.find("web") is None
        assert sets.snapshot("web") is None
        assert list(sets.names()) == []
        assert list(sets.node_names("web")) == []
        assert sets.node("web", "n1") is None
        with pytest.raises(NoSuchSet):
            await sets.delete("web", None)
        again = await sets.put(order("a"), None, None)
        assert again.is_new
        assert again.stored.revision > stored.revision
