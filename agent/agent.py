"""One agent: the ledger decides, and everything around it carries out what it wants.

Built from what it stands on, without globals, so that a thousand of them fit into one process and
share a bus connection, a metrics registry, or nothing at all.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from agent.events import Event, OutcomeFound, PullEnded, StopOrdered, TimePassed
from agent.heartbeat import Heart
from agent.inbox import Inbox, Line
from agent.instructions import (
    Announce,
    Answer,
    Deliver,
    Discard,
    Forget,
    Instruction,
    StartPull,
    StopPull,
    WakeAt,
)
from agent.ledger import Ledger
from agent.metrics import Metrics, Observer
from agent.outbox import Outbox, Store
from agent.progress import ProgressReporter
from agent.puller import CredentialLookup, Puller
from agent.runtime.protocol import Runtime, RuntimeAway
from agent.settings import AgentSettings
from agent.spool import Spool
from common.logs import Log
from common.reasons import Reason
from common.subjects import AgentAddress

SWEEP_AFTER_SECONDS = 600.0
"""How long what a former run left half pulled waits for somebody to want it again."""
LAST_OUTCOMES_SECONDS = 5.0
"""How long a stop waits for outcomes to be stored. What is left is sent by the next run."""

log = Log(__name__)

Watcher = Callable[[Event, Sequence[Instruction]], None]
"""Sees every event and what comes of it; must not touch either."""


class Wire(Line, Store, Protocol):
    """Everything that an agent needs of the bus."""


class Agent:
    """One run of an agent on one node. Keep ``run`` running; before its end, ``hand_back``."""

    def __init__(
        self,
        *,
        settings: AgentSettings,
        bus: Wire,
        runtime: Runtime,
        keyring: CredentialLookup,
        metrics: Metrics,
        spool: Spool | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.address = AgentAddress(settings.node_name, secrets.token_hex(8))
        self._runtime = runtime
        self._watchers = [*watchers, Observer(metrics).observe]
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._alarm: asyncio.TimerHandle | None = None
        self._handed_back = asyncio.Event()
        self._ledger = Ledger(
            node=self.address.node,
            instance=self.address.instance,
            parallel=settings.parallel_pulls,
            stall_seconds=settings.stall_seconds,
        )
        self._puller = Puller(runtime=runtime, keyring=keyring, emit=self.tell)
        self._outbox = Outbox(store=bus, spool=spool, metrics=metrics, tell=self.tell)
        self._inbox = Inbox(line=bus, address=self.address, metrics=metrics, tell=self.tell)
        self._reporter = ProgressReporter(publisher=bus, ledger=self._ledger, address=self.address)
        self._heart = Heart(
            speaker=bus,
            runtime=runtime,
            ledger=self._ledger,
            metrics=metrics,
            address=self.address,
            labels=settings.node_labels,
            interval=settings.heartbeat_seconds,
        )

    @property
    def why_no_runtime(self) -> str:
        """Why no image can be pulled; empty while the container runtime answers."""
        return self._heart.why_no_runtime

    def tell(self, event: Event) -> None:
        """Have an event taken in, after those before it."""
        self._events.put_nowait(event)

    def reconnected(self) -> None:
        """The bus is back: who listens there may know nothing of us."""
        self._heart.announce()
        self._reporter.repeat()

    async def run(self) -> None:
        """Work until cancelled."""
        for key in self._outbox.recover():
            self.tell(OutcomeFound(key))
        await self._inbox.open()
        try:
            async with asyncio.TaskGroup() as jobs:
                jobs.create_task(self._decide(), name="ledger")
                jobs.create_task(self._puller.run(), name="puller")
                jobs.create_task(self._outbox.run(), name="outbox")
                jobs.create_task(self._reporter.run(), name="progress")
                jobs.create_task(self._heart.run(), name="heartbeat")
                jobs.create_task(self._sweep(), name="sweep")
        finally:
            self._inbox.close()

    async def hand_back(self, within: float) -> None:
        """Stop the pulls, send what is done, and say good-bye, in at most so many seconds."""
        self.tell(StopOrdered())
        with suppress(TimeoutError):
            async with asyncio.timeout(min(within, LAST_OUTCOMES_SECONDS)):
                await self._handed_back.wait()
                await self._outbox.emptied()
        self._heart.leave()

    # ── the loop of events and instructions ──

    async def _decide(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            event = await self._events.get()
            instructions = self._ledger.handle(event, clock())
            for watch in self._watchers:
                watch(event, instructions)
            for instruction in instructions:
                self._carry_out(instruction)
            self._follow_up(event)

    def _follow_up(self, event: Event) -> None:
        self._reporter.mark_changed()
        match event:
            case PullEnded(outcome) if outcome.reason is Reason.RUNTIME_UNAVAILABLE:
                self._heart.doubt_runtime()
            case StopOrdered():
                self._handed_back.set()

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case StartPull() | StopPull() | Forget():
                self._puller.execute(instruction)
            case Deliver(key, outcome):
                self._outbox.deliver(key, outcome)
            case Discard(key):
                self._outbox.discard(key)
            case Answer(to, reply):
                self._inbox.answer(to, reply)
            case Announce():
                self._heart.announce()
                self._reporter.repeat()
            case WakeAt(time):
                self._wake_at(time)

    def _wake_at(self, time: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(time, self.tell, TimePassed())

    async def _sweep(self) -> None:
        """Drop what a former run left half pulled and nobody has wanted since."""
        while True:
            await asyncio.sleep(SWEEP_AFTER_SECONDS)
            try:
                await self._runtime.sweep(self._ledger.claims)
            except RuntimeAway as error:
                log.info("what is left half pulled cannot be swept yet", why=str(error))
            else:
                return
