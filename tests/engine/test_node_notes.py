"""Records of what is remembered of nodes, over a store that answers when it likes."""

from __future__ import annotations

from common import subjects
from common.bus import Entry, KeyValue
from coordinator.core.sets.events import SetEvent
from coordinator.core.sets.records import NodeMemory
from coordinator.engine.node_notes import NodeNotes, key_of
from coordinator.engine.stored_memory import nodes_note
from sandbox.virtual.bus import VirtualBus
from sandbox.virtual.time import virtual
from tests.engine.stored import bus_in_memory

KEY = key_of("web", "n1")
NOTE = nodes_note("web", 1, 1, {"n1": NodeMemory(is_new=True)})


class Notes:
    """The records as one coordinator has them."""

    def __init__(self, bus: VirtualBus) -> None:
        self.fed: list[SetEvent] = []
        self.poison: list[str] = []
        self.notes = NodeNotes(bus, self.fed.append, self.poison.append)
        self.bucket = KeyValue(bus, subjects.SET_NOTES_BUCKET)

    async def load(self) -> None:
        """Read all that is stored."""
        async for entries in self.bucket.entries():
            for entry in entries:
                self.notes.take(entry)


@virtual
async def test_a_deletion_that_the_watch_tells_of_first_is_one() -> None:
    """The answer to it comes afterwards, and ends nothing."""
    async with bus_in_memory() as bus:
        it = Notes(bus)
        await it.notes.save(KEY, NOTE)
        delete = it.notes._bucket.delete

        async def late(key: str, revision: int | None = None, *, ttl: int | None = None) -> int:
            found = await delete(key, revision, ttl=ttl)
            it.notes.take(Entry(key=key, value=None, revision=found, time=0.0))
            return found

        it.notes._bucket.delete = late  # type: ignore[method-assign]
        await it.notes.save(KEY, None)
        assert list(it.notes.keys) == []
        await it.notes.save(KEY, NOTE)
        assert list(it.notes.keys) == [KEY]
