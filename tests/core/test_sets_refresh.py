"""Sets whose tags are looked at again: who is outdated, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from common.reasons import Reason
from coordinator.core.events import Settled
from coordinator.core.sets.decisions import NodeCooled, NodeWarmed, SetRefreshed
from coordinator.core.sets.events import SetNoted
from coordinator.core.sets.freshness import Freshness
from coordinator.core.sets.head import Refresh, Schedule, SetHead
from coordinator.core.sets.standing import SetCondition, SetNodePhase
from coordinator.core.task import TaskStatus
from tests.core.set_world import SetWorld, heard, set_of

pytestmark = pytest.mark.pure

TEN_MINUTES = 600.0


def refreshed(*images: str, **fields: Any) -> SetHead:
    """A set whose tags are looked at every ten minutes."""
    return set_of("web", *images, refresh=Refresh(tags="10m"), **fields)


def warm_world(*nodes: str, head: SetHead | None = None) -> SetWorld:
    """A set whose nodes are warm, and whose tags have been looked at once."""
    world = SetWorld()
    world.put(head or refreshed("a"))
    for name in nodes:
        world.join(name)
    world.settle(4)
    return world


def phases(world: SetWorld) -> dict[str, str]:
    """How each node is."""
    return {
        node: world.core.node("web", node, world.now).phase.value
        for node in world.core.nodes("web")
    }


def looks(world: SetWorld) -> list[tuple[str, ...]]:
    """The nodes of all looks."""
    return [repair.nodes for repair in world.repairs if repair.looks]


def test_one_warm_node_looks_and_the_others_follow_where_the_tag_has_moved() -> None:
    """While it has not, that costs one node one look in an interval."""
    world = warm_world("n1", "n2", "n3")
    assert looks(world) == [("n1",)]
    world.live(TEN_MINUTES + 20.0)
    assert len(looks(world)) == 2
    world.registry["a"] = "sha256:2"
    world.finish_all()
    world.deliver_all()
    assert phases(world) == {"n1": "warm", "n2": "waiting", "n3": "waiting"}
    world.pass_time(3.0)
    follow = world.repairs[-1]
    assert (follow.nodes, follow.always, follow.looks) == (("n2", "n3"), True, False)
    world.finish_all()
    world.deliver_all()
    assert set(phases(world).values()) == {"warm"}
    assert {node.images["a"] for node in world.nodes.values()} == {"sha256:2"}
    moved = [each for each in world.changes if isinstance(each, NodeCooled | NodeWarmed)]
    assert [type(each).__name__ for each in moved if each.node == "n2"] == [
        *("NodeWarmed", "NodeCooled", "NodeWarmed")
    ]
    assert len({(type(each), each.seen_in, each.node) for each in moved}) == len(moved)
    assert sum(isinstance(each, SetRefreshed) for each in world.changes) == 2


def test_a_reference_by_digest_is_never_looked_at() -> None:
    """It cannot move."""
    world = warm_world("n1", head=refreshed("a@sha256:1"))
    world.live(2 * TEN_MINUTES)
    assert looks(world) == []


def test_without_refresh_a_set_is_content_until_a_user_asks() -> None:
    """Then it is looked at once."""
    head = set_of("web", "a")
    world = warm_world("n1", "n2", head=head)
    world.registry["a"] = "sha256:2"
    world.live(2 * TEN_MINUTES)
    assert looks(world) == []
    world.put(replace(head, refresh_asked_at=5))
    world.settle(6)
    assert looks(world) == [("n1",)]
    assert {node.images["a"] for node in world.nodes.values()} == {"sha256:2"}
    world.live(2 * TEN_MINUTES)
    assert len(looks(world)) == 1


def test_a_node_that_joins_after_the_tag_has_moved_is_warm_with_what_it_got() -> None:
    """The next look finds that the others are outdated, and not that it is."""
    world = warm_world("n1")
    world.registry["a"] = "sha256:2"
    world.join("n2")
    world.settle(2)
    assert phases(world) == {"n1": "warm", "n2": "warm"}
    world.live(TEN_MINUTES)
    world.settle(4)
    assert set(phases(world).values()) == {"warm"}
    assert {node.images["a"] for node in world.nodes.values()} == {"sha256:2"}


def test_a_tag_that_is_put_back_is_followed_too() -> None:
    """What the last look brought counts, whatever was there before."""
    world = warm_world("n1", "n2")
    for digest in ("sha256:2", "sha256:1"):
        world.registry["a"] = digest
        world.live(TEN_MINUTES)
        world.settle(4)
        assert {node.images["a"] for node in world.nodes.values()} == {digest}
        assert set(phases(world).values()) == {"warm"}


def test_what_a_registry_that_lags_behind_brings_is_not_pulled_for_ever() -> None:
    """It is as good as the newest until a look brings another one."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES + 20.0)
    world.registry["a"] = "sha256:2"
    world.finish_all()
    world.deliver_all()
    world.registry["a"] = "sha256:1"  # as the other node's mirror has it
    world.pass_time(3.0)
    world.finish_all()
    world.deliver_all()
    assert world.nodes["n2"].images == {"a": "sha256:1"}
    assert set(phases(world).values()) == {"warm"}
    repairs = len(world.repairs)
    world.registry["a"] = "sha256:2"
    world.live(TEN_MINUTES)
    world.settle(4)
    assert [repair.looks for repair in world.repairs[repairs:]] == [True]


