"""A world for the sets' core: agents' real stocks, a bus that loses and doubles, tasks that run."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from agent.runtime.protocol import PresentImage
from agent.stock import Stock
from common.inventory import Inventory, wants
from common.messages import ImageDisk, ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.changes import AttemptDecided, Step, TaskBegan, TaskOver
from coordinator.core.commands import WakeAt
from coordinator.core.events import NodeSeen, NodeVanished, OutcomeStored, Settled, Woken
from coordinator.core.fleet import Fleet, Node
from coordinator.core.node_run import NodePhase
from coordinator.core.run import TaskRun
from coordinator.core.sets.core import SetCore, SetLimits
from coordinator.core.sets.decisions import (
    AskInventory,
    CancelRepair,
    CreateRepair,
    SendPinned,
    SendWanted,
    SetChange,
)
from coordinator.core.sets.events import (
    AgentSaid,
    InventoryReported,
    RepairCreated,
    RepairRefused,
    SetEvent,
    SetGone,
    SetStored,
)
from coordinator.core.sets.head import Refresh, Schedule, SetHead
from coordinator.core.task import (
    PullPolicy,
    TaskCounts,
    TaskHead,
    TaskImage,
    TaskSpec,
    TaskStatus,
)
from coordinator.cron import window_at

START: Final = 1_000_000.0
WAKES_AT_ONCE: Final = 20
"""So often the core may ask to be woken without time going on before it is a busy loop."""


def set_of(
    name: str,
    *images: str,
    generation: int = 1,
    paused: bool = False,
    schedule: Schedule | None = None,
    refresh: Refresh | None = None,
    refresh_asked_at: int = 0,
    **fields: Any,
) -> SetHead:
    """A set of images for nodes with these labels."""
    work = tuple(TaskImage(name=image, reference=image) for image in images)
    spec = TaskSpec(images=images, work=work, **fields)
    return SetHead(
        name=name,
        spec=spec,
        generation=generation,
        paused=paused,
        schedule=schedule,
        refresh=refresh,
        refresh_asked_at=refresh_asked_at,
        created_at=0,
        updated_at=0,
    )


class WorldNode:
    """One node: what is on it, and its agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.images: dict[str, str] = {}
        """Digests by reference."""
        self.runs = 0
        self.disk: ImageDisk | None = None
        self.credential_changes = 0
        self.is_old = False
        """Whether its agent is of a version that knows nothing of inventories."""
        self.restart()

    def restart(self) -> None:
        """Another run of its agent, which knows nothing."""
        self.runs += 1
        self.instance = f"{self.runs:016x}"
        self.stock = Stock()


