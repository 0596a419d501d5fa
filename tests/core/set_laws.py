"""What holds of the sets' core in every history, and a history drawn by hypothesis."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from common.reasons import Reason
from coordinator.core.node_run import OVER
from coordinator.core.sets.decisions import AskInventory, CreateRepair
from coordinator.core.sets.head import Joins, Refresh, Schedule, SetHead
from coordinator.core.sets.standing import SetNodePhase
from coordinator.core.task import PullPolicy
from coordinator.cron import window_at
from tests.core.set_world import SetWorld, set_of

NODES = ("n1", "n2", "n3")
IMAGES = ("a", "b", "c")
SETS = ("s1", "s2", "s3")
LABELS = st.fixed_dictionaries({}, optional={"pool": st.sampled_from(["x", "y"])})
SCHEDULES = st.sampled_from(
    [None, None, None]
    + [Schedule(cron="*/10 * * * *", window="3m", joins=joins) for joins in Joins]
)
REFRESHES = st.sampled_from([None, None, Refresh(tags="1m"), Refresh(tags="20m")])
ABSENT_ALONE = PullPolicy.IF_NOT_PRESENT
MOST = st.sampled_from([1, 1, 3])
"""How many repairs may run; with 1 it is tight, with 3 a set may have one beside another."""


def profile(examples: int) -> settings:
    """How long to search; the same histories each time."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def running(world: SetWorld) -> Counter[str]:
    """How many repairs each set has that are not over."""
    return Counter(str(run.head.set) for run in world.runs.values())


