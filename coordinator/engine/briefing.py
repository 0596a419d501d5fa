"""What the leader tells those who follow: attempts in flight, and why tasks wait.

None of it is stored, and followers could learn most of it from agents alone, but later: so the same
question gets the same answer from every coordinator. Messages are numbered within an epoch. Who has
missed one asks for everything again; who has missed none when the leader stops in order knows all
that it knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NoReturn, Protocol, TypeVar

import msgspec

from common import subjects
from common.bus import NotConnected, Received
from common.logs import Log
from common.messages import MOST_ENTRIES, Briefing, Flight, Waiting
from common.subjects import AttemptKey
from common.text import Text, fields_of, text_of
from coordinator.core.attempts import Attempt
from coordinator.core.changes import AttemptDecided, NodeMoved, TaskBegan, TaskOver
from coordinator.core.commands import Assign
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    AttemptTold,
    Event,
)
from coordinator.core.node_run import IN_FLIGHT
from coordinator.core.queue import Pending
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Decision

log = Log(__name__)

GATHER_SECONDS: Final = 0.05
"""Answers of agents are told together; an assignment is told before it leaves."""
LOOK_SECONDS: Final = 0.4
"""Between two looks at why tasks wait. By time: places, agents that fall silent, the nodes' source
and the clock all have a part in it, and no event tells of each."""
IDLE_SECONDS: Final = 0.6
"""The same, where nothing waits or runs; a task that comes is told of within a second even so."""
SILENT_SECONDS: Final = 1.0
"""After so long without a word the leader says that there is nothing: a gap is to be noticed."""
ASK_AGAIN_SECONDS: Final = 1.0
MOST_EARLY: Final = 100_000
"""Attempts that are kept whose task, or whose former attempt's outcome, is not known here yet."""


_Entry = TypeVar("_Entry")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Briefing).decode


class Says(Protocol):
    """What is needed of the bus."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""


class BriefedOf(Protocol):
    """What is needed of the core."""

    @property
    def runs(self) -> Mapping[str, TaskRun]:
        """The running tasks."""

    @property
    def waiting(self) -> Mapping[str, Pending]:
        """The pending tasks."""

    @property
    def leads(self) -> bool:
        """Whether it decides."""

    @property
    def is_behind(self) -> bool:
        """Whether more is told than can be so before more of the store is read."""

    @property
    def in_flight(self) -> Mapping[tuple[str, str], Attempt]:
        """Every attempt in flight, by its task and node."""


BRIEFED: Final = (
    *(AssignmentAccepted, AssignmentRefused, AssignmentUnanswered),
    *(NodeMoved, Assign),
)
"""What of the core's loop is told to those who follow."""
Why = Callable[[str], Text | None]
"""From a task to why it does not go on."""


