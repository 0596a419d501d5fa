"""What is remembered of the nodes of sets, stored by who leads as soon as it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from common.bus import Conflict
from coordinator.core.events import Settled
from coordinator.core.sets.decisions import NodesRemembered, SetDecision, SetDropped
from coordinator.core.sets.events import SetEvent
from coordinator.engine.node_notes import NodeNotes, key_of
from coordinator.engine.persistence import Persistently
from coordinator.engine.sets import SetTable
from coordinator.engine.stored_memory import NodesNote, nodes_note
from coordinator.engine.tasks import Spawn

GATHER_SECONDS: Final = 0.5
"""From a change to its record: others follow it."""
REMEMBERED: Final = (NodesRemembered, SetDropped, Settled)


class NodeMemories:
    """Observes the loop of the sets' core while this coordinator leads, and has it stored."""

    def __init__(
        self,
        *,
        notes: NodeNotes,
        sets: SetTable,
        held: Callable[[], bool],
        spawn: Spawn,
        persistently: Persistently,
    ) -> None:
        self._notes = notes
        self._sets = sets
        self._held = held
        self._spawn = spawn
        self._persistently = persistently
        self._unsaved: dict[str, None] = {}
        self._is_saving = False

    def observe(self, event: SetEvent, decision: SetDecision) -> None:
        """See of which nodes something else is to be stored."""
        if isinstance(event, Settled):
            self._mark(self._notes.keys)  # the leader before may have left what is so no longer
        for change in decision.changes:
            match change:
                case NodesRemembered(name, nodes):
                    self._mark(key_of(name, node) for node in nodes)
                case SetDropped(head):
                    self._mark(key for key in self._notes.keys if key.startswith(f"{head.name}."))
                case _:
                    pass

    def _mark(self, keys: Iterable[str]) -> None:
        self._unsaved.update(dict.fromkeys(keys))
        if self._unsaved and not self._is_saving:
            self._is_saving = True
            self._spawn(self._save_all())

    async def _save_all(self) -> None:
        try:
            while self._unsaved:
                await asyncio.sleep(GATHER_SECONDS)
                keys = list(self._unsaved)
                self._unsaved.clear()
                for key in keys:
                    await self._persistently(partial(self._save, key))
        finally:
            self._is_saving = False

    def _note(self, name: str, key: str) -> NodesNote | None:
        """What is remembered of the nodes of one record, as it is at this moment."""
        head = self._sets.head(name)
        memories = dict(self._sets.memories(name, lambda node: key_of(name, node) == key))
        if head is None or not memories:
            return None
        return nodes_note(name, head.created_at, head.generation, memories)

    async def _save(self, key: str) -> None:
        name = key.partition(".")[0]
        if self._sets.head(name) is None and not self._sets.is_gone(name):
            return  # it cannot be read at the moment
        try:
            await self._notes.save(key, self._note(name, key))
        except Conflict:
            # A leader before this one wrote last; what this one knows counts, if it still leads.
            if self._held():
                await self._notes.look_again(key)
            raise
