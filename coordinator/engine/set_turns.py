"""Turns of sets as the leader keeps and tells them: remembered first, told second.

A turn is stored in the set's note; then the event is published and the webhook delivered. A leader
that begins finds in the notes what the one before it did not get to say.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from msgspec.structs import replace

from common.bus import Conflict
from common.subjects import about_set
from common.text import Text
from coordinator.core.sets.decisions import (
    SetDecision,
    SetDropped,
    SetRefreshed,
    SetRested,
    SetTurned,
)
from coordinator.core.sets.events import SetEvent
from coordinator.core.sets.head import SetHead
from coordinator.engine.persistence import Persistently
from coordinator.engine.set_event_ids import TOLD, turn_id
from coordinator.engine.set_notes import (
    MOST_UNTOLD,
    SetNote,
    SetNotes,
    StoredTurn,
    UntoldTurn,
    stored_refresh,
)
from coordinator.engine.sets import SetTable
from coordinator.engine.stored_memory import stored_rest
from coordinator.engine.tasks import Spawn
from coordinator.engine.webhooks import Parcel
from coordinator.faults import Faults
from coordinator.port import NoSuchSet
from coordinator.set_documents import WarmSetWebhook
from coordinator.views.sets import set_webhook

TURNS: Final = (SetTurned, SetRefreshed, SetRested, SetDropped)
"""What is stored in a set's note."""


class Brings(Protocol):
    """Who brings webhooks to their receivers."""

    async def bring(self, parcel: Parcel) -> Text | None:
        """Bring one to its end: taken, given up, or refused."""


class _MovedError(Exception):
    """A set is told elsewhere by now, or nowhere."""


