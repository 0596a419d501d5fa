"""What the coordinator remembers, in words of the domain: heads, lists, keys and outcomes.

Dumb on purpose: it saves and loads, and knows no rule but the order of writes that makes a crash
between any two of them harmless. Errors are the bus's own: Conflict, StoreRefused (nothing was
written), StoreUnavailable (it may have been). Whatever bytes and names are stored, each kind has
one reader, which makes a value of them or a fault that is counted and ends nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import Conflict, Entry, KeyValue, OnStored, Record
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE, Outcome, TaskId
from common.reasons import clip
from common.subjects import AttemptKey
from common.texts import LIST_DAMAGED
from coordinator.core.events import OutcomeStored
from coordinator.core.run import UNDECODABLE
from coordinator.core.task import MOST_NODES, NodeName, TaskHead
from coordinator.port import TaskDamaged
from coordinator.store_bus import StoreBus

poison = RateLimitedLog(Log(__name__))

SUBJECTS_AT_A_TIME = 500
LIST_CHUNK_BYTES = 192 * 1024
"""Names in one stored chunk; with JSON's quotes and commas it stays below the message limit."""
KEY_UNUSED_SECONDS = 86_400
"""After so long nobody completes the create of a key's task, and a removed key's tombstone goes."""
NAMED = "named"
"""The list of a task's ``nodeNames``; a started task's own list is named by its head."""


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head as it is in the store."""

    head: TaskHead
    revision: int
    order: int = field(init=False)
    """The task's place in the order of creation."""

    def __post_init__(self) -> None:
        order = self.revision if self.head.order is None else self.head.order
        object.__setattr__(self, "order", order)


class KeyRecord(msgspec.Struct, frozen=True, rename="camel"):
    """What an ``Idempotency-Key`` stands for."""

    task: TaskId
    body: Annotated[str, Meta(max_length=256)]
    """SHA-256 of the normalised body, in hex."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A head that was deleted."""

    task: str
    revision: int


_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(TaskHead).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode
_decode_names = msgspec.json.Decoder(Annotated[list[NodeName], Meta(max_length=MOST_NODES)]).decode
_decode_key = msgspec.json.Decoder(KeyRecord).decode
_CHUNK = re.compile(r"0|[1-9][0-9]{0,5}")
OnFault = Callable[[str], None]
"""Told the kind of each record that cannot be read."""


