"""Nodes of an API server in memory, sets that stand as a test says, and a keeper of gates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from msgspec.structs import replace

from common.bus.protocol import RecordStore
from common.text import Text
from coordinator.core.sets.decisions import SetDecision
from coordinator.core.sets.events import SetEvent, SetGone, SetStored
from coordinator.core.sets.gate import CONDITION_PREFIX, LABEL_PREFIX, SetGate
from coordinator.core.sets.gating import GatedSet, NodeGates
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import SetNode, SetNodePhase
from coordinator.engine.gate_notes import GateNotes
from coordinator.engine.set_gates import SetGates
from coordinator.engine.sets import SetTable
from coordinator.faults import Faults
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.node_object import Condition, Metadata, NodeObject, Spec, Status, Taint
from coordinator.nodes.source import GatesAwayError, GateSink
from tests.core.set_world import set_of

WARM, WAITING, BLOCKED = SetNodePhase.WARM, SetNodePhase.WAITING, SetNodePhase.BLOCKED


class GateWorld:
    """A clock, Nodes, sets, and what was written."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.start = start
        self.zero = asyncio.get_running_loop().time()
        self.objects: dict[str, NodeObject] = {}
        self.standings: dict[tuple[str, str], SetNode] = {}
        """By set and node; who is not in it is in no set."""
        self.unheard: set[str] = set()
        self.heads: dict[str, SetHead] = {}
        self.gone: set[str] = set()
        self.judged_from = 0.0
        self.marked = MarkedNodes()
        self.written: list[tuple[str, NodeGates]] = []
        self.warned: list[str] = []
        self.is_away = self.refuses = False
        self.tries = 0
        self.holds = True
        self.faults: list[str] = []
        self._version = 0

    def now(self) -> float:
        """Seconds since 1970."""
        return self.start + asyncio.get_running_loop().time() - self.zero

    # ── Nodes ──

    def join(self, name: str, *taints: str) -> None:
        """A Node is made."""
        moment = datetime.fromtimestamp(self.now(), UTC).isoformat()
        self.objects[name] = NodeObject(
            Metadata(name=name, uid=f"uid-{name}-{self._version}", creation_timestamp=moment),
            Spec(taints=[Taint(key=key, effect="NoSchedule") for key in taints]),
        )
        self.tell(name)

    def taint(self, name: str, *taints: str) -> None:
        """Somebody gives a Node other taints."""
        node = self.objects[name]
        spec = Spec(taints=[Taint(key=key, effect="NoSchedule") for key in taints])
        self.objects[name] = NodeObject(node.metadata, spec, node.status)
        self.tell(name)

    def tell(self, name: str, marked: MarkedNodes | None = None) -> None:
        """The watch says what a Node is like."""
        self._version += 1
        node = self.objects[name]
        meta = node.metadata
        labelled = Metadata(
            name=meta.name,
            uid=meta.uid,
            resource_version=str(self._version),
            creation_timestamp=meta.creation_timestamp,
            labels=meta.labels,
        )
        self.objects[name] = NodeObject(labelled, node.spec, node.status)
        (marked or self.marked).see(self.objects[name])

    def conditions(self, node: str) -> dict[str, str]:
        """The conditions of a Node."""
        return {each.type: each.status for each in self.objects[node].status.conditions}

    def taints(self, node: str) -> list[str]:
        """Its taints."""
        return [each.key for each in self.objects[node].spec.taints]

    # ── port of the sets ──

    def names(self) -> Sequence[str]:
        """All sets."""
        return sorted(self.heads)

    def head(self, name: str) -> SetHead | None:
        """One of them."""
        return self.heads.get(name)

    def is_gone(self, name: str) -> bool:
        """Whether one was deleted."""
        return name in self.gone

    def cold(self, name: str) -> list[str]:
        """Its nodes that are not warm."""
        found = self.standings.items()
        return [n for (s, n), each in found if s == name and each.phase is not WARM]

    def gated(self, node: str) -> Iterator[GatedSet]:
        """How a node stands."""
        for (name, each), standing in self.standings.items():
            head = self.heads.get(name)
            if each == node and head is not None and head.gate is not None:
                is_heard = node not in self.unheard
                yield GatedSet(
                    name, head.gate, head.gate_since / 1000, standing, is_heard, self.judged_from
                )

    # ── where it is written to ──

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[GateWorld]:
        """Connect, where the API server is there."""
        self.tries += 1
        if self.is_away:
            raise GatesAwayError("nobody there")
        yield self

    async def write(self, node: str, gates: NodeGates) -> bool:
        """Write all of it, as the API server would."""
        if self.is_away:
            raise GatesAwayError("nobody there")
        self.written.append((node, gates))
        await asyncio.sleep(0.01)
        if self.refuses:
            return False
        self._apply(node, gates)
        self.tell(node)
        return True

    def _apply(self, name: str, gates: NodeGates) -> None:
        node = self.objects[name]
        conditions = {each.type: each for each in node.status.conditions}
        for each, wanted in gates.conditions.items():
            kind = CONDITION_PREFIX + each
            if wanted is None:
                del conditions[kind]
            else:
                conditions[kind] = Condition(kind, str(wanted.mark.status), wanted.mark.reason)
        labels = {**node.metadata.labels, **{LABEL_PREFIX + k: v for k, v in gates.labels.items()}}
        self.warned += [each.warning.message for each in gates.taints if each.warning is not None]
        gone = {each.key for each in gates.taints}
        left = [each for each in node.spec.taints if each.key not in gone]
        metadata = Metadata(
            name=name,
            uid=node.metadata.uid,
            creation_timestamp=node.metadata.creation_timestamp,
            labels={key: value for key, value in labels.items() if value is not None},
        )
        self.objects[name] = NodeObject(
            metadata, Spec(taints=left), Status(conditions=list(conditions.values()))
        )

    # ── a keeper ──

    @asynccontextmanager
    async def keeper(
        self,
        marked: MarkedNodes | None = None,
        sink: GateSink | None = None,
        notes: GateNotes | None = None,
    ) -> AsyncIterator[SetGates]:
        """One leader's, until the block ends; over this world where nothing else is said.

        Without ``notes`` nothing of it is stored.
        """
        gates = SetGates(
            sets=cast("SetTable", self),
            marked=marked or self.marked,
            sink=sink or self,
            clock=self.now,
            held=lambda: self.holds,
            faults=Faults(self.faults.append),
            notes=notes or GateNotes(cast("RecordStore", None), self.faults.append),
        )
        gates.begin()
        running = asyncio.create_task(gates.run())
        try:
            yield gates
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), running.exception()
            assert self.faults == []

    def put(self, keeper: SetGates | None, name: str = "web", **gate: Any) -> None:
        """A set is put, with a gate where one is given."""
        wanted = SetGate(**gate) if gate else None
        since = int(self.now() * 1000)
        head = replace(set_of(name, "a"), gate=wanted, gate_since=since)
        self.heads[name] = head
        self.gone.discard(name)
        self._say(keeper, SetStored(head))

    def delete(self, keeper: SetGates | None, name: str = "web") -> None:
        """It is deleted."""
        del self.heads[name]
        self.gone.add(name)
        self.standings = {key: each for key, each in self.standings.items() if key[0] != name}
        self._say(keeper, SetGone(name))

    def stands(self, node: str, phase: SetNodePhase, name: str = "web") -> None:
        """How a node of a set is from now on."""
        reason = "Unauthorized" if phase is BLOCKED else None
        text = None if phase is WARM else Text("At registry.corp.")
        self.standings[name, node] = SetNode(node, phase, reason, text)

    @staticmethod
    def _say(keeper: SetGates | None, event: SetEvent) -> None:
        if keeper is not None:
            keeper.observe(event, SetDecision([], []))