class Briefer:
    """The leader's side. ``observe`` is for the loop; keep ``run`` running."""

    def __init__(self, bus: Says, core: BriefedOf, why: Why, epoch: int) -> None:
        self._bus = bus
        self._core = core
        self._why = why
        self._epoch = epoch
        self._number = 0
        self._moved: dict[tuple[str, str], None] = {}
        """Attempts of which something is new, to be told together."""
        self._told: dict[str, Text | None] = {}
        """Why each task waits, as it was told last."""
        self._wanted = True
        """Whether everything is to be told (again)."""
        self._said_at = 0.0
        self._ended = False
        self._news = asyncio.Event()
        self._news.set()

    def wanted(self, _: Received) -> None:
        """Somebody has missed something."""
        self._wanted = True
        self._news.set()

    def observe(self, event: Event, decision: Decision) -> None:
        """Note what is to be told of this."""
        if isinstance(event, AssignmentAccepted | AssignmentRefused | AssignmentUnanswered):
            self._moved[event.key.task, event.key.node] = None
        for change in decision.changes:
            if isinstance(change, NodeMoved):
                self._moved[change.task, change.node] = None
        sent = [command.key for command in decision.commands if isinstance(command, Assign)]
        if sent:  # the commands are carried out after this: those who follow are told before
            self._moved |= {(key.task, key.node): None for key in sent}
            self._tell_moved()
        elif self._moved:
            self._news.set()

    async def run(self) -> NoReturn:
        """Tell what is new, and everything to whoever wants it; without end."""
        looked = 0.0
        loop = asyncio.get_running_loop()
        clock = loop.time
        while True:
            # At the latest when it is time to look at what waits.
            busy = self._core.waiting or self._core.runs
            alarm = loop.call_later(LOOK_SECONDS if busy else IDLE_SECONDS, self._news.set)
            await self._news.wait()
            if (left := alarm.when() - clock()) > 0:
                await asyncio.sleep(min(left, GATHER_SECONDS))
            alarm.cancel()
            self._news.clear()
            if self._ended:
                continue
            self._tell_moved()
            if self._wanted or clock() - looked >= LOOK_SECONDS:
                looked = clock()
                self._tell_waiting()
            if self._wanted:
                self._tell_everything()
            elif clock() - self._said_at >= SILENT_SECONDS:
                self._say()

    def end(self, revision: int) -> None:
        """Say the last word: the lease, which has this revision, is given up behind it."""
        self._tell_moved()
        self._say(last=revision)
        self._ended = True

    # ── what is told ──

    def _tell_moved(self) -> None:
        if self._moved:
            moved, self._moved = self._moved, {}
            for flights in _parts(self._flights(moved)):
                self._say(flights=flights)

    def _flights(self, places: Iterable[tuple[str, str]]) -> Iterator[Flight]:
        for place in places:
            attempt = self._core.in_flight.get(place)
            if attempt is not None and attempt.node.phase in IN_FLIGHT:
                yield Flight(
                    task=attempt.key.task,
                    node=attempt.key.node,
                    attempt=attempt.key.attempt,
                    started_at=attempt.node.started_at or 0,
                    instance=attempt.accepted_by or attempt.sent_to or "",
                    accepted=attempt.accepted_by is not None,
                )

    def _tell_waiting(self) -> None:
        now = {task: self._why(task) for task in (*self._core.waiting, *self._core.runs)}
        new = {task: why for task, why in now.items() if self._told.get(task, why) != why}
        new |= {task: why for task, why in now.items() if task not in self._told}
        self._told = now
        for waiting in _parts(_waiting(new)):
            self._say(waiting=waiting)

    def _tell_everything(self) -> None:
        self._wanted = False
        since = self._number + 1
        for waiting in _parts(_waiting(self._told)):
            self._say(waiting=waiting)
        for flights in _parts(self._flights(tuple(self._core.in_flight))):
            self._say(flights=flights)
        self._say(since=since)

    def _say(
        self,
        *,
        flights: list[Flight] | None = None,
        waiting: list[Waiting] | None = None,
        since: int = 0,
        last: int = 0,
    ) -> None:
        if self._ended:
            return
        self._number += 1
        self._said_at = asyncio.get_running_loop().time()
        briefing = Briefing(
            epoch=self._epoch,
            number=self._number,
            flights=flights or [],
            waiting=waiting or [],
            since=since,
            last=last,
        )
        try:
            self._bus.publish(subjects.BRIEFING, _encode(briefing))
        except NotConnected:
            log.debug("not connected: followers miss something, and ask for it")


def _waiting(tasks: Mapping[str, Text | None]) -> Iterator[Waiting]:
    for task, why in tasks.items():
        yield Waiting(task=task) if why is None else Waiting(task=task, **fields_of(why))