class Store:
    """The four things that are stored."""

    def __init__(self, bus: StoreBus, on_fault: OnFault = lambda _kind: None) -> None:
        self._bus = bus
        self._on_fault = on_fault
        self._heads = KeyValue(bus, subjects.TASKS_BUCKET)
        self._lists = KeyValue(bus, subjects.LISTS_BUCKET)
        self._keys = KeyValue(bus, subjects.KEYS_BUCKET)
        self._own: dict[str, int] = {}
        """By task: the revision of a head written here that the watch has yet to reach."""
        self._watched = 0
        """The revision that the watch of heads has reached."""

    # ── heads ──

    async def create_head(self, head: TaskHead) -> StoredHead:
        """Store a new task. Raises Conflict where the id is taken."""
        return self._written(head, await self._heads.create(head.id, _encode(head)))

    async def swap_head(self, old: StoredHead, new: TaskHead) -> StoredHead:
        """Replace exactly this head. Raises Conflict where it has changed since."""
        if new.order is None:
            new = msgspec.structs.replace(new, order=old.order)
        return self._written(new, await self._heads.update(new.id, _encode(new), old.revision))

    def _written(self, head: TaskHead, revision: int) -> StoredHead:
        if revision > self._watched:
            self._own[head.id] = revision
        return StoredHead(head, revision)

    async def load_head(self, task: str) -> StoredHead | None:
        """The head as the store has it now."""
        entry = await self._heads.get(task)
        return None if entry is None else self._head_of(entry)

    async def was_deleted(self, task: str) -> bool:
        """Whether there was such a task and it has been removed."""
        subject = f"$KV.{subjects.TASKS_BUCKET}.{task}"
        record = await self._bus.last(f"KV_{subjects.TASKS_BUCKET}", subject)
        return record is not None and "KV-Operation" in record.headers

    async def exists(self, task: str) -> bool:
        """Whether there is a head, readable or not."""
        return await self._heads.get(task) is not None

    async def head_revision(self, task: str) -> int:
        """The revision of a head, readable or not; 0 where there is none."""
        entry = await self._heads.get(task)
        return 0 if entry is None else entry.revision

    async def load_heads(self) -> AsyncIterator[StoredHead | Gone]:
        """Every head there is, and the tombstones, in the order of their revisions."""
        async for entries in self._heads.entries():
            for entry in entries:
                if (found := self._head_or_gone(entry)) is not None:
                    yield found

    async def watch_heads(self, start: int) -> AsyncIterator[StoredHead | Gone]:
        """Every change of a head from revision ``start`` on that was not made here, without end."""
        async for entries in self._heads.watch(start=start):
            for entry in entries:
                self._watched = max(self._watched, entry.revision)
                own = self._own.get(entry.key, 0)
                if own <= entry.revision:
                    self._own.pop(entry.key, None)
                if own != entry.revision and (found := self._head_or_gone(entry)) is not None:
                    yield found

    async def delete_head(self, stored: StoredHead) -> None:
        """Remove a task from sight; its other records are removed afterwards."""
        await self._heads.delete(stored.head.id, stored.revision)

    async def probe(self) -> None:
        """Write something without meaning into all that the truth is derived from.

        Not into the events' stream, where everybody would read it: their publisher tries again by
        itself. Raises BusError.
        """
        for bucket in (self._heads, self._lists, self._keys):
            await bucket.delete("probe")
        subject = f"{subjects.PREFIX}.result.probe.probe.probe"  # nobody reads it as an outcome
        await self._bus.store(subject, b"{}", expect_last=None)
        await self._bus.purge(subjects.RESULTS, subject)

    # ── lists of node names ──

    async def save_list(self, task: str, name: str, nodes: Sequence[str]) -> None:
        """Store a list of node names in chunks; to be done before the head that speaks of it."""
        for number, chunk in enumerate(_chunks(nodes)):
            subject = f"$KV.{subjects.LISTS_BUCKET}.{task}.{name}.{number}"
            await self._bus.store(subject, _encode(chunk), expect_last=None)

    async def load_nodes(self, head: TaskHead) -> list[str]:
        """The nodes of a started task, as many as its head says. Raises TaskDamaged."""
        name = head.node_list or "none"
        nodes = await self.load_list(head.id, name)
        if len(nodes) != head.nodes:
            why = f"it has {len(nodes)} names and not {head.nodes}"
            raise self._damaged(f"{head.id}.{name}", why)
        return nodes

    async def load_named(self, task: str) -> list[str]:
        """The ``nodeNames`` of a task that was created with some. Raises TaskDamaged."""
        names = await self.load_list(task, NAMED)
        if not names:
            raise self._damaged(f"{task}.{NAMED}", "it is not there")
        return names

    async def load_list(self, task: str, name: str) -> list[str]:
        """A stored list, in its order; empty where there is none. Raises TaskDamaged."""
        chunks: dict[int, list[str]] = {}
        async for entries in self._lists.entries(f"{task}.{name}.*"):
            for entry in entries:
                number = entry.key.rpartition(".")[2]
                if _CHUNK.fullmatch(number) is None:
                    self._note("list", entry.key, "its name is no number of a chunk")
                else:
                    chunks[int(number)] = self._names_of(entry)
        nodes = [node for number in sorted(chunks) for node in chunks[number]]
        if len(chunks) <= max(chunks, default=-1):
            raise self._damaged(f"{task}.{name}", "a part of it is missing")
        if len(set(nodes)) < len(nodes):
            raise self._damaged(f"{task}.{name}", "it names a node twice")
        return nodes

    def _names_of(self, entry: Entry) -> list[str]:
        if entry.value is None:
            raise self._damaged(entry.key, "a part of it was deleted")
        try:
            names: list[str] = _decode_names(entry.value)
        except NOT_DECODABLE:
            why = f"part {entry.key.rpartition('.')[2]} is no list of node names"
            raise self._damaged(entry.key, why) from None
        return names

    def _damaged(self, key: str, why: str) -> TaskDamaged:
        self._note("list", key, why)
        return TaskDamaged(LIST_DAMAGED(why=why))

    # ── keys ──

    async def load_key(self, key: str) -> tuple[KeyRecord, int] | None:
        """What an idempotency key stands for, with its revision."""
        entry = await self._keys.get(key)
        record = None if entry is None else self._key_of(entry)
        return None if entry is None or record is None else (record, entry.revision)

    async def claim_key(self, key: str, record: KeyRecord, revision: int | None = None) -> None:
        """Store what a key stands for, over ``revision`` if given. Raises Conflict."""
        if revision is None:
            await self._keys.create(key, _encode(record))
        else:
            await self._keys.update(key, _encode(record), revision)

    # ── outcomes ──

    async def store_outcome(self, key: AttemptKey, outcome: Outcome) -> None:
        """Decide an attempt. Raises Conflict where somebody has decided it already."""
        await self._bus.store(subjects.result(*key), _encode(outcome), expect_last=0)

    def decide_soon(self, key: AttemptKey, outcome: Outcome, on_decided: OnStored) -> None:
        """The same, for thousands at once: what comes of it, the error too, goes to a callback.

        Electing, where nobody leads the stream at this moment. Raises StoreUnavailable when
        nothing was sent, and the callback is then not called.
        """
        self._bus.store_soon(
            subjects.result(*key), _encode(outcome), expect_last=0, on_stored=on_decided
        )

    async def is_decided(self, key: AttemptKey) -> bool:
        """Whether an attempt has an outcome, as the leader of the stream knows it now."""
        return await self._bus.last(subjects.RESULTS, subjects.result(*key)) is not None

    async def outcomes_end(self) -> int:
        """The sequence of the newest outcome of all."""
        return (await self._bus.stream_state(subjects.RESULTS)).last_seq

    async def outcomes_end_of(self, task: str) -> int:
        """The sequence of a task's newest outcome, as the stream's leader has it; 0 for none."""
        record = await self._bus.last(subjects.RESULTS, subjects.results_of(task))
        return 0 if record is None else record.seq

    async def load_outcomes(
        self, task: str, upto: int, node: str | None = None
    ) -> AsyncIterator[OutcomeStored]:
        """The outcomes of one task (on one node) up to a sequence, in order; finite."""
        if upto < 1:
            return
        wanted = subjects.results_of(task) if node is None else subjects.results_at(task, node)
        replay = self._bus.replay(subjects.RESULTS, wanted, upto=upto)
        async for records in replay:
            for event in self._outcomes(records, live=False):
                yield event

    async def watch_outcomes(self, start: int) -> AsyncIterator[tuple[list[OutcomeStored], int]]:
        """Every outcome from a sequence on, without end; each time up to which one was read."""
        follow = self._bus.follow(subjects.RESULTS, subjects.ALL_RESULTS, start=start)
        async for records in follow:
            yield list(self._outcomes(records, live=True)), records[-1].seq

    async def tasks_with_outcomes(self, node: str | None = None) -> set[str]:
        """Tasks of which any outcome (of one node) is stored."""
        tasks = set[str]()
        wanted = subjects.ALL_RESULTS if node is None else subjects.results_on(node)
        async for page in self._bus.subject_pages(subjects.RESULTS, wanted):
            for number, subject in enumerate(page):
                if (key := subjects.parse_result(subject)) is not None:
                    tasks.add(key.task)
                if number % SUBJECTS_AT_A_TIME == 0:
                    await asyncio.sleep(0)  # a million of them take seconds
        return tasks

    async def tasks_with_lists(self) -> set[str]:
        """Tasks of which any list is stored."""
        head = f"$KV.{subjects.LISTS_BUCKET}."
        tasks = set[str]()
        async for page in self._bus.subject_pages(f"KV_{subjects.LISTS_BUCKET}"):
            tasks |= {subject.removeprefix(head).partition(".")[0] for subject in page}
        return set(filter(subjects.is_task_id, tasks))  # a probe, or a stranger, may be there too

    # ── removal ──

    async def purge_task(self, task: str, key: str | None = None) -> None:
        """Remove what is left of a task whose head is deleted: outcomes, lists, key record.

        Not crash-proof (purged messages can be back after kill -9 [nats-server #8505]), which is
        why it is repeated at each start for tasks without a head.
        """
        await self._bus.purge(subjects.RESULTS, subjects.results_of(task))
        lists = f"$KV.{subjects.LISTS_BUCKET}.{task}.>"
        await self._bus.purge(f"KV_{subjects.LISTS_BUCKET}", lists)
        if key is not None:
            await self._release_key(key, task)

    async def _release_key(self, key: str, task: str) -> None:
        """Remove a key record that still stands for this task; a newer claim stays."""
        found = await self.load_key(key)
        if found is not None and found[0].task == task:
            with suppress(Conflict):
                await self._keys.delete(key, found[1], ttl=KEY_UNUSED_SECONDS)

    async def release_keys(self, is_known: Callable[[str], bool], now: float) -> None:
        """Remove key records of tasks that were deleted, or that never came to be for a day.

        A crash may have left some. ``now`` is in seconds since 1970.
        """
        async for entries in self._keys.entries("idem.*"):
            for entry in entries:
                record = self._key_of(entry)
                if record is None or is_known(record.task):
                    continue
                if await self.was_deleted(record.task) or (
                    now - entry.time > KEY_UNUSED_SECONDS and not await self.exists(record.task)
                ):
                    await self._release_key(entry.key, record.task)

    # ── what is stored, read ──

    def _note(self, kind: str, key: str, why: str) -> None:
        self._on_fault(kind)
        poison.warning(kind, "a stored record cannot be read", key=clip(key), why=clip(why))

    def _head_of(self, entry: Entry) -> StoredHead | None:
        if entry.value is None:
            return None
        try:
            head = _decode_head(entry.value)
        except NOT_DECODABLE as why:
            self._note("head", entry.key, str(why))
            return None
        if head.id != entry.key:
            self._note("head", entry.key, "it is that of another task")
            return None
        return StoredHead(head, entry.revision)

    def _head_or_gone(self, entry: Entry) -> StoredHead | Gone | None:
        """What can be read. A head that cannot is left: a newer version may have written it."""
        return Gone(entry.key, entry.revision) if entry.value is None else self._head_of(entry)

    def _key_of(self, entry: Entry) -> KeyRecord | None:
        try:
            return None if entry.value is None else _decode_key(entry.value)
        except NOT_DECODABLE as why:
            self._note("key", entry.key, str(why))
            return None

    def _outcomes(self, records: Iterable[Record], *, live: bool) -> Iterable[OutcomeStored]:
        for record in records:
            key = subjects.parse_result(record.subject)
            if key is None:
                continue  # not ours: the stream takes any subject of its shape
            try:
                outcome = _decode_outcome(record.data)
            except NOT_DECODABLE as why:
                self._note("outcome", record.subject, str(why))
                outcome = UNDECODABLE
            yield OutcomeStored(key, outcome, record.seq, record.time, live=live)


def _chunks(names: Sequence[str]) -> Iterable[list[str]]:
    chunk: list[str] = []
    size = 0
    for name in names:
        if size + len(name) + 3 > LIST_CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(name)
        size += len(name) + 3
    yield chunk
