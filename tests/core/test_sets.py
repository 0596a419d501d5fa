from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.runtime.protocol import PresentImage
from common.inventory import wants
from common.messages import ImageDisk
from common.reasons import Reason
from common.texts import NODE_CORDONED
from coordinator.core.events import Settled
from coordinator.core.node_run import NodePhase
from coordinator.core.sets.decisions import (
    AskInventory,
    CreateRepair,
    NodeCooled,
    NodeWarmed,
    SendWanted,
    SetDropped,
)
from coordinator.core.sets.diagnosis import GIB, AllKnown, look_over
from coordinator.core.sets.events import CredentialChanged, InventoryReported
from coordinator.core.sets.records import LONGEST_BACK_OFF_SECONDS, back_off
from coordinator.core.sets.standing import Blocked, SetCondition, SetNodePhase
from coordinator.core.task import TaskStatus
from tests.core.set_world import SetWorld, heard, set_of

pytestmark = pytest.mark.pure


def phases(world: SetWorld, name: str) -> dict[str, SetNodePhase]:
    """How each node of a set is."""
    core = world.core
    return {node: core.node(name, node, world.now).phase for node in core.nodes(name)}


def why(world: SetWorld, name: str, node: str) -> str | None:
    """The reason for which a node is not warm."""
    return world.core.node(name, node, world.now).reason


def test_cold_nodes_are_repaired_together() -> None:
    """Two seconds after the first of them, by one task; they are warm as soon as that is seen."""
    world = SetWorld()
    world.put(set_of("web", "a", "b"))
    for name in ("n1", "n2", "n3"):
        world.join(name)
    world.nodes["n3"].images = {"a": "sha256:1", "b": "sha256:2"}
    heard(world, "n1", "n2", "n3")
    assert world.repairs == []
    world.pass_time(2.0)
    assert [repair.nodes for repair in world.repairs] == [("n1", "n2")]
    assert set(phases(world, "web").values()) == {SetNodePhase.WARM, SetNodePhase.WAITING}
    world.finish_all()
    world.deliver_all()
    assert set(phases(world, "web").values()) == {SetNodePhase.WARM}
    assert [(c.set, c.node) for c in world.changes if isinstance(c, NodeWarmed)] == [
        ("web", "n1"),
        ("web", "n2"),
    ]
    world.pass_time(10_000.0)
    assert len(world.repairs) == 1


def test_a_node_that_joins_is_repaired_at_once() -> None:
    """From its first heartbeat it takes two seconds, and the time that its agent takes to look."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.pass_time(1000.0)
    world.join("n1")
    heard(world, "n1")
    world.pass_time(2.0)
    assert [repair.nodes for repair in world.repairs] == [("n1",)]


def test_a_node_that_joins_does_not_wait_for_a_long_repair_of_its_set() -> None:
    """It has a repair of its own beside it; one place stays free for another set."""
    world = SetWorld(max_repairs=3)
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(3.0)
    world.join("n2")
    heard(world, "n2")
    world.pass_time(3.0)
    assert [repair.nodes for repair in world.repairs] == [("n1",), ("n2",)]
    world.join("n3")
    heard(world, "n3")
    world.pass_time(3.0)
    assert len(world.repairs) == 2
    assert phases(world, "web")["n3"] is SetNodePhase.WAITING
    world.put(set_of("api", "b"))
    heard(world, "n1", "n2", "n3")
    world.pass_time(3.0)
    assert [repair.head.name for repair in world.repairs] == ["web", "web", "api"]
    world.finish_all()
    world.settle()
    assert world.repairs[3].nodes == ("n3",)
    assert set(phases(world, "web").values()) == {SetNodePhase.WARM}


def test_who_a_repair_is_not_done_with_gets_no_other_one() -> None:
    """A cancelled one gives its nodes back, which is no reason to begin again beside it."""
    world = SetWorld(max_repairs=5)
    world.put(set_of("web", "a"))
    for name in ("n1", "n2"):
        world.join(name)
    heard(world, "n1", "n2")
    world.pass_time(3.0)
    (run,) = world.runs.values()
    run.move(run.by_name["n2"], NodePhase.CANCELLED)
    world.beat("n2")
    world.pass_time(3.0)
    assert len(world.repairs) == 1
    found = world.core.node("web", "n2", world.now)
    assert (found.phase, found.is_due) == (SetNodePhase.WAITING, False)


def test_nothing_is_repaired_of_which_nobody_said_what_is_there() -> None:
    """The node waits for its agent's word."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.pass_time(20.0)
    assert world.repairs == []
    assert phases(world, "web") == {"n1": SetNodePhase.WAITING}


