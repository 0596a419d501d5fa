"""Gates of sets, kept by the leader: what Nodes say is compared with how they stand, and written.

Nothing is stored but when a Node that was there was tainted: a leader that begins compares every
Node with what it knows, and finds nothing to write where the one before it was not interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NoReturn

from common.backoff import Backoff
from common.logs import Log, RateLimitedLog
from coordinator.core.changes import AttemptDecided
from coordinator.core.events import NodeSeen, NodeVanished
from coordinator.core.sets.decisions import SetDecision
from coordinator.core.sets.events import InventoryReported, SetEvent, SetGone, SetStored
from coordinator.core.sets.gating import NodeGates, NodeMarks, Taints, decide
from coordinator.engine.gate_notes import GateNotes
from coordinator.engine.sets import SetTable
from coordinator.faults import Faults
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.source import GatesAwayError, GateSink

sparing = RateLimitedLog(Log(__name__))

SEEN_BY_GATES: Final = (
    AttemptDecided,
    InventoryReported,
    NodeSeen,
    NodeVanished,
    SetGone,
    SetStored,
)
LOOK_SECONDS: Final = 10.0
"""Between two looks at whoever is cold: time and silence make a difference without an event."""
LONGEST_PAUSE: Final = 30.0
"""While the API server is away."""
LONGEST_REST: Final = 60.0
"""Of one Node at which something was refused."""
NODES_AT_A_TIME: Final = 50
"""Nodes that are looked at before others have a turn on the event loop."""


@dataclass(slots=True)
class _Remembered:
    """What was seen of one Node."""

    uid: str
    taints: tuple[str, ...] = ()
    appeared: dict[str, float] = field(default_factory=dict)
    claimed: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()

    def see(self, marks: NodeMarks, claimed: frozenset[str], now: float) -> None:
        """Take in what it says now, and which taints its gates name."""
        for key in set(marks.taints).difference(self.taints):
            self.appeared[key] = now
        for key in self.appeared.keys() - marks.taints:
            del self.appeared[key]
        self.taints = marks.taints
        given_up = (self.released | self.claimed) - claimed
        self.released = given_up.intersection(marks.taints)
        self.claimed = claimed


class SetGates:
    """Observes the loop of the sets' core while this coordinator leads."""

    def __init__(
        self,
        *,
        sets: SetTable,
        marked: MarkedNodes,
        sink: GateSink,
        clock: Callable[[], float],
        held: Callable[[], bool],
        faults: Faults,
        notes: GateNotes,
    ) -> None:
        self._notes = notes
        self._sets = sets
        self._marked = marked
        self._sink = sink
        self._clock = clock
        self._held = held
        self._faults = faults
        self._nodes: dict[str, _Remembered] = {}
        self._due: dict[str, None] = {}
        self._urgent: dict[str, None] = {}
        """Nodes to look at, and those of them that have a taint: pods wait for these."""
        self._later: dict[str, float] = {}
        """Nodes that time alone concerns, and when (seconds since 1970)."""
        self._tries: dict[str, int] = {}
        """How often in a row something was refused at a Node."""
        self._gated: set[str] = set()
        """Sets with a gate."""
        self._next_look = 0.0
        self._stirred = asyncio.Event()
        self._pause = Backoff(LONGEST_PAUSE)

    # ── who is to be looked at ──

    def begin(self) -> None:
        """Look at every Node there is, and from now on at those that change."""
        for name in self._sets.names():
            head = self._sets.head(name)
            if head is not None and head.gate is not None:
                self._gated.add(name)
        self._marked.listen(self._mark)
        self._mark_all()

    def observe(self, event: SetEvent, _decision: SetDecision) -> None:
        """See what may make a difference."""
        match event:
            case SetStored(head):
                if head.gate is not None or head.name in self._gated:
                    self._mark_all()
                (self._gated.discard if head.gate is None else self._gated.add)(head.name)
            case SetGone(name):
                if name in self._gated:
                    self._gated.discard(name)
                    self._mark_all()
            case NodeSeen() | NodeVanished():
                self._mark(event.name)
            case InventoryReported() | AttemptDecided():
                self._mark(event.node)
            case _:
                pass

    def _mark(self, node: str) -> None:
        marks = self._marked.get(node)
        (self._due if marks is None or not marks.taints else self._urgent)[node] = None
        self._stirred.set()

    def _mark_all(self) -> None:
        for node in self._marked.names:
            self._mark(node)

    def _mark_what_is_time(self) -> None:
        now = self._clock()
        for node in [node for node, when in self._later.items() if when <= now]:
            del self._later[node]
            self._mark(node)
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            for name in self._gated:
                for node in self._sets.cold(name):
                    self._mark(node)

    # ── what is done ──

    async def run(self) -> NoReturn:
        """Keep every gate, without end."""
        while True:
            node, gates = await self._next()
            try:
                async with self._sink.connected() as writer:
                    while gates:
                        self._written(node, done=await writer.write(node, gates))
                        self._pause.reset()
                        node, gates = await self._find()
            except GatesAwayError as why:
                self._mark(node)
                sparing.warning("away", "Nodes are not told what is warm yet", why=why)
                await asyncio.sleep(self._pause.next())

    def _written(self, node: str, *, done: bool) -> None:
        if done:
            self._tries.pop(node, None)
            return
        tries = self._tries[node] = self._tries.get(node, 0) + 1
        self._later[node] = self._clock() + min(LONGEST_REST, 2.0 ** min(tries - 1, 10))

    async def _next(self) -> tuple[str, NodeGates]:
        """Wait for a Node of which something is to be changed."""
        while True:
            node, gates = await self._find()
            if gates:
                return node, gates
            self._stirred.clear()
            until = min((self._next_look, *self._later.values()))
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.05, until - self._clock())):
                    await self._stirred.wait()

    async def _find(self) -> tuple[str, NodeGates]:
        """The next Node of which something is to be changed, if any is."""
        self._mark_what_is_time()
        looked_at = 0
        while self._held() and (queue := self._urgent or self._due):
            node = next(iter(queue))
            del queue[node]
            with self._faults.kept("gate"):
                if gates := self._look(node):
                    return node, gates
            looked_at += 1
            if looked_at % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return "", NodeGates()

    def _look(self, node: str) -> NodeGates:
        marks, now = self._marked.get(node), self._clock()
        if marks is None:
            self._forget(node)
            return NodeGates()
        if node in self._tries and self._later.get(node, 0.0) > now:
            return NodeGates()  # something was refused there: it rests
        gated = tuple(self._sets.gated(node))
        claimed = frozenset(each.gate.taint for each in gated if each.gate.taint is not None)
        known = self._nodes.get(node)
        if known is None or known.uid != marks.uid:
            appeared = self._notes.appeared(node, marks.uid, now)
            known = self._nodes[node] = _Remembered(marks.uid, marks.taints, appeared)
        known.see(marks, claimed, now)
        self._notes.note(node, marks.uid, known.appeared)
        remembered = Taints(known.appeared, known.released)
        gates = decide(node, marks, gated, self._is_ours, now, remembered)
        if gates.look_again is not None:
            self._later[node] = gates.look_again
        return gates

    def _forget(self, node: str) -> None:
        self._notes.note(node, "", {})
        for memory in (self._nodes, self._later, self._tries):
            memory.pop(node, None)

    def _is_ours(self, name: str) -> bool:
        return self._sets.head(name) is not None or self._sets.is_gone(name)
