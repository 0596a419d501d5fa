"""Warm sets as a replica has them: what is stored, what agents say, and the sets' core over both.

The core of tasks is looked at, and what of it concerns sets is handed on. While this coordinator
leads, whoever carries repairs out is attached; an agent is asked what is there by every replica.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

import msgspec
from msgspec.structs import replace

from common import subjects
from common.bus import BusError, Conflict, Received
from common.gate_texts import GATES_OFF
from common.inventory import CAN_PIN, Inventory
from common.logs import Log, RateLimitedLog
from common.messages import Heartbeat
from common.subjects import AgentAddress
from common.text import Text
from common.texts import COORDINATOR_LOADING, STORE_UNUSABLE
from coordinator.core.changes import AttemptDecided, TaskBegan, TaskOver, TaskQueued
from coordinator.core.events import Event, NodeSeen, NodesListed, NodeVanished, Settled
from coordinator.core.scheduler import Core, Decision
from coordinator.core.sets.core import SetCore, SetLimits
from coordinator.core.sets.decisions import (
    AskInventory,
    ReportRejected,
    SetDecision,
)
from coordinator.core.sets.events import (
    AgentSaid,
    CredentialChanged,
    InventoryReported,
    SetEvent,
    SetGone,
    SetStored,
)
from coordinator.core.sets.gating import GatedSet
from coordinator.core.sets.head import SetHead
from coordinator.core.task import Creator
from coordinator.cron import window_at
from coordinator.engine.loop import CoreLoop, Performers
from coordinator.engine.set_answers import SetAnswers
from coordinator.engine.set_records import SetRecords, SetTombstone, head_of, is_so
from coordinator.engine.wanted_lists import SetBus, WantedLists
from coordinator.faults import Faults
from coordinator.gate_support import GateSupport
from coordinator.port import NoSuchSet, SetChanged, StoreAway, TooManySets
from coordinator.set_port import PutSet, SetOrder
from coordinator.snapshots import StoredSet

poison = RateLimitedLog(Log(__name__))

MOST_SETS: Final = 200
PUT_TRIES: Final = 10
HANDED_ON: Final = (
    NodeSeen,
    NodesListed,
    NodeVanished,
    Settled,
    TaskQueued,
    TaskBegan,
    TaskOver,
    AttemptDecided,
)
"""What the core of tasks hears and says, as far as it concerns sets."""
_EVENTS: Final = (NodeSeen, NodesListed, NodeVanished, Settled)

_decode = msgspec.json.Decoder(Inventory).decode


class SetTable(SetAnswers):
    """Every set that is stored (``port.Sets``)."""

    def __init__(
        self,
        *,
        records: SetRecords,
        bus: SetBus,
        core: Core,
        limits: SetLimits,
        clock: Callable[[], float],
        faults: Faults,
        on_poison: Callable[[str], None],
        failed: Callable[[BusError], None],
        gates: GateSupport | None = None,
    ) -> None:
        """``failed`` is told when the store refuses or does not answer."""
        self._records = records
        self._core = SetCore(limits, core.fleet, core.runs, window_at)
        super().__init__(self._core, clock, gates or GateSupport(GATES_OFF()))
        self._runs = core.runs
        self._on_poison = on_poison
        self._failed = failed
        self._revisions: dict[str, int] = {}
        """The newest known revision under each name, a tombstone's included."""
        self._end = 0
        self.loop: CoreLoop[SetEvent, SetDecision] = CoreLoop(self._core, clock, faults)
        self.loop.observe(self._note_rejected, of=(ReportRejected,))
        self.lists = WantedLists(bus)
        self._follow: Performers = {AskInventory: self.lists.ask}
        self.loop.attach(self._follow)

    # ── what is stored ──

    async def load(self) -> None:
        """Take in every set that is stored by now. Raises BusError."""
        async for found in self._records.load_all():
            self._take(found, found=True)

    async def catch_up(self) -> None:
        """Take in what was written since by now, before the watch tells of it. Raises BusError."""
        async for found in self._records.load_all():
            self._take(found)

    async def watch(self) -> NoReturn:
        """Take in, from now on, what is written after what was loaded. Raises BusError."""
        async for found in self._records.watch(self._end + 1):
            self._take(found)
        raise AssertionError  # a watch has no end

    def _take(self, stored: StoredSet | SetTombstone, *, found: bool = False) -> None:
        if self.loop.ended:
            return  # the core would not hear of it
        name = stored.name if isinstance(stored, SetTombstone) else stored.head.name
        self._end = max(self._end, stored.revision)
        if self._revisions.get(name, 0) >= stored.revision:
            return
        self._revisions[name] = stored.revision
        self._gone.discard(name)
        if isinstance(stored, SetTombstone):
            self._stored.pop(name, None)
            self._gone.add(name)
            self.loop.feed(SetGone(name))
        elif name in self._stored or len(self._stored) < MOST_SETS:
            self._stored[name] = stored
            self.loop.feed(SetStored(stored.head, found=found))
        else:
            poison.warning("many", "a set more than may be is left out", set=name)

    # ── what is heard ──

    def observe(self, event: Event, decision: Decision) -> None:
        """Hand on what the core of tasks has heard and made of it."""
        if isinstance(event, _EVENTS):
            self.loop.feed(event)
        for change in decision.changes:
            match change:
                case TaskQueued() | TaskBegan() | TaskOver():
                    if change.head.set is not None:
                        self.loop.feed(change)
                case AttemptDecided():
                    run = self._runs.get(change.task)
                    if run is not None and run.head.set is not None:
                        self.loop.feed(change)

    def on_heartbeat(self, address: AgentAddress, said: Heartbeat) -> None:
        """An agent speaks, which the fleet has heard already."""
        can_pin = CAN_PIN in said.abilities
        self.loop.feed(
            AgentSaid(
                *address,
                said.agent_version,
                said.inventory,
                said.image_disk,
                can_pin,
                said.credential_changes,
            )
        )

    def on_credential(self, name: str) -> None:
        """A stored credential is another one."""
        self.loop.feed(CredentialChanged(name))

    def on_inventory(self, received: Received) -> None:
        """Take a report in. Raises NOT_DECODABLE or ValueError for what is none."""
        address = subjects.parse_inventory(received.subject)
        if address is None:
            raise ValueError(f"no inventory has the subject {received.subject}")
        self.loop.feed(InventoryReported(*address, _decode(received.data)))

    def _note_rejected(self, _event: SetEvent, decision: SetDecision) -> None:
        for change in decision.changes:
            if isinstance(change, ReportRejected):
                self._on_poison("inventory")
                poison.warning("inventory", change.why, node=change.node)

    # ── what is sent ──

    def attach(self, performers: Performers, leads: Callable[[], bool]) -> None:
        """Have what a leader's core wants done carried out from now on, whenever it leads."""

        def if_led(perform: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda command: perform(command) if leads() else None

        led = {kind: if_led(perform) for kind, perform in performers.items()}
        self.loop.attach({**self._follow, **led})

    # ── what is answered ──

    @property
    def no_gates(self) -> Text | None:
        """Why no set can have a gate here; None where it can."""
        return self._gates.off

    def gated(self, node: str) -> Iterator[GatedSet]:
        """How a node stands in those of its sets that have a gate."""
        now = self._clock()
        for name in self._core.sets_of(node):
            stored = self._stored.get(name)
            if stored is not None and (gate := stored.head.gate) is not None:
                yield GatedSet(
                    name,
                    gate,
                    stored.head.gate_since / 1000,
                    self._core.node(name, node, now),
                    self._core.is_heard(name, node),
                    self._core.judged_from(name),
                )

    async def find(self, name: str) -> StoredSet | None:
        """A set, read from the store where it is not known here. Raises StoreAway."""
        if name not in self._stored:
            await self._read(name)
        return self._stored.get(name)

    async def _read(self, name: str) -> StoredSet | None:
        try:
            stored = await self._records.load(name)
        except BusError as why:
            raise self._away(why) from why
        if stored is not None:
            self._take(stored)
            self._check_lives()
        return stored

    def _check_lives(self) -> None:
        """Raise StoreAway where the next replica has to answer: this one hears no more."""
        if self.loop.ended:
            raise StoreAway(COORDINATOR_LOADING())

    # ── what users want ──

    async def put(self, order: SetOrder, creator: Creator | None, match: int | None) -> PutSet:
        """Store a set; see the port."""
        stored = self._stored.get(order.name) or await self._read(order.name)
        for _ in range(PUT_TRIES):
            if match is not None and match != (0 if stored is None else stored.revision):
                raise SetChanged
            if stored is None and len(self._stored) >= MOST_SETS:
                raise TooManySets(MOST_SETS)
            if stored is not None and is_so(stored.head, order):
                return PutSet(stored, is_new=False)
            try:
                done = await self._write(stored, head_of(stored, order, creator, self._clock()))
            except Conflict:
                stored = await self._read(order.name)
            else:
                return PutSet(done, is_new=stored is None)
        raise SetChanged

    async def _write(self, old: StoredSet | None, head: SetHead) -> StoredSet:
        try:
            if old is None:
                stored = await self._records.create(head)
            else:
                stored = await self._records.swap(old, head)
        except Conflict:
            raise
        except BusError as why:
            raise self._away(why) from why
        self._take(stored)
        self._check_lives()
        return stored

    async def delete(self, name: str, match: int | None) -> None:
        """Delete a set; see the port."""
        stored = await self.find(name)
        while stored is not None:
            if match is not None and match != stored.revision:
                raise SetChanged
            try:
                revision = await self._records.delete(stored)
            except Conflict:
                stored = await self._read(name)
            except BusError as why:
                raise self._away(why) from why
            else:
                self._take(SetTombstone(name, revision))
                return
        raise NoSuchSet

    async def refresh(self, name: str) -> None:
        """Have a set's tags looked at again; see the port."""
        stored = await self.find(name)
        for _ in range(PUT_TRIES):
            if stored is None:
                raise NoSuchSet
            asked_at = max(int(self._clock() * 1000), stored.head.refresh_asked_at + 1)
            try:
                await self._write(stored, replace(stored.head, refresh_asked_at=asked_at))
            except Conflict:
                stored = await self._read(name)
            else:
                return
        raise StoreAway(STORE_UNUSABLE(why="the set is changed again and again"))

    def _away(self, why: BusError) -> StoreAway:
        self._failed(why)
        return StoreAway(STORE_UNUSABLE(why=why.cause))