def test_while_the_registry_is_away_the_set_stays_as_it_is() -> None:
    """It is tried again later and later, by other nodes; from the second time on that is said."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES)
    conditions: list[bool] = []
    for pause in (60.0, 120.0, 240.0):
        world.finish_all(Reason.REGISTRY_UNREACHABLE)
        degraded = world.core.tally("web", world.now).conditions()[SetCondition.DEGRADED]
        conditions.append(degraded.holds)
        made = len(looks(world))
        world.live(pause - 15.0)
        assert len(looks(world)) == made
        world.live(20.0)
        assert len(looks(world)) == made + 1
    assert conditions == [False, True, True]
    assert degraded.reason == "RefreshFailed"
    assert degraded.text.params["reason"] == Reason.REGISTRY_UNREACHABLE
    assert len(set(looks(world)[1:])) == 2
    assert set(phases(world).values()) == {SetNodePhase.WARM}
    world.finish_all()
    degraded = world.core.tally("web", world.now).conditions()[SetCondition.DEGRADED]
    assert not degraded.holds


def test_a_cancelled_look_is_made_again_after_a_minute() -> None:
    """As a cancelled repair."""
    world = warm_world("n1")
    world.live(TEN_MINUTES)
    (task,) = world.runs
    world.end(task, TaskStatus.CANCELLED)
    world.live(40.0)
    assert len(looks(world)) == 2
    world.live(30.0)
    assert len(looks(world)) == 3


def test_nothing_is_looked_at_outside_of_windows_and_while_paused() -> None:
    """It is made up for in the next window."""
    schedule = Schedule(cron="0 * * * *", window="10m")
    world = warm_world("n1", head=refreshed("a", paused=True))
    world.nodes["n1"].images["a"] = "sha256:1"
    world.look("n1")
    world.live(TEN_MINUTES)
    assert looks(world) == []
    world.put(refreshed("a", schedule=schedule, generation=2))
    world.live(30.0)
    first = 3600.0 - world.now % 3600.0
    world.live(first - 20.0)
    assert looks(world) == []
    world.live(30.0)
    assert looks(world) == [("n1",)]


def test_the_next_leader_knows_which_digests_are_outdated() -> None:
    """From the note, also where no coordinator was left."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES + 20.0)
    world.registry["a"] = "sha256:2"
    world.finish_all()
    (*_, noted) = [each for each in world.changes if isinstance(each, SetRefreshed)]
    after = SetWorld(leads=False)
    after.now = world.now
    after.put(world.sets["web"])
    after.feed(SetNoted("web", 0, {}, noted.refreshed))
    for name in ("n1", "n2"):
        after.join(name).images = {"a": "sha256:2" if name == "n1" else "sha256:1"}
    after.feed(Settled())
    heard(after, "n1", "n2")
    assert phases(after) == {"n1": "warm", "n2": "waiting"}
    after.registry["a"] = "sha256:2"
    after.pass_time(3.0)
    assert [(repair.nodes, repair.always) for repair in after.repairs] == [(("n2",), True)]
    assert looks(after) == []


def test_a_set_that_is_not_refreshed_any_more_forgets_what_was_outdated() -> None:
    """It is content with what is there again."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES + 20.0)
    world.registry["a"] = "sha256:2"
    world.finish_all()
    world.deliver_all()
    world.put(set_of("web", "a", generation=2))
    world.pass_time(1.0)
    assert set(phases(world).values()) == {"warm"}


def test_a_leader_does_not_believe_what_it_has_stored_before() -> None:
    """Its own note, from before a set was changed, comes back by the watch: it says nothing new."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES + 20.0)
    world.registry["a"] = "sha256:2"
    world.finish_all()
    world.deliver_all()
    (*_, noted) = [each for each in world.changes if isinstance(each, SetRefreshed)]
    world.put(refreshed("a", "b", generation=2))
    world.feed(SetNoted("web", 0, {}, noted.refreshed))
    before = len(looks(world))
    world.settle(4)
    assert len(looks(world)) == before + 1  # not in ten minutes: the new image is looked at, too


def test_what_a_set_forgets_is_stored_as_forgotten() -> None:
    """Else whoever leads next would believe the note of before."""
    world = warm_world("n1", "n2")
    world.live(TEN_MINUTES + 20.0)
    world.registry["a"] = "sha256:2"
    world.finish_all()
    world.put(set_of("web", "a", generation=2))
    (*_, noted) = [each for each in world.changes if isinstance(each, SetRefreshed)]
    assert noted.refreshed.tags == {}


def test_a_look_of_before_says_nothing_of_the_images_of_now() -> None:
    """Those that the set has no more are left out of what is known, and of what is stored."""
    freshness = Freshness()
    freshness.brought("web", 10.0, {"old": "sha256:1", "a": "sha256:2"}, {"a": []}, [])
    assert [*freshness.known("web").tags] == ["a"]


def test_what_nodes_have_is_counted() -> None:
    """By tag and digest."""
    world = warm_world("n1", "n2", "n3")
    world.nodes["n3"].images["a"] = "sha256:9"
    world.look("n3")
    world.deliver_all()
    assert world.core.drift("web") == {"a": {"sha256:1": 2, "sha256:9": 1}}
