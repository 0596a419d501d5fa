"""A core on a stage: a few events in, what follows from them out; time passes when told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from common.messages import Hold, ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from coordinator.core.attempts import Attempt
from coordinator.core.changes import AttemptDecided, BatchSettled, Change, Step
from coordinator.core.commands import (
    AskAgent,
    Assign,
    CancelWork,
    Command,
    LoadNames,
    StoreVerdict,
    WakeAt,
)
from coordinator.core.events import (
    AgentHeard,
    AssignmentAccepted,
    Event,
    NamesLoaded,
    NodeSeen,
    OutcomeStored,
    Settled,
    TaskCreated,
    TaskEnded,
    TaskStarted,
    Woken,
)
from coordinator.core.node_run import NodePhase, NodeRun
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Limits
from coordinator.core.task import TaskHead, TaskImage, TaskSpec, TaskStatus


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of an outcome, without the outcome itself."""

    task: str
    node: str
    attempt: int
    step: Step
    live: bool


Said = Command | Told | BatchSettled
"""A command, or news of outcomes."""
Kind = TypeVar("Kind", bound=Said)

START = 1_000.0
FOR_EVER = 1e6
"""An interval between heartbeats after which nobody on the stage ever counts as silent."""


def spec(*images: str, **fields: Any) -> TaskSpec:
    """What a user asked for; one image ``a`` where none is given."""
    names = images or ("a",)
    work = tuple(TaskImage(name=name, reference=f"ref/{name}") for name in names)
    return TaskSpec(images=names, work=work, **fields)


def head(
    task: str, wanted: TaskSpec | None = None, status: TaskStatus = TaskStatus.PENDING
) -> TaskHead:
    """A stored head."""
    return TaskHead(id=task, spec=wanted or spec(), status=status, created_at=0)


def instance_of(node: str, run: int = 1) -> str:
    """The name of one run of a node's agent."""
    return f"{node}/{run}"


def pulled(*images: str) -> Outcome:
    """An outcome in which every image arrived; one image ``a`` where none is given."""
    done = [ImageOutcome(image=image, state=ImageState.PULLED) for image in images or ("a",)]
    return Outcome(images=done, seconds=1.0)


def failing(**reasons: Reason) -> Outcome:
    """An outcome in which images failed, each for its reason."""
    return Outcome(
        images=[
            ImageOutcome(image=image, state=ImageState.FAILED, reason=reason)
            for image, reason in reasons.items()
        ]
    )


FLAKY = failing(a=Reason.REGISTRY_ERROR)
HOPELESS = failing(a=Reason.IMAGE_NOT_FOUND)
REMOVAL = Outcome(removed=True)


