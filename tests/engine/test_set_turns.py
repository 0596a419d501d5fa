"""Webhooks of sets over stores and receivers that take their time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, cast

from msgspec.structs import replace

from coordinator.core.events import Settled
from coordinator.core.sets.decisions import SetDecision, SetDropped, SetTurned
from coordinator.core.sets.head import SetHead
from coordinator.core.sets.standing import SetCondition, Tally, Turn
from coordinator.engine.persistence import Persistently
from coordinator.engine.set_notes import MOST_UNTOLD, SetNote, SetNotes, UntoldTurn
from coordinator.engine.set_turns import SetTurns
from coordinator.engine.sets import SetTable
from coordinator.engine.webhooks import Parcel
from coordinator.faults import Faults
from coordinator.snapshots import SetSnapshot, StoredSet
from sandbox.virtual.time import virtual
from tests.core.set_world import set_of

HOOK = "https://hooks.example/token"


class Surroundings:
    """One set, a store of notes and a receiver, each of which may keep others waiting."""

    def __init__(self, **notes: SetNote) -> None:
        self.head_now = set_of("web", "a", webhook_url=HOOK)
        self.stores, self.takes = asyncio.Event(), asyncio.Event()
        self.stores.set()
        self.stored: SetNote | None = None
        self.all = notes
        self.tried: list[tuple[str, str]] = []
        self.waiting = 0
        self.surveys = 0
        self.forgotten: list[str] = []
        self.faults: list[str] = []
        self._jobs: set[asyncio.Task[None]] = set()
        self.turns = SetTurns(
            notes=cast("SetNotes", self),
            sets=cast("SetTable", self),
            tell=lambda _: None,
            webhooks=self,
            held=lambda: True,
            spawn=self._spawn,
            persistently=Persistently(random.Random(1)),
            faults=Faults(self.faults.append),
        )

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        self._jobs.add(asyncio.create_task(job))

    def head(self, name: str) -> SetHead | None:
        """The set as it was put."""
        return self.head_now if name == "web" else None

    def is_gone(self, name: str) -> bool:
        """Another set was deleted, and a third cannot be read."""
        return name == "old"

    def snapshot(self, _name: str) -> SetSnapshot:
        """The set as it is, which is costly to find out."""
        self.surveys += 1
        return SetSnapshot(StoredSet(self.head_now, 1), Tally(), {}, None)

    async def save(self, note: SetNote) -> None:
        """Store a note once the store takes any."""
        await self.stores.wait()
        self.stored = note

    async def forget(self, name: str) -> None:
        """Store that there is none."""
        self.stored = None
        self.forgotten.append(name)

    async def bring(self, parcel: Parcel) -> None:
        """Try every ten seconds until the receiver takes anything."""
        self.tried.append((parcel.id, parcel.address))
        self.waiting += 1
        try:
            while not self.takes.is_set():
                await asyncio.sleep(10.0)
                await parcel.look()
        finally:
            self.waiting -= 1

    async def turn(self, since: float, *, holds: bool = True) -> None:
        """The set is ready since then, or is so no more."""
        turned = SetTurned("web", SetCondition.READY, Turn(holds, since))
        self.turns.observe(Settled(), SetDecision([], [turned]))
        await asyncio.sleep(0.1)


@virtual
async def test_a_webhook_that_was_taken_while_the_store_was_away_is_sent_once() -> None:
    """What is stored at last says so too."""
    around = Surroundings()
    await around.turn(10.0)
    around.stores.clear()
    await around.turn(11.0, holds=False)
    around.takes.set()
    await asyncio.sleep(60.0)
    around.stores.set()
    await asyncio.sleep(60.0)
    assert len(around.tried) == 1
    assert around.stored is not None
    assert around.stored.webhooks == ()


@virtual
async def test_a_receiver_that_is_away_keeps_no_more_waiting_than_the_note_names() -> None:
    """However often a set turns meanwhile: the newest turns are those that are told."""
    around = Surroundings()
    for number in range(50):
        await around.turn(100.0 + number)
    assert around.waiting == MOST_UNTOLD
    around.turns.observe(Settled(), SetDecision([], [SetDropped(around.head_now)]))
    await asyncio.sleep(0.1)
    assert around.waiting == 0
    assert around.stored is None


@virtual
async def test_a_webhook_goes_to_where_the_set_is_told_by_now() -> None:
    """Nobody waits for a receiver that was replaced, and none is told where there is no other."""
    around = Surroundings()
    await around.turn(10.0)
    spec = around.head_now.spec
    for address in ("https://other.example/", None):
        around.head_now = replace(around.head_now, spec=replace(spec, webhook_url=address))
        await asyncio.sleep(60.0)
    assert [address for _, address in around.tried] == [HOOK, "https://other.example/"]
    assert len({name for name, _ in around.tried}) == 1
    assert around.stored is not None
    assert around.stored.webhooks == ()
    assert around.faults == []


@virtual
async def test_a_leader_that_begins_forgets_what_was_deleted_and_nothing_else() -> None:
    """And goes through the nodes of no set for it."""
    untold = (UntoldTurn(condition=SetCondition.READY, since=1),)
    names = {"web": 0, "old": 1, "unreadable": 2}
    around = Surroundings(
        **{name: SetNote(name=name, created_at=at, webhooks=untold) for name, at in names.items()}
    )
    around.all["unreadable"] = replace(around.all["unreadable"], webhooks=())
    around.turns.begin()
    await asyncio.sleep(1.0)
    assert around.forgotten == ["old"]
    assert around.waiting == 1
    assert around.surveys == 0