class SetTurns:
    """Observes the loop of the sets' core while this coordinator leads."""

    def __init__(
        self,
        *,
        notes: SetNotes,
        sets: SetTable,
        tell: Callable[[SetNote], None],
        webhooks: Brings,
        held: Callable[[], bool],
        spawn: Spawn,
        persistently: Persistently,
        faults: Faults,
    ) -> None:
        """``tell`` publishes what a stored note says that nobody was told yet."""
        self._store = notes
        self._notes: dict[str, SetNote | None] = dict(notes.all)
        self._sets = sets
        self._tell = tell
        self._webhooks = webhooks
        self._held = held
        self._spawn = spawn
        self._persistently = persistently
        self._faults = faults
        self._unsaved: set[str] = set()
        self._saving: set[str] = set()
        self._on_the_way: defaultdict[str, dict[UntoldTurn, asyncio.Task[Any] | None]]
        self._on_the_way = defaultdict(dict)
        """Deliveries by set; None for one that has not begun."""

    def begin(self) -> None:
        """Bring the webhooks that the leader before this one did not; forget what is gone."""
        for name, note in list(self._notes.items()):
            if self._sets.is_gone(name):  # and not: what cannot be read at the moment
                self._change(name, None)
            elif note is not None:
                self._bring(note)

    def observe(self, _event: SetEvent, decision: SetDecision) -> None:
        """Remember and tell what has turned."""
        for change in decision.changes:
            if isinstance(change, SetTurned):
                self._turned(change)
            elif isinstance(change, SetRefreshed):
                self._refreshed(change)
            elif isinstance(change, SetRested):
                self._rested(change)
            elif isinstance(change, SetDropped):
                self._change(change.head.name, None)

    def _turned(self, change: SetTurned) -> None:
        head, turn = self._sets.head(change.set), change.turn
        if head is None:
            return
        note = self._note_of(head)
        before, since = note.turns.get(change.condition), int(turn.since * 1000)
        held_before = None if before is None else before.held_since
        held_since = since if turn.holds else held_before
        now = StoredTurn(holds=turn.holds, since=since, held_since=held_since)
        webhooks = note.webhooks
        if turn.holds and change.condition in TOLD and head.spec.webhook_url is not None:
            webhooks = (*webhooks, UntoldTurn(condition=change.condition, since=since))
        turns = {**note.turns, change.condition: now}
        note = replace(note, turns=turns, webhooks=webhooks[-MOST_UNTOLD:])
        self._change(head.name, note)

    def _refreshed(self, change: SetRefreshed) -> None:
        head = self._sets.head(change.set)
        if head is not None:
            refreshed = stored_refresh(change.refreshed)
            self._change(head.name, replace(self._note_of(head), refreshed=refreshed))

    def _rested(self, change: SetRested) -> None:
        head, rest = self._sets.head(change.set), stored_rest(change.rest)
        if head is not None and (note := self._note_of(head)).rest != rest:
            self._change(head.name, replace(note, rest=rest))

    def _note_of(self, head: SetHead) -> SetNote:
        """What is remembered of a set, or a note of which nothing is."""
        note = self._notes.get(head.name)
        if note is None or note.created_at != head.created_at:
            return SetNote(name=head.name, created_at=head.created_at)
        return note

    # ── what is stored ──

    def _change(self, name: str, note: SetNote | None) -> None:
        self._notes[name] = note
        for untold, delivery in list(self._on_the_way[name].items()):
            if delivery is not None and not self._is_wanted(name, untold):
                delivery.cancel()
        self._unsaved.add(name)
        if name not in self._saving:
            self._saving.add(name)
            self._spawn(self._save_all(name))

    async def _save_all(self, name: str) -> None:
        try:
            while name in self._unsaved:
                self._unsaved.discard(name)
                note = await self._persistently(lambda: self._save(name))
                if note is not None:
                    with self._faults.kept("event", task=about_set(name)):
                        self._tell(note)
                    self._bring(note)
        finally:
            self._saving.discard(name)

    async def _save(self, name: str) -> SetNote | None:
        """Store what is known by now of a set; this is told and delivered, and nothing newer."""
        note = self._notes[name]
        try:
            await (self._store.forget(name) if note is None else self._store.save(note))
        except Conflict:
            # A leader before this one wrote last; what this one knows counts, if it still leads.
            if self._held():
                await self._store.look_again(name)
            raise
        return note

    # ── webhooks ──

    def _bring(self, note: SetNote) -> None:
        for untold in note.webhooks:
            under_way = self._on_the_way[note.name]
            if self._is_wanted(note.name, untold) and untold not in under_way:
                under_way[untold] = None
                self._spawn(self._deliver(note, untold))

    def _is_wanted(self, name: str, untold: UntoldTurn) -> bool:
        """Whether a webhook is still to be told of a turn."""
        note = self._notes.get(name)
        return note is not None and untold in note.webhooks

    async def _deliver(self, note: SetNote, untold: UntoldTurn) -> None:
        under_way = self._on_the_way[note.name]
        under_way[untold] = asyncio.current_task()
        try:
            if self._is_wanted(note.name, untold):
                await self._bring_one(note, untold)
        finally:
            del under_way[untold]
        current = self._notes.get(note.name)
        if current is not None and untold in current.webhooks:
            left = tuple(each for each in current.webhooks if each != untold)
            self._change(note.name, replace(current, webhooks=left))

    async def _bring_one(self, note: SetNote, untold: UntoldTurn) -> None:
        with self._faults.kept("webhook", task=about_set(note.name)), suppress(NoSuchSet):
            while (address := self._address(note)) is not None:
                with suppress(_MovedError):  # then to where the set is told by now
                    await self._webhooks.bring(_parcel(note, untold, address, self._body))
                    return

    def _address(self, note: SetNote) -> str | None:
        head = self._sets.head(note.name)
        is_same = head is not None and head.created_at == note.created_at
        return head.spec.webhook_url if head is not None and is_same else None

    async def _body(self, note: SetNote, untold: UntoldTurn, address: str) -> WarmSetWebhook:
        if self._address(note) != address:
            raise _MovedError
        shot = self._sets.snapshot(note.name)
        if shot is None:
            raise NoSuchSet
        return set_webhook(TOLD[untold.condition], untold.condition, untold.since, shot)


def _parcel(
    note: SetNote,
    untold: UntoldTurn,
    address: str,
    body: Callable[[SetNote, UntoldTurn, str], Awaitable[WarmSetWebhook]],
) -> Parcel:
    return Parcel(
        about={"set": note.name},
        address=address,
        id=turn_id(note, untold.condition, untold.since),
        signed_as=f"set_{note.name}_{untold.condition}_{note.created_at}_{untold.since}",
        happened_at=untold.since / 1000,
        look=lambda: body(note, untold, address),
    )