class Stage:
    """The core with agents that are heard once and stay.

    What comes back are commands without WakeAt, then what is told of outcomes.
    """

    def __init__(self, *nodes: str, settled: bool = True, **limits: Any) -> None:
        self.now = START
        self.wake: float | None = None
        self.core = Core(Limits(**limits), self.now)
        self.changes: list[Change] = []
        """All that the core has ever told."""
        self._names: dict[str, tuple[str, ...]] = {}
        """The ``nodeNames`` in the store, which are read as soon as that is asked for."""
        self._order = 0
        self._seq = 0
        for node in nodes:
            self.tell(NodeSeen(node, {}))
            self.beat(node)
        if settled:
            self.tell(Settled())

    # ── events in ──

    def tell(self, event: Event) -> list[Said]:
        """One event in, now."""
        commands, changes = self.core.handle(event, self.now)
        self.changes += changes
        for command in commands:
            if isinstance(command, WakeAt):
                self.wake = command.when
        said: list[Said] = [c for c in commands if not isinstance(c, WakeAt)]
        said += [news for change in changes if (news := news_of(change))]
        for command in commands:
            if isinstance(command, LoadNames) and command.task in self._names:
                said.remove(command)
                said += self.tell(NamesLoaded(command.task, self._names[command.task]))
        return said

    def wait(self, seconds: float) -> list[Said]:
        """Let time pass; the core is woken whenever it asked for it.

        That silent agents are asked first is left out: ``tell(Woken())`` shows it.
        """
        until, commands = self.now + seconds, list[Said]()
        while self.wake is not None and self.wake <= until:
            self.now, self.wake = max(self.now, self.wake), None
            commands += self.tell(Woken())
        self.now = until
        return [command for command in commands if not isinstance(command, AskAgent)]

    def beat(
        self,
        node: str,
        *holds: tuple[str, int],
        run: int = 1,
        interval: float = FOR_EVER,
        leaving: bool = False,
    ) -> list[Said]:
        """A heartbeat that lists what an agent holds as (task, attempt)."""
        held = tuple(Hold(task=task, attempt=attempt) for task, attempt in holds)
        return self.tell(AgentHeard(node, instance_of(node, run), held, interval, leaving))

    def create(
        self, task: str, wanted: TaskSpec | None = None, named: tuple[str, ...] | None = None
    ) -> list[Said]:
        """A pending task is stored."""
        self._order += 1
        if named is not None:
            self._names[task] = named
        return self.tell(TaskCreated(head(task, wanted), self._order))

    def start(self, task: str, nodes: str, wanted: TaskSpec | None = None) -> list[Said]:
        """A running task is stored, with its nodes in one string."""
        self._order += 1
        stored = head(task, wanted, TaskStatus.RUNNING)
        return self.tell(TaskStarted(stored, self._order, tuple(nodes.split())))

    def end(self, task: str, status: TaskStatus = TaskStatus.CANCELLED) -> list[Said]:
        """A final head is stored."""
        return self.tell(TaskEnded(head(task, status=status)))

    def accept(self, task: str, node: str, attempt: int = 1, run: int = 1) -> list[Said]:
        """An agent has accepted an attempt."""
        key = AttemptKey(task, node, attempt)
        return self.tell(AssignmentAccepted(key, instance_of(node, run)))

    def store(
        self,
        task: str,
        node: str,
        outcome: Outcome,
        attempt: int = 1,
        *,
        run: int = 1,
        at: float | None = None,
        live: bool = True,
    ) -> list[Said]:
        """An agent's outcome was read back, stored now or at another time of the store's clock.

        ``run`` 0 stands for the leader itself.
        """
        self._seq += 1
        key = AttemptKey(task, node, attempt)
        outcome = replace(outcome, instance=instance_of(node, run) if run else "")
        stored_at = self.now if at is None else at
        return self.tell(OutcomeStored(key, outcome, self._seq, stored_at, live))

    # ── what is so ──

    def run(self, task: str) -> TaskRun:
        """A running task."""
        return self.core.runs[task]

    def node(self, task: str, node: str) -> NodeRun:
        """A node of a running task."""
        return self.run(task).by_name[node]

    def attempt(self, task: str, node: str) -> Attempt:
        """What is known of a node's attempt in flight."""
        return self.core.in_flight[task, node]

    def phases(self, task: str) -> dict[NodePhase, int]:
        """How many nodes of a task are in which phase."""
        return {phase: count for phase, count in self.run(task).in_phase.items() if count}

    def work(self, task: str, node: str, attempt: int = 1, run: int = 1, *images: str) -> Assign:
        """The assignment of an attempt, of all images where none is given."""
        wanted = self.run(task).spec
        chosen = tuple(i for i in wanted.work if not images or i.name in images)
        return Assign(AttemptKey(task, node, attempt), instance_of(node, run), chosen, wanted)


def stop(task: str, node: str, attempt: int | None = None, run: int = 1) -> CancelWork:
    """The command to stop an attempt, or everything of a task."""
    return CancelWork(node, instance_of(node, run), task, attempt)


def told(task: str, node: str, step: Step, attempt: int = 1, *, live: bool = True) -> Told:
    """What is told of an outcome."""
    return Told(task, node, attempt, step, live)


def news_of(change: Change) -> Told | BatchSettled | None:
    """What a change tells of outcomes, if anything."""
    if isinstance(change, AttemptDecided):
        return Told(change.task, change.node, change.attempt, change.step, change.event.live)
    return change if isinstance(change, BatchSettled) else None


def of_kind(commands: Sequence[Said], kind: type[Kind]) -> list[Kind]:
    """Only the commands of one kind."""
    return [command for command in commands if isinstance(command, kind)]


def places(commands: list[Said]) -> list[AttemptKey]:
    """Which attempts are assigned, as (task, node, attempt)."""
    return [command.key for command in of_kind(commands, Assign)]


def verdicts(commands: list[Said]) -> list[tuple[str, Reason | None]]:
    """Which nodes the leader gives up, and why; None is a removal."""
    stored = of_kind(commands, StoreVerdict)
    return [(command.key.node, command.outcome.reason) for command in stored]