def test_an_image_that_vanished_comes_back() -> None:
    """And that it was away is told."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    world.nodes["n1"].images.clear()
    world.look("n1")
    world.deliver_all()
    (cooled,) = [change for change in world.changes if isinstance(change, NodeCooled)]
    assert (cooled.set, cooled.node) == ("web", "n1")
    world.pass_time(2.0)
    assert len(world.repairs) == 2


def test_a_node_from_which_images_vanish_again_and_again_is_left_alone() -> None:
    """After the third time within an hour, for an hour."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    world.settle()
    for _ in range(3):
        world.nodes["n1"].images.clear()
        world.look("n1")
        world.settle(1)
    assert len(world.repairs) == 3
    assert why(world, "web", "n1") == Blocked.THRASHING
    world.pass_time(3500.0)
    world.settle(1)
    assert len(world.repairs) == 3
    world.pass_time(200.0)
    world.settle(1)
    assert len(world.repairs) == 4


def test_a_node_that_failed_is_tried_again_later_and_later() -> None:
    """After a minute, then two, at last every hour; without an end."""
    assert [back_off(times) for times in (1, 2, 3)] == [60.0, 120.0, 240.0]
    assert back_off(10_000) == LONGEST_BACK_OFF_SECONDS
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(2.0)
    for times, seconds in enumerate((60.0, 120.0, 240.0), start=1):
        world.finish_all(Reason.REGISTRY_ERROR)
        assert len(world.repairs) == times
        found = world.core.node("web", "n1", world.now)
        assert (found.phase, found.reason) == (SetNodePhase.FAILED, Reason.REGISTRY_ERROR)
        assert found.image == "a"
        world.pass_time(seconds - 5.0)
        world.beat("n1")
        world.pass_time(3.0)
        world.beat("n1")
        assert len(world.repairs) == times
        world.pass_time(4.0)
        assert len(world.repairs) == times + 1


