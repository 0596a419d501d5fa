"""What the world is told of sets, as CloudEvents: each once, in order, over crashes too.

An event's id says what it is about, and each coordinator would give it the same. A leader that
begins looks at the newest stored event of each kind and set, and publishes what is missing; what
happens meanwhile waits behind that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from typing import Final, NoReturn, Protocol

import msgspec

from common import set_texts, subjects
from common.bus import Record
from common.logs import Log
from common.messages import NOT_DECODABLE
from common.subjects import EventKey
from coordinator.core.changes import AttemptDecided, TaskBegan, TaskOver, TaskQueued
from coordinator.core.run import TaskRun
from coordinator.core.sets.decisions import (
    NodeCooled,
    NodeWarmed,
    SetDecision,
    SetDropped,
    SetPut,
)
from coordinator.core.sets.events import SetEvent
from coordinator.core.sets.head import SetHead
from coordinator.documents import CloudEvent, encode
from coordinator.engine.persistence import Persistently
from coordinator.engine.publisher import Item, Publisher
from coordinator.engine.set_event_ids import (
    CREATED,
    DELETED,
    TOLD,
    UPDATED,
    SpecId,
    put_id,
    turn_id,
)
from coordinator.engine.set_notes import SetNote
from coordinator.engine.sets import SetTable
from coordinator.faults import Faults
from coordinator.set_documents import WarmSet
from coordinator.views.set_events import deleted_event, set_event, set_node_event
from coordinator.views.sets import set_node, warm_set

log = Log(__name__)

OBSERVED: Final = (
    *(SetPut, SetDropped, NodeWarmed, NodeCooled),
    *(TaskQueued, TaskBegan, TaskOver, AttemptDecided),
)
"""Changes that the world is told of, and events that are reason to tell of progress."""
PROGRESS_SECONDS: Final = 1.0
PROGRESS_SHARE: Final = 0.05
"""Of the time, that counting for progress may take."""


class StoredEvents(Protocol):
    """What is needed of the bus; errors as there."""

    def replay(
        self, stream: str, subjects: str, *, last_per_subject: bool
    ) -> AsyncIterator[list[Record]]:
        """The newest record on each subject."""


class _Identified(msgspec.Struct):
    id: str


_decode = msgspec.json.Decoder(_Identified).decode


class SetEvents:
    """Observes the loop of the sets' core while this coordinator leads."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        stored: StoredEvents,
        sets: SetTable,
        runs: Mapping[str, TaskRun],
        source: str,
        epoch: int,
        clock: Callable[[], float],
        persistently: Persistently,
        faults: Faults,
    ) -> None:
        """``source`` is that of the CloudEvents; ``epoch`` makes ids of progress unique."""
        self._publisher = publisher
        self._stored = stored
        self._sets = sets
        self._runs = runs
        self._source = source
        self._epoch = epoch
        self._clock = clock
        self._persistently = persistently
        self._faults = faults
        self._behind: list[Item] | None = []
        """What waits until this leader has caught up; None once it has."""
        self._caught_up: set[str] = set()
        """Ids of the puts that were looked at until then."""
        self._told: dict[str, str] = {}
        """By subject, the id of the newest event that is stored or queued."""
        self._changed: set[str] = set()
        self._is_progress = asyncio.Event()
        """Set once there may be some to tell."""
        self._reported: dict[str, WarmSet] = {}
        """By set, the progress that was told last."""
        self._reports = 0

    # ── what happens ──

    def observe(self, event: SetEvent, decision: SetDecision) -> None:
        """Queue what the world is to be told of this."""
        if (repaired := self._repaired_by(event)) is not None:
            self._mark(repaired)
        for change in decision.changes:
            match change:
                case SetPut():
                    self._tell_of(change.head.name, partial(self._put, change.head))
                case SetDropped():
                    self._tell_of(change.head.name, partial(self._dropped, change.head))
                    self._reported.pop(change.head.name, None)
                case NodeWarmed() | NodeCooled():
                    self._tell_of(change.set, partial(self._moved, change))
                case _:
                    pass

    def _repaired_by(self, event: SetEvent) -> str | None:
        """The set that is repaired by the task that an event is about."""
        if isinstance(event, TaskQueued | TaskBegan | TaskOver):
            return event.head.set
        if isinstance(event, AttemptDecided) and event.task in self._runs:
            return self._runs[event.task].head.set
        return None

    def _tell_of(self, name: str, make: Callable[[], Item | None]) -> None:
        """What fails of one set is missing there, and nowhere else."""
        self._mark(name)
        with self._faults.kept("event", task=subjects.about_set(name)):
            self._tell(make())

    def _mark(self, name: str) -> None:
        self._changed.add(name)
        self._is_progress.set()

    def turned(self, note: SetNote) -> None:
        """Tell what a stored note says, as far as it was not told."""
        self._mark(note.name)
        for item in self._turns(note):
            self._tell(item)

    # ── what happened before ──

    async def catch_up(
        self, notes: Iterable[SetNote], recent: Iterable[NodeWarmed | NodeCooled]
    ) -> None:
        """Tell what the leader before this one did not get to say; then what has waited."""
        moved: defaultdict[str, list[NodeWarmed | NodeCooled]] = defaultdict(list)
        for change in recent:
            moved[change.set].append(change)
        await self._persistently(self._read)
        turned = {note.name: note for note in notes}
        for name in self._sets.names():
            with self._faults.kept("event", task=subjects.about_set(name)):
                await self._tell_missing(name, turned.get(name), moved.get(name, ()))
            await asyncio.sleep(0)
        for end in self._missing_ends():
            with self._faults.kept("event", task=subjects.about_set(end.name)):
                self._queue(self._deleted(end))
        behind, self._behind = self._behind or [], None
        for item in _not_overtaken(behind, self._caught_up):
            self._queue(item)
        self._caught_up.clear()

    async def _read(self) -> None:
        newest = self._stored.replay(
            subjects.EVENTS, subjects.ALL_SET_EVENTS, last_per_subject=True
        )
        async for records in newest:
            for record in records:
                key = subjects.parse_event(record.subject)
                if key is None:
                    continue
                self._publisher.known_end(key.about, record.seq)
                try:
                    self._note_told(record.subject, key, _decode(record.data).id)
                except (*NOT_DECODABLE, ValueError):
                    log.warning("an event in the stream is not ours", subject=record.subject)

    def _note_told(self, subject: str, key: EventKey, event_id: str) -> None:
        """Raises ValueError for an id that nobody here would give an event on this subject."""
        if key.type in {CREATED, UPDATED, DELETED}:
            spec = SpecId.parse(event_id)
            if spec is None or (spec.type, subjects.about_set(spec.name)) != key:
                raise ValueError(event_id)
        self._told[subject] = event_id

    async def _tell_missing(
        self, name: str, note: SetNote | None, moved: Iterable[NodeWarmed | NodeCooled]
    ) -> None:
        head = self._sets.head(name)
        if head is None:
            return
        if not self._is_old(head.updated_at):
            self._caught_up.add(str(put_id(head)))
            self._queue(self._put(head))
        if note is not None and note.created_at == head.created_at:
            for item in self._turns(note):
                self._queue(item)
                await asyncio.sleep(0)
        if moved:
            about = subjects.about_set(name)
            kept = await self._persistently(lambda: self._publisher.kept_ids(about))
            for item in map(self._moved, moved):
                if item is not None and item.id not in kept:
                    self._queue(item)

    def _missing_ends(self) -> list[SpecId]:
        """Of sets that are gone, and of which nobody was told that: each once, as the last put."""
        ending = {item.subject for item in self._behind or ()}
        newest: dict[str, SpecId] = {}
        for event_id in self._told.values():
            spec = SpecId.parse(event_id)
            if spec is not None and self._sets.is_gone(spec.name):
                newest[spec.name] = max(newest.get(spec.name, spec), spec, key=SpecId.moment)
        return [
            put._replace(type=DELETED)
            for name, put in newest.items()
            if put.type != DELETED
            and subjects.event(DELETED, subjects.about_set(name)) not in ending
        ]

    def _is_old(self, time: int) -> bool:
        """Whether an event is so old (milliseconds) that it would be gone from the store by now."""
        return self._clock() - time / 1000 > subjects.EVENTS_MAX_AGE_SECONDS

    # ── events ──

    def _put(self, head: SetHead) -> Item | None:
        put = put_id(head)
        return self._of_set(put.type, head.name, str(put))

    def _dropped(self, head: SetHead) -> Item:
        return self._deleted(SpecId.of(head, DELETED))

    def _deleted(self, end: SpecId) -> Item:
        document = deleted_event(
            end.name,
            set_texts.SET_DELETED(),
            event_id=str(end),
            source=self._source,
            time=self._now(),
        )
        return _item(end.name, DELETED, document)

    def _turns(self, note: SetNote) -> Iterator[Item | None]:
        for condition, event_type in TOLD.items():
            turn = note.turns.get(condition)
            since = None if turn is None else turn.held_since
            if since is not None and not self._is_old(since):
                event_id = turn_id(note, condition, since)
                yield self._of_set(event_type, note.name, event_id, since)

    def _of_set(
        self, event_type: str, name: str, event_id: str, time: int | None = None
    ) -> Item | None:
        """An event with the set as it is now; None where it is gone."""
        if self._told.get(subjects.event(event_type, subjects.about_set(name))) == event_id:
            return None
        shot = self._sets.snapshot(name)
        if shot is None:
            return None
        document = set_event(
            event_type,
            event_id=event_id,
            source=self._source,
            time=self._now() if time is None else time,
            data=warm_set(shot),
        )
        return _item(name, event_type, document)

    def _moved(self, change: NodeWarmed | NodeCooled) -> Item | None:
        shot = self._sets.node(change.set, change.node)
        if shot is None:
            return None
        event_type = "set.node.warm" if isinstance(change, NodeWarmed) else "set.node.cold"
        document = set_node_event(
            event_type,
            event_id=f"{subjects.about_set(change.set)}/{change.seen_in}/{event_type}/{change.node}",
            source=self._source,
            time=self._now(),
            name=change.set,
            data=set_node(shot),
        )
        return _item(change.set, event_type, document)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    # ── progress ──

    async def report_progress(self) -> NoReturn:
        """Tell how far each set is that has changed, at most once a second; without end.

        Less often where that would take more than a small share of the time: a count goes through
        all nodes that are cold.
        """
        loop, spent = asyncio.get_running_loop(), 0.0
        while True:
            await self._is_progress.wait()
            self._is_progress.clear()
            await asyncio.sleep(max(PROGRESS_SECONDS, spent / PROGRESS_SHARE))
            changed, self._changed = self._changed, set()
            spent = 0.0
            for name in sorted(changed):
                await asyncio.sleep(0)
                began = loop.time()
                about = subjects.about_set(name)
                if self._behind is not None or self._publisher.progress_waits(about):
                    self._mark(name)
                else:
                    with self._faults.kept("event", task=about):
                        self._report(name)
                spent += loop.time() - began

    def _report(self, name: str) -> None:
        shot = self._sets.snapshot(name)
        if shot is None:
            return
        data = warm_set(shot)
        before = self._reported.get(name)
        if before is not None and (before.nodes, before.reasons) == (data.nodes, data.reasons):
            return
        self._reported[name] = data
        self._reports += 1
        document = set_event(
            "set.progress",
            event_id=f"{subjects.about_set(name)}/{self._epoch}.{self._reports}/set.progress",
            source=self._source,
            time=self._now(),
            data=data,
        )
        self._tell(_item(name, "set.progress", document, is_progress=True))

    # ── on their way ──

    def _tell(self, item: Item | None) -> None:
        """Publish; as long as this leader catches up, behind that."""
        if item is not None and self._behind is not None:
            self._behind.append(item)
        else:
            self._queue(item)

    def _queue(self, item: Item | None) -> None:
        if item is None or self._told.get(item.subject) == item.id:
            return
        self._told[item.subject] = item.id
        if len(item.payload) > subjects.MAX_MESSAGE_BYTES:
            log.error("an event is too large to be told", id=item.id, bytes=len(item.payload))
            return
        self._publisher.put(item)


def _not_overtaken(behind: Sequence[Item], caught_up: Container[str]) -> Iterator[Item]:
    """What has waited, without puts and ends of sets before a put that was told already."""
    last = {item.about: place for place, item in enumerate(behind) if item.id in caught_up}
    for place, item in enumerate(behind):
        if place > last.get(item.about, -1) or SpecId.parse(item.id) is None:
            yield item


def _item(name: str, event_type: str, document: CloudEvent, *, is_progress: bool = False) -> Item:
    about = subjects.about_set(name)
    subject = subjects.event(event_type, about)
    return Item(about, subject, document.id, encode(document), is_progress=is_progress)
