"""Agents of the model world: what they hold, how they obey, and in which ways they fail to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from common.messages import Hold, Outcome
from coordinator.core.commands import Assign, CancelWork
from coordinator.core.task import TaskImage

HEARTBEAT_SECONDS = 5.0


class Mood(Enum):
    """How an agent takes assignments."""

    WILLING = auto()
    REFUSING = auto()
    SULKING = auto()
    """It neither answers nor takes anything."""
    MUMBLING = auto()
    """It takes the work, but its answer is lost."""


@dataclass
class Held:
    """An accepted attempt, until its outcome is stored."""

    attempt: int
    images: tuple[TaskImage, ...]
    since: float
    outcome: Outcome | None = None
    """Set once the work is done and only the outcome is left to deliver."""


@dataclass
class Agent:
    """One run of an agent. Of each task only the newest attempt counts."""

    node: str
    instance: str
    next_beat: float
    mood: Mood = Mood.WILLING
    alive: bool = True
    held: dict[str, Held] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    """The newest attempt of a task that is known to be decided."""
    over: set[str] = field(default_factory=set)
    """Tasks that were cancelled as a whole."""

    def holds(self, now: float) -> tuple[Hold, ...]:
        """What its heartbeat lists."""
        return tuple(
            Hold(task=task, attempt=held.attempt, seconds=now - held.since)
            for task, held in self.held.items()
        )

    def take(self, work: Assign, now: float) -> bool | None:
        """Obey an assignment: accepted, refused, or None where no answer comes."""
        if self.mood is Mood.SULKING:
            return None
        accepted = self._obey(work, now)
        return None if self.mood is Mood.MUMBLING else accepted

    def _obey(self, work: Assign, now: float) -> bool:
        task, _, attempt = work.key
        if self.mood is Mood.REFUSING or task in self.over:
            return False
        held = self.held.get(task)
        newest = max(self.decided.get(task, 0), held.attempt if held else 0)
        if attempt > newest:
            self.held[task] = Held(attempt, work.images, now)
        return attempt >= newest

    def stop(self, command: CancelWork) -> None:
        """Obey a cancel."""
        held = self.held.get(command.task)
        if command.attempt is None:
            self.over.add(command.task)
        if held is not None and command.attempt in {None, held.attempt}:
            del self.held[command.task]

    def settled(self, task: str) -> None:
        """The outcome of a held attempt is stored, or another was."""
        self.decided[task] = self.held.pop(task).attempt

    def at_work(self) -> list[str]:
        """Tasks that it is really working for."""
        return [task for task, held in self.held.items() if held.outcome is None]

    def with_outcome(self) -> list[str]:
        """Tasks whose outcome it has yet to deliver."""
        return [task for task, held in self.held.items() if held.outcome is not None]