def _parts(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    while part := list(islice(entries, MOST_ENTRIES)):
        yield part


class Briefed:
    """The followers' side: what the leader has said, and whether nothing of it was missed."""

    def __init__(
        self,
        bus: Says,
        core: BriefedOf,
        feed: Callable[[Event], None],
        is_over: Callable[[str], bool],
    ) -> None:
        """``is_over``: whether a task is known to be over, of which the leader may say more."""
        self._bus = bus
        self._core = core
        self._feed = feed
        self._is_over = is_over
        self._epoch = 0
        self._number = 0
        self._unbroken_since = 0
        """The number since which nothing was missed."""
        self._last = 0
        self._waiting: dict[str, Text | None] = {}
        self._early: dict[str, dict[str, Flight]] = {}
        """By task and node: attempts that are ahead of what is known here."""
        self._early_count = 0
        self.is_complete = False
        """Whether everything that the leader has said by now is known."""
        self._asked_at = -ASK_AGAIN_SECONDS

    def succeeds(self, epoch: int) -> bool:
        """Whether who leads with this epoch follows at once one of whom all is known here.

        The last leader's lease was deleted by one write, and taken by the next one.
        """
        has_all = self.is_complete and not self._early_count and not self._core.is_behind
        return has_all and self._last > 0 and epoch == self._last + 2

    def why(self, task: str, otherwise: Why) -> Text | None:
        """Why a task does not go on, in the leader's words where they are known."""
        if self.is_complete and task in self._waiting:
            return self._waiting[task]
        return otherwise(task)

    def ask(self) -> None:
        """Have everything told again, unless that was asked for a moment ago."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < ASK_AGAIN_SECONDS:
            return
        self._asked_at = now
        try:
            self._bus.publish(subjects.BRIEFING_WANTED, b"")
        except NotConnected:
            log.debug("not connected: nobody is asked")

    def on_briefing(self, received: Received) -> None:
        """Take a message in. Raises what decoding does."""
        briefing = _decode(received.data)
        if self._core.leads or briefing.epoch < self._epoch:
            return
        if briefing.epoch > self._epoch:
            self._begin(briefing.epoch)
        if briefing.number != self._number + 1:
            self.is_complete = False
            self._unbroken_since = briefing.number
        self._number = briefing.number
        self._waiting |= {
            each.task: text_of(each.message, each.message_code, each.message_params)
            for each in briefing.waiting
            if not self._is_over(each.task)
        }
        for flight in briefing.flights:
            self._take_in(flight)
        if briefing.since and self._unbroken_since <= briefing.since:
            self.is_complete = True
        self._last = briefing.last
        if not self.is_complete:
            self.ask()

    def _begin(self, epoch: int) -> None:
        self._epoch, self._number, self._unbroken_since = epoch, 0, 1
        self.is_complete = False
        self._waiting.clear()
        self._early.clear()
        self._early_count = 0

    def _take_in(self, flight: Flight) -> None:
        run = self._core.runs.get(flight.task)
        node = None if run is None else run.by_name.get(flight.node)
        if run is not None and (node is None or flight.attempt < node.next_attempt):
            return  # it is decided by now, or nothing of the task's
        if node is None or flight.attempt > node.next_attempt:
            self._keep_early(flight)
            return
        key = AttemptKey(flight.task, flight.node, flight.attempt)
        self._feed(AttemptTold(key, flight.started_at, flight.instance or None, flight.accepted))

    def _keep_early(self, flight: Flight) -> None:
        if self._is_over(flight.task):
            return  # nothing takes it up any more
        of_task = self._early.setdefault(flight.task, {})
        if flight.node not in of_task:
            if self._early_count >= MOST_EARLY:
                self.is_complete = False
                return
            self._early_count += 1
        of_task[flight.node] = flight

    def observe(self, _event: Event, decision: Decision) -> None:
        """Take in what was ahead, as soon as the rest has caught up."""
        for change in decision.changes:
            match change:
                case TaskBegan(head=head) if head.id in self._early:
                    self._catch_up(self._early.pop(head.id))
                case AttemptDecided(task=task, node=node) if task in self._early:
                    flight = self._early[task].pop(node, None)
                    self._catch_up({} if flight is None else {node: flight})
                case TaskOver(head=head):
                    self._waiting.pop(head.id, None)
                    self._early_count -= len(self._early.pop(head.id, {}))
                case _:
                    pass

    def _catch_up(self, flights: Mapping[str, Flight]) -> None:
        self._early_count -= len(flights)
        if not self._core.leads:
            for flight in flights.values():
                self._take_in(flight)