@pytest.mark.parametrize("change", ["set", "node", "agent"])
def test_a_change_lets_a_failed_node_be_tried_at_once(change: str) -> None:
    """Of the set, of the node, or of the agent, which may have other credentials."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(2.0)
    world.finish_all(Reason.UNAUTHORIZED)
    assert why(world, "web", "n1") == Reason.UNAUTHORIZED
    assert phases(world, "web")["n1"] is SetNodePhase.BLOCKED
    match change:
        case "set":
            world.put(set_of("web", "a", generation=2, priority=9))
        case "node":
            world.see("n1", {"changed": "yes"})
        case _:
            world.nodes["n1"].restart()
            world.pass_time(2.0)
            world.beat("n1")
    heard(world, "n1")
    world.pass_time(3.0)
    assert len(world.repairs) == 2


def test_why_a_node_is_blocked() -> None:
    """By exactly one reason, and nothing is pulled there."""
    world = SetWorld()
    for name in ("cordoned", "full", "old", "silent"):
        world.join(name)
    world.see("alone", {})
    world.nodes["old"].is_old = True
    world.nodes["full"].disk = ImageDisk(free_bytes=14, total_bytes=100)
    world.see("cordoned", {}, NODE_CORDONED(node="cordoned"))
    world.live(50.0, silent="silent")
    world.put(set_of("web", "a"))
    world.live(50.0, silent="silent")
    assert world.repairs == []
    assert {node: why(world, "web", node) for node in phases(world, "web")} == {
        "alone": Blocked.NO_AGENT,
        "cordoned": Blocked.CORDONED,
        "full": Blocked.DISK_FULL,
        "old": Blocked.NO_AGENT,
        "silent": Blocked.NO_AGENT,
    }
    text = world.core.node("web", "full", world.now).text
    assert text is not None
    assert text.params["percent"] == 86.0
    world.nodes["full"].disk = ImageDisk(free_bytes=50, total_bytes=100)
    world.see("cordoned", {})
    world.live(10.0, silent="silent")
    assert world.repairs[0].nodes == ("cordoned", "full")


def with_sizes(world: SetWorld, **sizes: int) -> None:
    """Two nodes that have these images, and say how large they are."""
    for node in ("large", "larger"):
        tell_sizes(world, node, **sizes)


def tell_sizes(world: SetWorld, name: str, **sizes: int) -> None:
    """A node that has these images says how large they are."""
    node = world.join(name)
    world.deliver_all()
    node.images = dict.fromkeys(sizes, "sha256:1")
    found = {name: PresentImage("sha256:1", size) for name, size in sizes.items()}
    for report in node.stock.settle(node.images, found):
        world.feed(InventoryReported(name, node.instance, report))


def test_a_set_that_a_disk_has_no_room_for_is_not_pulled() -> None:
    """By the sizes of what is missing; as soon as there is room it is."""
    world = SetWorld()
    world.put(set_of("web", "a", "b", "c"))
    with_sizes(world, a=4 * GIB, b=GIB)
    node = world.join("small")
    node.images = {"b": "sha256:1"}
    node.disk = ImageDisk(free_bytes=5 * GIB, total_bytes=20 * GIB)
    world.live(20.0)
    small = world.core.node("web", "small", world.now)
    assert (small.phase, small.reason) == (SetNodePhase.BLOCKED, Blocked.DISK_FULL)
    assert small.text is not None
    assert "needs 4.0 GiB, 2.0 free below 85.0 %" in small.text.message
    assert all("small" not in repair.nodes for repair in world.repairs)
    node.disk = ImageDisk(free_bytes=7 * GIB + 1, total_bytes=20 * GIB)
    world.live(10.0)
    assert any("small" in repair.nodes for repair in world.repairs)


def test_where_all_of_a_set_fits_nobody_counts_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sum is enough for all of its nodes."""
    world = SetWorld()
    world.put(set_of("web", "a", "b"))
    with_sizes(world, a=4 * GIB, b=GIB)
    for name in ("n1", "n2"):
        world.join(name).disk = ImageDisk(free_bytes=19 * GIB, total_bytes=20 * GIB)
    heard(world, "n1", "n2")
    counted: list[str] = []

    def missing_bytes(_known: AllKnown, _name: str, node: str) -> int:
        counted.append(node)
        return 0

    monkeypatch.setattr(AllKnown, "missing_bytes", missing_bytes)
    look_over(world.core._known, "web", world.now)
    assert counted == []
    world.nodes["n1"].disk = ImageDisk(free_bytes=5 * GIB, total_bytes=20 * GIB)
    heard(world, "n1")
    counted.clear()
    look_over(world.core._known, "web", world.now)
    assert counted == ["n1"]


def test_no_single_agent_makes_an_image_too_large() -> None:
    """The fewest bytes of two nodes or more count, as long as these are there and have it."""
    world = SetWorld()
    warmth = world.core._known.warmth
    world.put(set_of("web", "a"))
    tell_sizes(world, "liar", a=2**50)
    assert warmth.size("a") is None
    with_sizes(world, a=10)
    assert warmth.size("a") == 10
    world.leave("large")
    world.leave("larger")
    assert warmth.size("a") is None
    tell_sizes(world, "honest", a=10)
    assert warmth.size("a") == 10
    world.nodes["honest"].images.clear()
    world.look("honest")
    world.deliver_all()
    assert warmth.size("a") is None
    world.put(set_of("web", "b", generation=2))
    world.settle()
    assert set(warmth._told) == {"b"}