class SetWorld:
    """What happens around the core; messages wait in ``bus`` until they are delivered."""

    def __init__(self, *, leads: bool = True, **limits: Any) -> None:
        self.now = START
        self.fleet = Fleet()
        self.runs: dict[str, TaskRun] = {}
        self.core = SetCore(SetLimits(**limits), self.fleet, self.runs, window_at)
        self.nodes: dict[str, WorldNode] = {}
        self.sets: dict[str, SetHead] = {}
        self.bus: list[InventoryReported | SendWanted | AskInventory] = []
        self.repairs: list[CreateRepair] = []
        """All that were ever asked for."""
        self.on_repair: Callable[[CreateRepair], object] = lambda _repair: None
        self.cancelled: list[str] = []
        """Tasks that were to be cancelled; a test ends them."""
        self.changes: list[SetChange] = []
        self.registry: defaultdict[str, str] = defaultdict(lambda: "sha256:1")
        """The digest that each tag has."""
        self.refuses = False
        """Whether the store takes no task."""
        self.alarm: float | None = None
        if leads:
            self.feed(Settled())

    def feed(self, event: SetEvent) -> None:
        """Let the core know, and do what it says."""
        decision = self.core.handle(event, self.now)
        self.changes += decision.changes
        for command in decision.commands:
            match command:
                case WakeAt(when):
                    self.alarm = when
                case CreateRepair():
                    self._create(command)
                case CancelRepair(task):
                    self.cancelled.append(task)
                case SendPinned():
                    raise AssertionError(command)  # these agents cannot pin
                case _:
                    self.bus.append(command)

    # ── nodes ──

    def join(self, name: str, labels: dict[str, str] | None = None) -> WorldNode:
        """A node and its agent are there."""
        node = self.nodes.setdefault(name, WorldNode(name))
        self.see(name, labels or {})
        self.beat(name)
        return node

    def see(self, name: str, labels: dict[str, str], problem: Any = None) -> None:
        """The node's source says something of it."""
        self.fleet.see(name, Node(labels, problem is None, problem))
        self.feed(NodeSeen(name, labels, problem is None, problem))

    def leave(self, name: str) -> None:
        """A node ceases to exist."""
        self.nodes.pop(name)
        self.fleet.lose(name)
        self.feed(NodeVanished(name))

    def beat(self, name: str) -> None:
        """Its agent sends a heartbeat."""
        node = self.nodes[name]
        self.fleet.heard(name, node.instance, 10.0, self.now)
        state = None if node.is_old else node.stock.state
        changes = node.credential_changes
        self.feed(
            AgentSaid(name, node.instance, "1.0", state, node.disk, credential_changes=changes)
        )

    def look(self, name: str, *, whole: bool = False) -> None:
        """Its agent looks at what is there, and reports."""
        node = self.nodes[name]
        found = {
            reference: PresentImage(node.images[reference], 1)
            for reference in node.stock.unknown(node.images)
        }
        reports = node.stock.settle(node.images, found)
        if whole and not any(report.whole for report in reports):
            reports = node.stock.whole()
        self._send(node, reports)

    def _send(self, node: WorldNode, reports: Iterable[Inventory]) -> None:
        self.bus += [InventoryReported(node.name, node.instance, each) for each in reports]

    # ── sets ──

    def put(self, head: SetHead) -> None:
        """A set is stored."""
        self.sets[head.name] = head
        self.feed(SetStored(head))

    def delete(self, name: str) -> None:
        """It is deleted."""
        del self.sets[name]
        self.feed(SetGone(name))

    # ── the bus ──

    def deliver(self, index: int = 0) -> None:
        """Let one message arrive."""
        message = self.bus.pop(index)
        if isinstance(message, InventoryReported):
            self.feed(message)
            return
        node = self.nodes.get(message.node)
        if node is None or node.instance != message.instance or node.is_old:
            return
        if isinstance(message, SendWanted):
            if [node.stock.told(want) for want in wants(message.wanted.references)][-1]:
                self.look(node.name)
        else:
            self.look(node.name, whole=True)

    def deliver_all(self) -> None:
        """Let all arrive, and what follows from them."""
        while self.bus:
            self.deliver()

    def shuffle(self, seed: int) -> None:
        """Let some be lost, some come twice, and all in another order."""
        rng = random.Random(seed)
        kept = [message for message in self.bus if rng.random() > 0.3]
        kept += [message for message in kept if rng.random() > 0.5]
        rng.shuffle(kept)
        self.bus = kept

    # ── time ──

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the alarm rings when it is due, and not for ever at one time."""
        until = self.now + seconds
        rung = 0
        while self.alarm is not None and self.alarm <= until:
            rung = 0 if self.alarm > self.now else rung + 1
            assert rung < WAKES_AT_ONCE, f"a busy loop at {self.now}"
            self.now = max(self.now, self.alarm)
            self.alarm = None
            self.feed(Woken())
        self.now = until

    def live(self, seconds: float, *, silent: str = "") -> None:
        """Let time pass with heartbeats, and what follows from them; one may be silent."""
        for _ in range(int(seconds / 5)):
            for name in self.nodes.keys() - {silent}:
                self.beat(name)
            self.deliver_all()
            self.pass_time(5.0)

    # ── repairs ──

    def _create(self, command: CreateRepair) -> None:
        self.on_repair(command)
        self.repairs.append(command)
        name = command.head.name
        if self.refuses:
            self.feed(RepairRefused(name))
            return
        task = f"task-20260101-000000-{len(self.repairs):08x}"
        policy = PullPolicy.ALWAYS if command.always else PullPolicy.IF_NOT_PRESENT
        spec = replace(command.head.spec, image_pull_policy=policy)
        created_at = int(self.now * 1000)
        head = TaskHead(id=task, spec=spec, created_at=created_at, set=name, looks=command.looks)
        self.feed(RepairCreated(name, task))
        self.runs[task] = TaskRun(head, command.nodes)
        self.feed(TaskBegan(head))

    def end_node(self, task: str, name: str, reason: Reason | None = None) -> None:
        """A node of a repair is over: its images are there, or it failed."""
        run = self.runs[task]
        node = run.by_name[name]
        step = Step.SUCCEEDED if reason is None else Step.FAILED
        state = ImageState.PULLED if reason is None else ImageState.FAILED
        if reason is None and name in self.nodes:
            self._pull(run, self.nodes[name].images)
        images = [
            ImageOutcome(
                image=image.name,
                state=state,
                reason=reason,
                message="so it was drawn",
                digest=self.nodes[name].images.get(image.reference) if name in self.nodes else None,
            )
            for image in run.spec.work
        ]
        run.move(node, NodePhase.SUCCEEDED if reason is None else NodePhase.FAILED)
        key = AttemptKey(task, name, 1)
        event = OutcomeStored(key, Outcome(images=images), 1, self.now)
        self.feed(AttemptDecided(task, name, 1, step, event))
        if reason is None and name in self.nodes:
            self.look(name)
        if run.is_over:
            self.end(task)

    def _pull(self, run: TaskRun, images: dict[str, str]) -> None:
        always = run.spec.image_pull_policy is PullPolicy.ALWAYS
        for image in run.spec.work:
            if always or image.reference not in images:
                images[image.reference] = self.registry[image.reference]

    def end(self, task: str, status: TaskStatus = TaskStatus.COMPLETED) -> None:
        """A repair is over."""
        run = self.runs.pop(task)
        counts = TaskCounts(total=len(run.nodes))
        if task in self.cancelled:
            self.cancelled.remove(task)
        self.feed(
            TaskOver(
                TaskHead(
                    id=task,
                    spec=run.spec,
                    created_at=0,
                    status=status,
                    counts=counts,
                    set=run.head.set,
                    looks=run.head.looks,
                )
            )
        )

    def finish_all(self, reason: Reason | None = None) -> None:
        """Let each repair end on all its nodes alike."""
        for task, run in list(self.runs.items()):
            for node in list(run.nodes):
                if node.phase not in {NodePhase.SUCCEEDED, NodePhase.FAILED}:
                    self.end_node(task, node.name, reason)

    def settle(self, rounds: int = 6) -> None:
        """Let everything that follows happen: heartbeats, reports, repairs that succeed."""
        for _ in range(rounds):
            for name in self.nodes:
                self.beat(name)
            self.deliver_all()
            self.pass_time(4.0)
            self.finish_all()
            self.deliver_all()


def heard(world: SetWorld, *names: str) -> None:
    """Let agents speak until what they have is known."""
    for _ in range(2):
        for name in names:
            world.beat(name)
        world.deliver_all()
