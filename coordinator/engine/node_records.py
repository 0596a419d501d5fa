"""Nodes that are known by their agents' word alone are stored, so that they outlive a restart.

The bucket ``IPS_NODES`` has one record a node: its labels. The leader writes one when a node
appears, changes its labels or is forgotten, and never for a heartbeat. It brings what is stored to
what is known, some hundred records a second, so that 10,000 nodes that appear at once cost a store
some seconds of little work. A record that is damaged, strange or too much is that node's fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from common import subjects
from common.bus import BusError, Conflict, Entry, KeyValue
from common.bus.protocol import RecordStore
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.core.events import Event, NodeSeen, NodeVanished
from coordinator.core.fleet import Node
from coordinator.core.scheduler import Decision

noisy = RateLimitedLog(Log(__name__))

AT_A_TIME = 200
"""Records that are written in one round, at most as many at once."""
ROUND_SECONDS = 0.5
"""Between two rounds: a store of one server takes some 3,600 writes a second."""
AGAIN_SECONDS = 5.0
"""After a round in which the store refused a record or did not answer."""
MOST_NODES = 100_000
LARGEST_BYTES = 64 * 1024
"""Of one record: no node of Kubernetes has nearly as many labels."""
FORGOTTEN_SECONDS = 86_400
"""How long the tombstone of a forgotten node stays; without it the bucket would only grow."""


class NodeRecord(msgspec.Struct, frozen=True, rename="camel"):
    """One node as it is stored."""

    labels: Annotated[dict[str, str], Meta(max_length=4096)] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeRecord).decode


@dataclass(frozen=True, slots=True)
class _Stored:
    """A live record; ``labels`` is None where it cannot be understood."""

    labels: Mapping[str, str] | None
    revision: int


class NodeRecords:
    """The bucket, and what is known of it."""

    def __init__(
        self, bus: RecordStore, nodes: Mapping[str, Node], on_poison: Callable[[str], None]
    ) -> None:
        """``nodes``: those that are known by now; told ``on_poison`` is each damaged record."""
        self._bucket = KeyValue(bus, subjects.NODES_BUCKET)
        self._nodes = nodes
        self._on_poison = on_poison
        self._stored: dict[str, _Stored] = {}
        self._due: dict[str, None] = {}
        """Nodes of which what is stored may differ from what is known."""
        self._changed = asyncio.Event()

    # ── reading ──

    async def load(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every node that is stored, by name. Raises BusError."""
        self._stored.clear()
        async for entries in self._bucket.entries():
            for entry in entries:
                self._take(entry)
            await asyncio.sleep(0)
        return {n: s.labels for n, s in self._stored.items() if s.labels is not None}

    def _take(self, entry: Entry) -> None:
        name = subjects.parse_node_key(entry.key)
        if name is None:
            self._complain(entry.key, "the key is no node's name")
        elif entry.value is None:
            self._stored.pop(name, None)
        elif name in self._stored or len(self._stored) < MOST_NODES:
            self._stored[name] = _Stored(self._labels_of(entry), entry.revision)

    def _labels_of(self, entry: Entry) -> Mapping[str, str] | None:
        if len(entry.value or b"") > LARGEST_BYTES:
            self._complain(entry.key, "the record is too large")
            return None
        try:
            return _decode(entry.value or b"").labels
        except (*NOT_DECODABLE, RecursionError) as why:
            self._complain(entry.key, str(why))
            return None

    def _complain(self, key: str, why: str) -> None:
        self._on_poison("node")
        noisy.warning("record", "a value among the nodes is none", key=key, why=why)

    # ── writing ──

    def observe(self, event: Event, _decision: Decision) -> None:
        """A node may have changed."""
        if isinstance(event, NodeSeen | NodeVanished):
            self._mark(iter([event.name]))

    def _mark(self, names: Iterator[str]) -> None:
        self._due.update(dict.fromkeys(names))
        self._changed.set()

    async def run(self) -> NoReturn:
        """Bring what is stored to what is known, without end; the leader's work."""
        self._mark(iter([*self._stored, *self._nodes]))
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._due:
                is_done = await self._bring_some()
                await asyncio.sleep(ROUND_SECONDS if is_done else AGAIN_SECONDS)

    async def _bring_some(self) -> bool:
        """One round; False where some of it has to be done again."""
        names = [name for name in islice(self._due, MOST_NODES) if self._differs(name)]
        chosen, rest = names[:AT_A_TIME], names[AT_A_TIME:]
        self._due = dict.fromkeys(rest)
        done = await asyncio.gather(*map(self._bring, chosen))
        again = [name for name, is_done in zip(chosen, done, strict=True) if not is_done]
        self._due.update(dict.fromkeys(again))
        return not again

    def _differs(self, name: str) -> bool:
        node, stored = self._nodes.get(name), self._stored.get(name)
        if node is None:
            # One that cannot be understood is left alone: a newer version may have written it.
            return stored is not None and stored.labels is not None
        return stored is None or stored.labels != node.labels

    async def _bring(self, name: str) -> bool:
        try:
            await self._write(name)
        except BusError as why:
            noisy.warning("write", "a node is not stored yet", node=name, why=str(why))
            return False
        return True

    async def _write(self, name: str) -> None:
        node, stored, key = self._nodes.get(name), self._stored.get(name), subjects.node_key(name)
        try:
            if node is None:
                if stored is not None:
                    await self._bucket.delete(key, stored.revision, ttl=FORGOTTEN_SECONDS)
                    self._stored.pop(name, None)
                return
            value = _encode(NodeRecord(dict(node.labels)))
            if len(value) > LARGEST_BYTES or (stored is None and len(self._stored) >= MOST_NODES):
                noisy.warning("bound", "a node is not stored: too large, or too many", node=name)
                return
            if stored is None:
                revision = await self._bucket.create(key, value)
            else:
                revision = await self._bucket.update(key, value, stored.revision)
            self._stored[name] = _Stored(node.labels, revision)
        except Conflict:
            # Another leader was here, or an answer was lost: what is there now is looked at again.
            entry = await self._bucket.get(key)
            self._stored.pop(name, None)
            if entry is not None:
                self._take(entry)
            self._mark(iter([name]))