def test_other_credentials_are_tried_at_once() -> None:
    """Those that are stored, of the sets that name them; and those of a node's agent."""
    world = SetWorld(max_repairs=5)
    world.put(set_of("web", "a", credentials=("shop",)))
    world.put(set_of("api", "a"))
    world.join("n1")
    world.live(10.0)
    for _ in range(3):
        world.finish_all(Reason.UNAUTHORIZED)
        world.live(300.0)
    world.finish_all(Reason.UNAUTHORIZED)
    tried = len(world.repairs)
    world.feed(CredentialChanged("other"))
    world.live(10.0)
    assert len(world.repairs) == tried
    world.feed(CredentialChanged("shop"))
    world.live(5.0)
    assert [repair.head.name for repair in world.repairs[tried:]] == ["web"]
    world.finish_all(Reason.UNAUTHORIZED)
    world.nodes["n1"].credential_changes += 1
    world.live(5.0)
    assert {repair.head.name for repair in world.repairs[tried + 1 :]} == {"web", "api"}


def test_two_agents_of_one_node_are_a_conflict() -> None:
    """What either says is there does not count meanwhile."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    node = world.join("n1")
    for second in range(6):
        node.instance = f"{second % 2:016x}"
        world.pass_time(2.0)
        world.beat("n1")
    assert why(world, "web", "n1") == Blocked.AGENT_CONFLICT


def test_a_paused_set_does_nothing() -> None:
    """It still knows what is warm; once it goes on, what is cold is repaired."""
    world = SetWorld()
    world.put(set_of("web", "a", paused=True))
    world.join("n1")
    world.settle()
    assert world.repairs == []
    assert why(world, "web", "n1") == Blocked.PAUSED
    world.put(set_of("web", "a", generation=2))
    world.settle(1)
    assert len(world.repairs) == 1


def test_a_set_has_one_repair_and_all_have_three() -> None:
    """The most urgent of those that wait comes next."""
    world = SetWorld(max_repairs=2)
    world.join("n1")
    for number, priority in enumerate((5, 5, 1, 9)):
        world.put(set_of(f"s{number}", f"r{number}", priority=priority))
    heard(world, "n1")
    world.pass_time(3.0)
    first = [repair.head.name for repair in world.repairs]
    assert first[0] == "s3"
    assert len(first) == 2
    world.join("n2")
    heard(world, "n1", "n2")
    world.pass_time(10.0)
    assert len(world.repairs) == 2
    task = next(task for task, run in world.runs.items() if run.head.set != "s3")
    world.end_node(task, "n1")
    world.deliver_all()
    assert len(world.repairs) == 3
    world.settle(12)
    assert {repair.head.name for repair in world.repairs} == {"s0", "s1", "s2", "s3"}
    assert all(set(phases(world, name).values()) == {SetNodePhase.WARM} for name in world.sets)


def test_a_deleted_set_makes_nothing() -> None:
    """Its nodes are told to look for less."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.delete("web")
    assert isinstance(world.changes[-1], SetDropped)
    world.settle()
    assert world.repairs == []
    assert world.nodes["n1"].stock.state.generation is not None
    assert not world.nodes["n1"].stock.wants_any


def test_a_node_that_no_longer_matches_leaves() -> None:
    """And one that matches from now on is repaired."""
    world = SetWorld()
    world.put(set_of("web", "a", node_selector={"pool": "web"}))
    world.join("n1", {"pool": "web"})
    world.join("n2", {"pool": "db"})
    world.settle()
    assert world.core.nodes("web") == ["n1"]
    world.see("n1", {"pool": "db"})
    world.see("n2", {"pool": "web"})
    world.settle()
    assert phases(world, "web") == {"n2": SetNodePhase.WARM}
    world.put(set_of("web", "a", generation=2, node_selector={"pool": "db"}))
    world.settle()
    assert phases(world, "web") == {"n1": SetNodePhase.WARM}
    assert [repair.nodes for repair in world.repairs] == [("n1",), ("n2",)]


