"""The attempts in flight: what is known of each beyond its node's phase; none of it is stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from common.messages import Outcome
from common.reasons import Reason
from common.subjects import AttemptKey
from common.text import Text, fields_of
from coordinator.core.node_run import NodeRun
from coordinator.core.run import TaskRun

LOST_INSTANCES = 5
"""The same attempt lost by so many instances has failed: its image may be what kills them."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt in flight."""

    run: TaskRun
    node: NodeRun
    key: AttemptKey
    sent_to: str | None = None
    """The instance whose answer is awaited, or that has accepted."""
    accepted_by: str | None = None
    resend_at: float | None = None
    """When to ask again (seconds), where the agent refused or did not answer."""
    alive_at: float = 0.0
    """From when its silence counts, on the clock of silence: placing, or last sign of life."""
    held_up: Text | None = None
    """What the agent could not be asked for, when it was last to be."""
    held_up_reason: Reason = Reason.AGENT_UNAVAILABLE
    lost_by: set[str] = field(default_factory=set)
    """Instances that ended while they were at it."""
    is_watched: bool = False
    """Whether a check of its silence is set."""

    @property
    def holder(self) -> str | None:
        """The instance that may be at it."""
        return self.accepted_by or self.sent_to

    @property
    def is_idle(self) -> bool:
        """Whether nobody has it, is asked, or will be asked by a timer."""
        return self.holder is None and self.resend_at is None

    @property
    def is_hopeless(self) -> bool:
        """Whether too many instances ended while they were at it, and nobody is at it now."""
        return self.accepted_by is None and len(self.lost_by) >= LOST_INSTANCES

    def given_up(self, reason: Reason, text: Text, now: float) -> Outcome:
        """Its outcome where nobody is left who could say one."""
        started = self.node.started_at
        seconds = 0.0 if started is None else max(0.0, now - started / 1000)
        return Outcome(reason=reason, seconds=seconds, **fields_of(text))


class Attempts:
    """A table of attempts, by task and node, and by node alone."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Attempt] = {}
        self.by_place: Mapping[tuple[str, str], Attempt] = MappingProxyType(self._all)
        """Every attempt by now, by its task and node."""
        self._by_node: dict[str, dict[str, Attempt]] = {}

    def all(self) -> Collection[Attempt]:
        """Every attempt, the oldest first."""
        return tuple(self._all.values())

    def on(self, node: str) -> Collection[Attempt]:
        """The attempts on a node, of every task."""
        return tuple(self._by_node.get(node, {}).values())

    def put(self, run: TaskRun, node: NodeRun, alive_at: float) -> Attempt:
        """The next attempt of a node is in flight from now on, ``alive_at`` by silence's clock."""
        key = AttemptKey(run.head.id, node.name, node.next_attempt)
        attempt = Attempt(run, node, key, alive_at=alive_at)
        self._all[key.task, key.node] = attempt
        self._by_node.setdefault(key.node, {})[key.task] = attempt
        return attempt

    def take(self, task: str, node: str) -> Attempt | None:
        """Whatever a task has in flight on a node is so no longer."""
        attempt = self._all.pop((task, node), None)
        if attempt is not None:
            del self._by_node[node][task]
            if not self._by_node[node]:
                del self._by_node[node]
        return attempt
