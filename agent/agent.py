"""One agent: feeds the ledger with events and carries out the instructions that it gives.

Everything that it uses is handed in, without globals, so that a thousand agents fit into one
process and may share a bus connection, a metrics registry, or nothing at all; with a clock and a
random source handed in too, they do the same in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from typing import Protocol

from agent.bus import AgentBus
from agent.events import Event, OutcomeFound, PullEnded, ShutdownRequested, TimePassed
from agent.heartbeat import Heartbeats
from agent.image_turns import ImageTurns
from agent.inbox import Inbox
from agent.instructions import (
    Announce,
    Deliver,
    Discard,
    Forget,
    Instruction,
    SendReply,
    StartPull,
    StopPull,
    WakeAt,
)
from agent.inventory import InventoryReporter
from agent.ledger import Ledger
from agent.notices import Notice, Observer, SweepPostponed
from agent.outbox import LONGEST_PAUSE, Outbox, OutcomeSpool
from agent.outcome_requests import OutcomeRequests
from agent.progress import ProgressReporter
from agent.puller import CredentialLookup, Puller
from agent.runtime.protocol import Runtime, RuntimeAway
from agent.settings import AgentSettings
from agent.unsealing import KEY_BYTES, Unsealer
from common.backoff import Backoff
from common.reasons import Reason
from common.subjects import AgentAddress

SWEEP_AFTER_SECONDS = 600.0
"""How long what a former run left half pulled waits for somebody to want it again."""
LAST_OUTCOMES_SECONDS = 5.0
"""How long a stop waits for outcomes to be stored. What is left is sent by the next run."""
WAKE_MARGIN = 0.001
"""Seconds by which an alarm is late: an alarm that is early by a rounding error is set again at
once, for ever where time stands still meanwhile."""


class CredentialFile(CredentialLookup, Protocol):
    """Credentials that may change at any time."""

    @property
    def changes(self) -> int:
        """How often they were others than before."""


class Agent:
    """One run of an agent on one node. Keep ``run`` running; before its end, ``shut_down``.

    ``clock``: seconds that never go back, at the pace of the event loop; the loop's own if None.
    ``rng`` draws the instance, its key for credentials and all jitter; the system's if None.
    """

    def __init__(
        self,
        *,
        settings: AgentSettings,
        bus: AgentBus,
        runtime: Runtime,
        keyring: CredentialFile,
        spool: OutcomeSpool | None = None,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] | None = None,
        rng: Random | None = None,
    ) -> None:
        rng = rng or SystemRandom()
        self.address = AgentAddress(settings.node_name, f"{rng.getrandbits(64):016x}")
        unsealer, self._clock = Unsealer(rng.randbytes(KEY_BYTES)), clock or _loop_time
        self._runtime = runtime
        self._observers, self._events = tuple(observers), asyncio.Queue[Event]()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopped = asyncio.Event()
        self._ledger = Ledger(
            node=self.address.node,
            instance=self.address.instance,
            parallel=settings.parallel_pulls,
            stall_seconds=settings.stall_seconds,
        )
        turns = ImageTurns()
        self._puller = Puller(
            runtime=runtime, keyring=keyring, opener=unsealer, emit=self.post, turns=turns
        )
        self._requests = OutcomeRequests(bus, self.address)
        backoff = Backoff(LONGEST_PAUSE, rng)
        self._outbox = Outbox(
            store=self._requests, spool=spool, backoff=backoff, emit=self.post, notify=self._notify
        )
        self._inbox = Inbox(bus=bus, address=self.address, emit=self.post, notify=self._notify)
        self._progress = ProgressReporter(publisher=bus, ledger=self._ledger, address=self.address)
        self._inventory = InventoryReporter(
            bus=bus,
            runtime=runtime,
            address=self.address,
            notify=self._notify,
            turns=turns,
            is_pulled=self._ledger.is_pulled,
            disk=lambda: self._heartbeats.image_disk,
            pin_percent=settings.pin_disk_percent,
        )
        self._heartbeats = Heartbeats(
            publisher=bus,
            runtime=runtime,
            ledger=self._ledger,
            address=self.address,
            labels=settings.node_labels,
            interval=settings.heartbeat_seconds,
            inventory=lambda: self._inventory.state,
            notify=self._notify,
            clock=self._clock,
            rng=rng,
            public_key=unsealer.public_key,
            credential_changes=lambda: keyring.changes,
        )

    @property
    def why_no_runtime(self) -> str:
        """Why no image can be pulled; empty while the container runtime answers."""
        return self._heartbeats.why_no_runtime

    def post(self, event: Event) -> None:
        """Have an event handled, after those before it."""
        self._events.put_nowait(event)

    def reconnected(self) -> None:
        """The bus is connected again: who listens there may know nothing of this agent."""
        self._heartbeats.announce()
        self._progress.repeat()

    async def run(self) -> None:
        """Work until cancelled."""
        for key in self._outbox.recover():
            self.post(OutcomeFound(key))
        await self._inbox.open()
        await self._inventory.open()
        try:
            async with asyncio.TaskGroup() as jobs:
                jobs.create_task(self._handle_events(), name="ledger")
                jobs.create_task(self._puller.run(), name="puller")
                jobs.create_task(self._outbox.run(), name="outbox")
                jobs.create_task(self._progress.run(), name="progress")
                jobs.create_task(self._heartbeats.run(), name="heartbeat")
                jobs.create_task(self._inventory.run(), name="inventory")
                jobs.create_task(self._sweep(), name="sweep")
        finally:
            self._inbox.close()
            self._inventory.close()
            self._requests.close()

    async def shut_down(self, within: float) -> None:
        """Stop the pulls, send what is done, and say that the agent leaves.

        Takes so many seconds at most.
        """
        self.post(ShutdownRequested())
        with suppress(TimeoutError):
            async with asyncio.timeout(min(within, LAST_OUTCOMES_SECONDS)):
                await self._stopped.wait()
                await self._outbox.emptied()
        self._heartbeats.leave()

    def _notify(self, notice: Notice) -> None:
        for observer in self._observers:
            observer.noticed(notice)

    # ── events in, instructions out ──

    async def _handle_events(self) -> None:
        while True:
            event = await self._events.get()
            instructions = self._ledger.handle(event, self._clock())
            for observer in self._observers:
                observer.handled(event, instructions)
            for instruction in instructions:
                self._execute(instruction)
            self._follow_up(event)

    def _follow_up(self, event: Event) -> None:
        self._progress.mark_changed()
        if isinstance(event, PullEnded):
            self._inventory.look_soon()
        match event:
            case PullEnded(outcome) if outcome.reason is Reason.RUNTIME_UNAVAILABLE:
                self._heartbeats.recheck_runtime()
            case ShutdownRequested():
                self._stopped.set()

    def _execute(self, instruction: Instruction) -> None:
        match instruction:
            case StartPull() | StopPull() | Forget():
                self._puller.execute(instruction)
            case Deliver(key, outcome):
                self._outbox.deliver(key, outcome)
            case Discard(key):
                self._outbox.discard(key)
            case SendReply(to, reply):
                self._inbox.reply(to, reply)
            case Announce():
                self._heartbeats.announce()
                self._progress.repeat()
            case WakeAt(time):
                self._wake_at(time)

    def _wake_at(self, time: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        delay = max(0.0, time - self._clock()) + WAKE_MARGIN
        self._alarm = asyncio.get_running_loop().call_later(delay, self.post, TimePassed())

    async def _sweep(self) -> None:
        """Drop what a former run left half pulled and nobody has wanted since."""
        while True:
            await asyncio.sleep(SWEEP_AFTER_SECONDS)
            try:
                await self._runtime.sweep(self._ledger.claims)
            except RuntimeAway as error:
                self._notify(SweepPostponed(str(error)))
            else:
                return


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