def test_a_repair_that_pulled_what_nobody_sees_is_not_made_for_ever() -> None:
    """Where a runtime lists an image by another name than it was asked for."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(2.0)
    task = next(iter(world.runs))
    world.end_node(task, "n1")
    world.nodes["n1"].images.clear()
    world.bus.clear()
    world.nodes["n1"].stock.settle({}, {})
    world.pass_time(4.0)
    assert phases(world, "web")["n1"] is SetNodePhase.WAITING
    world.pass_time(10.0)
    assert why(world, "web", "n1") == Reason.UNKNOWN
    world.pass_time(40.0)
    assert len(world.repairs) == 1
    world.beat("n1")
    world.pass_time(10.0)
    assert len(world.repairs) == 2


def test_a_repair_that_was_cancelled_comes_back_later() -> None:
    """Not at once: somebody wanted it to end."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(2.0)
    world.end(next(iter(world.runs)), TaskStatus.CANCELLED)
    world.pass_time(55.0)
    assert len(world.repairs) == 1
    world.beat("n1")
    world.pass_time(10.0)
    assert len(world.repairs) == 2


def test_a_store_that_refuses_is_asked_again() -> None:
    """Every other second."""
    world = SetWorld()
    world.refuses = True
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.pass_time(7.0)
    assert len(world.repairs) == 3
    world.refuses = False
    world.settle()
    assert phases(world, "web") == {"n1": SetNodePhase.WARM}


def test_a_follower_knows_the_same_and_does_nothing() -> None:
    """It asks agents for what it missed; as soon as it leads it goes on."""
    world = SetWorld(leads=False)
    world.put(set_of("web", "a"))
    world.join("n1")
    world.pass_time(10.0)
    assert not any(isinstance(message, SendWanted) for message in world.bus)
    for want in wants(["a"]):
        world.nodes["n1"].stock.told(want)
    world.look("n1")
    world.bus.clear()  # another leader had it told, before this replica was there
    world.beat("n1")
    assert [type(message) for message in world.bus] == [AskInventory]
    world.deliver_all()
    world.pass_time(10.0)
    assert world.repairs == []
    assert phases(world, "web") == {"n1": SetNodePhase.WAITING}
    world.feed(Settled())
    world.pass_time(3.0)
    assert len(world.repairs) == 1


def test_a_set_without_nodes_is_not_ready() -> None:
    """And says so."""
    world = SetWorld()
    world.put(set_of("web", "a", node_selector={"pool": "none"}))
    world.join("n1")
    world.settle()
    conditions = world.core.tally("web", world.now).conditions()
    assert conditions[SetCondition.READY].reason == "NoNodes"
    assert not conditions[SetCondition.DEGRADED].holds


def changed_at_the_first(world: SetWorld) -> Callable[[CreateRepair], None]:
    """Let the set become another one while its first repair is being stored."""

    def change(_repair: CreateRepair) -> None:
        if not world.repairs:
            world.put(set_of("web", "b", generation=2))

    return change


def test_a_repair_that_was_being_stored_as_its_set_changed_is_cancelled() -> None:
    """What the set was then is not to be pulled; what it is now is repaired behind it."""
    world = SetWorld()
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.on_repair = changed_at_the_first(world)
    world.pass_time(3.0)
    (first,) = world.runs
    assert world.cancelled == [first]
    world.end(first, TaskStatus.CANCELLED)
    heard(world, "n1")
    world.pass_time(5.0)
    assert [repair.head.references for repair in world.repairs] == [("a",), ("b",)]


def test_a_repair_that_was_not_stored_leaves_nothing_to_cancel() -> None:
    """The next one of the set is of what it is by then."""
    world = SetWorld()
    world.refuses = True
    world.put(set_of("web", "a"))
    world.join("n1")
    heard(world, "n1")
    world.on_repair = changed_at_the_first(world)
    world.pass_time(2.5)
    world.refuses = False
    heard(world, "n1")
    world.pass_time(5.0)
    assert world.cancelled == []
    assert [repair.head.references for repair in world.repairs][-1] == ("b",)