class SetMachine(RuleBasedStateMachine):
    """Nodes, agents, sets and a bus that loses, doubles and reorders, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = SetWorld(max_repairs=1)
        self.world.on_repair = self.only_what_is_cold_is_repaired
        self.generation = 0

    # ── what happens ──

    @initialize(
        nodes=st.sets(st.sampled_from(NODES)), images=st.sampled_from(["a", "ab"]), most=MOST
    )
    def a_fleet_is_there(self, nodes: set[str], images: str, most: int) -> None:
        """Some nodes, and the same sets for all of them."""
        self.world.core._known.repairs.most = most
        for node in sorted(nodes):
            self.world.join(node)
        for name in SETS:
            self.world.put(set_of(name, *images))
        self.world.deliver_all()

    @rule(seconds=st.sampled_from([5, 5, 10]))
    def all_goes_well_for_a_while(self, seconds: int) -> None:
        """Heartbeats come, and messages are delivered."""
        self.world.live(seconds)

    @rule(node=st.sampled_from(NODES), labels=LABELS)
    def node_joins(self, node: str, labels: dict[str, str]) -> None:
        """Or has other labels."""
        self.world.join(node, labels)

    @precondition(lambda self: self.world.nodes)
    @rule(data=st.data())
    def something_happens_to_a_node(self, data: st.DataObject) -> None:
        """To it, its agent or its images."""
        world = self.world
        node = data.draw(st.sampled_from(sorted(world.nodes)))
        match data.draw(st.sampled_from(["leave", "restart", "beat", "look", "rmi", "pull"])):
            case "leave":
                world.leave(node)
            case "restart":
                world.nodes[node].restart()
                world.beat(node)
            case "beat":
                world.beat(node)
            case "look":
                world.look(node)
            case "rmi":
                world.nodes[node].images.pop(data.draw(st.sampled_from(IMAGES)), None)
                world.look(node)
            case "pull":
                digest = data.draw(st.sampled_from(["sha256:1", "sha256:2"]))
                world.nodes[node].images[data.draw(st.sampled_from(IMAGES))] = digest
                world.look(node)

    @precondition(lambda self: self.world.nodes)
    @rule(
        data=st.data(),
        states=st.lists(st.sets(st.sampled_from(IMAGES)), min_size=2, max_size=4),
        seed=st.integers(0, 1000),
    )
    def images_come_and_go(self, data: st.DataObject, states: list[set[str]], seed: int) -> None:
        """Several reports are on their way at once, and some are lost."""
        world = self.world
        node = world.nodes[data.draw(st.sampled_from(sorted(world.nodes)))]
        for images in states:
            node.images = dict.fromkeys(images, "sha256:1")
            world.look(node.name)
        world.shuffle(seed)
        while any(not isinstance(message, AskInventory) for message in world.bus):
            world.deliver()

    @rule(
        name=st.sampled_from(SETS),
        images=st.sets(st.sampled_from(IMAGES), min_size=1),
        selector=LABELS,
        paused=st.booleans(),
        schedule=SCHEDULES,
        refresh=REFRESHES,
    )
    def set_is_put(
        self,
        name: str,
        images: set[str],
        selector: dict[str, str],
        schedule: Schedule | None,
        refresh: Refresh | None,
        *,
        paused: bool,
    ) -> None:
        """Created, or changed."""
        self.generation += 1
        self.world.put(
            set_of(
                name,
                *sorted(images),
                generation=self.generation,
                paused=paused,
                schedule=schedule,
                refresh=refresh,
                node_selector=selector,
            )
        )

    @rule(image=st.sampled_from(IMAGES), digest=st.sampled_from(["sha256:1", "sha256:3"]))
    def a_tag_moves(self, image: str, digest: str) -> None:
        """Forth, or back again."""
        self.world.registry[image] = digest

    @precondition(lambda self: self.world.sets)
    @rule(data=st.data())
    def user_asks_for_a_look(self, data: st.DataObject) -> None:
        """Also at a set that never looks by itself."""
        head = self.world.sets[data.draw(st.sampled_from(sorted(self.world.sets)))]
        self.world.put(replace(head, refresh_asked_at=int(self.world.now * 1000) + 1))

    @precondition(lambda self: self.world.sets)
    @rule(data=st.data())
    def set_is_deleted(self, data: st.DataObject) -> None:
        """Whatever it does."""
        self.world.delete(data.draw(st.sampled_from(sorted(self.world.sets))))

    @rule(seed=st.integers(0, 1000))
    def the_bus_is_troubled(self, seed: int) -> None:
        """Messages are lost, doubled, and come in another order."""
        self.world.shuffle(seed)

    @precondition(lambda self: self.world.bus)
    @rule(data=st.data())
    def a_message_arrives(self, data: st.DataObject) -> None:
        """Any of those that are on their way."""
        self.world.deliver(data.draw(st.integers(0, len(self.world.bus) - 1)))

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0, 70.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        """Without a word of anybody."""
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.runs)
    @rule(data=st.data(), reason=st.sampled_from([None, Reason.DISK_FULL, Reason.UNAUTHORIZED]))
    def a_repair_goes_on(self, data: st.DataObject, reason: Reason | None) -> None:
        """One of its nodes is over."""
        task = data.draw(st.sampled_from(sorted(self.world.runs)))
        run = self.world.runs[task]
        over = {SetNodePhase.WARM.value, "succeeded", "failed"}
        names = [node.name for node in run.nodes if node.phase.value not in over]
        self.world.end_node(task, data.draw(st.sampled_from(names)), reason)

    @rule(refuses=st.booleans())
    def the_store_refuses(self, *, refuses: bool) -> None:
        """Or takes tasks again."""
        self.world.refuses = refuses

    # ── what holds ──

    def only_what_is_cold_is_repaired(self, repair: CreateRepair) -> None:
        """Of sets that are there, as they are, on nodes that are in them and lack an image."""
        world = self.world
        assert world.sets.get(repair.head.name) == repair.head
        assert not repair.head.paused
        assert all(self.may_pull(repair.head, node) for node in repair.nodes)
        assert list(repair.nodes) == sorted(set(repair.nodes))
        if repair.looks:
            self.only_a_warm_node_looks(repair)
            return
        for node in repair.nodes:
            cells = [world.core.cell(node, each) for each in repair.head.references]
            assert all(cell is not None for cell in cells)
            lacks = not all(cell is not None and cell[0] for cell in cells)
            assert lacks or (repair.always and self.has_outdated(repair.head, node))

    def only_a_warm_node_looks(self, look: CreateRepair) -> None:
        """One, once in an interval, or as often as a user asks."""
        (node,) = look.nodes
        assert look.always
        assert self.world.core.node(look.head.name, node, self.world.now).phase == "warm"
        assert look.head.refresh is not None or look.head.refresh_asked_at

    def has_outdated(self, head: SetHead, node: str) -> bool:
        """Whether a node has a digest that a look has left behind."""
        tags = self.world.core.refreshed(head.name).tags
        cells = {each: self.world.core.cell(node, each) for each in head.references}
        return any(
            cell is not None and each in tags and cell[1] in tags[each].outdated
            for each, cell in cells.items()
        )

    def may_pull(self, head: SetHead, node: str) -> bool:
        """Whether a set's schedule lets a node be warmed at this moment."""
        if head.schedule is None or window_at(head.schedule, self.world.now).is_open:
            return True
        is_new = self.world.core._known.records.is_new(head.name, node)
        return head.schedule.joins is Joins.ALWAYS and is_new

    @invariant()
    def no_repair_outlives_its_window(self) -> None:
        """What it has not done by then is for the next one."""
        world = self.world
        for task, run in world.runs.items():
            head = world.sets.get(str(run.head.set))
            left = [node.name for node in run.nodes if node.phase not in OVER]
            if head is not None and not all(self.may_pull(head, node) for node in left):
                assert task in world.cancelled

    @invariant()
    def a_node_is_in_one_repair_of_a_set_and_not_more_than_the_limit_run(self) -> None:
        """However they come and go; the last place is for a set that has none."""
        repairs, most = running(self.world), self.world.core._known.repairs.most
        assert sum(repairs.values()) <= most
        assert max(repairs.values(), default=0) <= max(1, most - 1)
        placed = Counter(
            (run.head.set, node.name)
            for run in self.world.runs.values()
            for node in run.nodes
            if node.phase not in OVER
        )
        assert max(placed.values(), default=0) <= 1

    @invariant()
    def what_nobody_wants_any_more_is_cancelled(self) -> None:
        """A repair of a set that was changed or deleted since."""
        world = self.world
        for task, run in world.runs.items():
            head = world.sets.get(str(run.head.set))
            if head is None or head.spec != replace(run.spec, image_pull_policy=ABSENT_ALONE):
                assert task in world.cancelled

    @invariant()
    def every_node_is_how_its_images_are(self) -> None:
        """It is warm exactly where all are known to be there, and has a reason where it is not."""
        world = self.world
        for name, head in world.sets.items():
            for node in world.core.nodes(name):
                found = world.core.node(name, node, world.now)
                cells = [world.core.cell(node, each) for each in head.references]
                has_all = all(cell is not None and cell[0] for cell in cells)
                has_all = has_all and not self.has_outdated(head, node)
                assert (found.phase is SetNodePhase.WARM) == has_all
                assert (found.text is None) == has_all
                troubled = found.phase in {SetNodePhase.FAILED, SetNodePhase.BLOCKED}
                assert troubled == (found.reason is not None)
            tally = world.core.tally(name, world.now)
            assert tally.nodes == len(world.core.nodes(name))

    @invariant()
    def what_is_known_is_what_was_said(self) -> None:
        """Whoever has an agent's last word has all of it."""
        world = self.world
        for name, node in world.nodes.items():
            stock = node.stock
            if world.core._known.warmth.is_current(name, node.instance, stock.state):
                for reference in stock._wanted:
                    known = world.core.cell(name, reference)
                    assert known == (reference in stock._there, stock._there.get(reference))

    @invariant()
    def membership_is_that_of_the_labels(self) -> None:
        """Exactly those nodes are in a set that match."""
        world = self.world
        for name, head in world.sets.items():
            asked = head.spec.node_selector.items()
            matching = [n for n, node in world.fleet.nodes.items() if asked <= node.labels.items()]
            assert world.core.nodes(name) == sorted(matching)

    def teardown(self) -> None:
        """Once nothing troubles anybody any more, all is known, and whatever can be is warm."""
        world = self.world
        world.refuses = False
        world.bus.clear()
        world.settle(10)
        world.pass_time(4000.0)  # whatever failed, or thrashed, is tried again
        world.settle(14)
        world.pass_time(600.0 - world.now % 600.0)  # those that have a schedule may pull
        world.settle(14)
        for name, head in world.sets.items():
            for node in world.core.nodes(name):
                there = world.nodes[node].images
                for reference in head.references:
                    known = world.core.cell(node, reference)
                    assert known == (reference in there, there.get(reference))
                phase = world.core.node(name, node, world.now).phase
                warm = set(head.references) <= there.keys()
                assert (phase is SetNodePhase.WARM) == (warm and not self.has_outdated(head, node))
                assert phase is SetNodePhase.WARM or head.paused
                if head.refresh is not None and not head.paused:
                    assert {each: there[each] for each in head.references} == {
                        each: world.registry[each] for each in head.references
                    }
        self.every_node_is_how_its_images_are()
