"""What agents take on and let go, told by observers inside of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from agent.events import CommandReceived, Event, OutcomeFound, OutcomeSettled, ShutdownRequested
from agent.instructions import Deliver, Instruction, SendReply
from agent.notices import Notice
from common.messages import Assign, Cancel
from sandbox.simulator.laws import Law
from sandbox.simulator.truth import End, TaskTruth

UNHEARD_SECONDS = 40.0
"""So long after trouble with the bus a leader may not have heard what an agent holds: its next
heartbeat is late by the longest interval, and a new leader waits two seconds."""
REMEMBERED_SECONDS = 3600.0
"""So long an agent knows that a task was cancelled."""


class Keeps(Protocol):
    """What is needed of the witness."""

    tasks: defaultdict[str, TaskTruth]
    """What is stored of each task."""

    def breaks(self, law: Law, detail: str) -> None:
        """A law is broken."""

    def say(self, who: str, what: object) -> None:
        """Note what happened."""


class AgentsSeen:
    """All nodes, each with what its living agent holds."""

    def __init__(self, witness: Keeps, limit: int) -> None:
        """``limit``: of nodes in flight over all tasks; 0 is none."""
        self.witness = witness
        self._limit = limit
        self._sure_from = 0.0
        self.held: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """By task and node: the attempt that an agent is at, or whose outcome it keeps."""

    def watch(self, node: str) -> AgentSeen:
        """An agent of a node begins."""
        self.gone(node)
        return AgentSeen(self, node)

    def gone(self, node: str) -> None:
        """The agent of a node has ended."""
        for held in self.held.values():
            held.pop(node, None)

    def check_limit(self) -> None:
        """See whether more nodes than allowed work on all tasks together.

        A task that is over has given its places back, though an agent may be told of that later.
        """
        tasks = [task for task in self.held if not self._is_over(task)]
        busy = [(task, node) for task in tasks for node in self.busy(task)]
        if 0 < self._limit < len(busy) and self.is_sure:
            self.witness.breaks(Law.CAP, f"{len(busy)} nodes are in flight: {busy}")

    def _is_over(self, task: str) -> bool:
        head = self.witness.tasks[task].head
        return head is not None and head.status.is_final

    def trouble(self) -> None:
        """Something is wrong with the bus: for a while nobody is sure to be heard."""
        self._sure_from = asyncio.get_running_loop().time() + UNHEARD_SECONDS

    @property
    def is_sure(self) -> bool:
        """Whether there has been no trouble with the bus for long enough."""
        return asyncio.get_running_loop().time() > self._sure_from

    def busy(self, task: str) -> list[str]:
        """The nodes that work on attempts of a task that are not decided."""
        known = self.witness.tasks[task]
        return [n for n, number in self.held[task].items() if not known.has(n, number)]

    def check_cap(self, task: str) -> None:
        """See whether more nodes work on a task than may, as far as their agents can be heard."""
        known, busy = self.witness.tasks[task], self.busy(task)
        if known.head is not None and len(busy) > known.head.spec.batch_size and self.is_sure:
            self.witness.breaks(Law.CAP, f"{', '.join(busy)} work on {task} at once")


class AgentSeen:
    """One agent (``agent.notices.Observer``)."""

    def __init__(self, agents: AgentsSeen, node: str) -> None:
        self._agents = agents
        self._witness = agents.witness
        self._node = node
        self._epoch = 0
        self._cancelled: dict[str, float] = {}

    def handled(self, event: Event, instructions: Sequence[Instruction]) -> None:
        """Take in what its ledger made of an event."""
        held = self._agents.held
        self._look_at_ends(instructions)
        match event:
            case CommandReceived(command=Assign() as work):
                replies = [i.reply for i in instructions if isinstance(i, SendReply)]
                if replies and replies[0].accepted:
                    self._accepted(work)
                self._epoch = max(self._epoch, work.epoch)
            case CommandReceived(command=Cancel() as cancel):
                if cancel.epoch >= self._epoch:
                    self._stopped(cancel)
                self._epoch = max(self._epoch, cancel.epoch)
            case CommandReceived(command=other):
                self._epoch = max(self._epoch, other.epoch)
            case OutcomeFound(key):
                held[key.task].setdefault(self._node, key.attempt)
            case OutcomeSettled(key):
                self._settled(key.task, key.attempt)
            case ShutdownRequested():
                self._agents.gone(self._node)

    def _look_at_ends(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, Deliver) and self._is_cancelled(instruction.key.task):
                detail = f"{self._node} has gone on with {instruction.key}, which is cancelled"
                self._witness.breaks(Law.NOTHING_AFTER_CANCEL, detail)

    def noticed(self, notice: Notice) -> None:
        """What happens beside the ledger decides nothing."""

    def _accepted(self, work: Assign) -> None:
        if work.epoch < self._epoch:
            detail = (
                f"{self._node} takes {work.task} from {work.epoch}, and has heard {self._epoch}"
            )
            self._witness.breaks(Law.NO_OLD_EPOCH, detail)
        if self._is_cancelled(work.task):
            detail = f"{self._node} takes {work.task}, which it was told is cancelled"
            self._witness.breaks(Law.NOTHING_AFTER_CANCEL, detail)
        self._witness.say(self._node, f"takes {work.task} {work.attempt} of epoch {work.epoch}")
        self._agents.held[work.task][self._node] = work.attempt
        self._agents.check_cap(work.task)
        self._agents.check_limit()

    def _is_cancelled(self, task: str) -> bool:
        """Whether this agent was told within the last hour that a task is cancelled."""
        since = self._cancelled.get(task, -REMEMBERED_SECONDS)
        return asyncio.get_running_loop().time() - since < REMEMBERED_SECONDS - 1

    def _stopped(self, cancel: Cancel) -> None:
        held = self._agents.held[cancel.task]
        if cancel.attempt is None:
            self._cancelled[cancel.task] = asyncio.get_running_loop().time()
            held.pop(self._node, None)
        elif held.get(self._node) == cancel.attempt:
            del held[self._node]

    def _settled(self, task: str, attempt: int) -> None:
        held, known = self._agents.held[task], self._witness.tasks[task]
        if held.get(self._node) == attempt:
            del held[self._node]
        is_over = known.is_removed or known.head is None or known.head.status.is_final
        if is_over or known.has(self._node, attempt):
            return
        if known.end_of(self._node) is End.OPEN:
            detail = f"{self._node} lets go of {task} {attempt}, and nobody has stored it"
            self._witness.breaks(Law.STORED_IS_STORED, detail)
