"""Sends heartbeats: that this agent lives, what it holds, and what runs on its node.

At the start, every interval, after a reconnection, when the leader asks, and when the agent stops
in order. Nothing is kept for later: without a connection a heartbeat is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from agent.bus import Publisher
from agent.ledger import Ledger
from agent.notices import DiskMeasured, Notice, RuntimeConnected, RuntimeDisconnected
from agent.runtime.protocol import Runtime, RuntimeAway, RuntimeFacts
from common import subjects
from common.bus import NotConnected
from common.inventory import CAN_PIN
from common.messages import (
    MOST_HOLDS,
    MOST_PULLS,
    NAME_LIMIT,
    WHY_LENGTH,
    Heartbeat,
    ImageDisk,
    InventoryState,
    within_bytes,
)
from common.removals import CAN_REMOVE
from common.subjects import MAX_MESSAGE_BYTES, AgentAddress
from common.version import VERSION

JITTER: Final = 0.2
"""Part of the interval by which heartbeats vary, so that a fleet's do not all come at once."""
ANNOUNCE_WITHIN: Final = 0.5
"""Seconds over which a fleet's answers to one question are spread; who asks waits 2 s."""
RUNTIME_SECONDS: Final = 5.0
"""Time for the runtime to say what it is; far less than the silence that counts as absence."""
RECHECK_SECONDS: Final = 2.0
"""Time between two questions to a runtime that is away, at most."""


class Heartbeats:
    """One agent's heartbeats; keep ``run`` running.

    ``interval``: seconds between two of them. ``inventory``: what was last said of images.
    ``clock``: the ledger's, in seconds. ``rng`` draws
    the jitter.
    """

    def __init__(
        self,
        *,
        publisher: Publisher,
        runtime: Runtime,
        ledger: Ledger,
        address: AgentAddress,
        labels: Mapping[str, str],
        interval: float,
        notify: Callable[[Notice], None],
        clock: Callable[[], float],
        rng: Random,
        public_key: str = "",
        inventory: Callable[[], InventoryState | None] = lambda: None,
        credential_changes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._publisher = publisher
        self._runtime = runtime
        self._ledger = ledger
        self._subject = subjects.heartbeat(*address)
        self._labels = dict(labels)
        self._interval = interval
        self._notify = notify
        self._clock = clock
        self._rng = rng
        self._inventory = inventory
        self._credential_changes = credential_changes
        self._public_key = public_key
        self._facts: RuntimeFacts | None = None
        self._why_away = "the container runtime has not answered yet"
        self._noticed: Notice | None = None
        self._recheck = asyncio.Event()
        self._begun = False
        self._left = False

    @property
    def why_no_runtime(self) -> str:
        """Why the runtime is away; empty while it answers."""
        return "" if self._facts is not None else self._why_away

    @property
    def image_disk(self) -> ImageDisk | None:
        """The image disk as the runtime last showed it; None where it did not."""
        return None if self._facts is None else bounded(self._facts.image_disk)

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await self._check_runtime()
            self._send()
            pause = self._interval * self._rng.uniform(1 - JITTER, 1 + JITTER)
            if self._facts is None:
                pause = min(pause, RECHECK_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._recheck.wait()
            self._recheck.clear()

    def announce(self) -> None:
        """Send one within half a second; the first one is sent without being asked for."""
        if self._begun:
            delay = self._rng.uniform(0, ANNOUNCE_WITHIN)
            asyncio.get_running_loop().call_later(delay, self._send)

    def recheck_runtime(self) -> None:
        """Ask the runtime now: something says that it has gone away."""
        self._recheck.set()

    def leave(self) -> None:
        """Send the last one, which says that the agent ends."""
        self._send(leaving=True)
        self._left = True

    async def _check_runtime(self) -> None:
        try:
            async with asyncio.timeout(RUNTIME_SECONDS):
                self._facts = await self._runtime.facts()
        except RuntimeAway as error:
            self._facts, self._why_away = None, str(error)
        except TimeoutError:
            self._facts = None
            self._why_away = f"the container runtime did not answer for {RUNTIME_SECONDS:g} s"
        self._notify_changes()

    def _notify_changes(self) -> None:
        """Say once that the runtime is there or not: a probe that fails shows nobody why."""
        facts = self._facts
        disk = None if facts is None else bounded(facts.image_disk)
        notice: Notice
        if facts is None:
            notice = RuntimeDisconnected(self._why_away)
        else:
            notice = RuntimeConnected(facts.runtime)
        if notice != self._noticed:
            self._noticed = notice
            self._notify(notice)
        if disk is not None:
            self._notify(DiskMeasured(disk))

    def _send(self, *, leaving: bool = False) -> None:
        self._begun = True
        if not self._left:
            with suppress(NotConnected):
                self._publisher.publish(self._subject, fitting(self._message(leaving)))

    def _message(self, leaving: bool) -> Heartbeat:
        facts = self._facts or RuntimeFacts(runtime="", platform="")
        holds = [] if leaving else self._ledger.holds(self._clock())
        return Heartbeat(
            labels=self._labels,
            agent_version=VERSION,
            runtime=facts.runtime[:NAME_LIMIT],
            why_no_runtime=self.why_no_runtime[:WHY_LENGTH],
            driver=self._runtime.driver,
            platform=facts.platform[:NAME_LIMIT],
            image_disk=bounded(facts.image_disk),
            pulling=self._ledger.pulling[:MOST_PULLS],
            holds=holds[:MOST_HOLDS],
            interval=self._interval,
            leaving=leaving,
            public_key=self._public_key,
            inventory=self._inventory(),
            credential_changes=self._credential_changes(),
            abilities=[CAN_REMOVE, *([CAN_PIN] if self._runtime.pins else [])],
        )


def bounded(disk: ImageDisk | None) -> ImageDisk | None:
    """What a runtime says of its disk; nothing where that is no size of a disk."""
    if disk is None or None in {within_bytes(disk.free_bytes), within_bytes(disk.total_bytes)}:
        return None
    return disk


def fitting(heartbeat: Heartbeat) -> bytes:
    """A heartbeat that the bus carries: what is held must be said, what is pulled may be left out.

    The bounds of labels and holds keep the rest of it below the limit.
    """
    payload = msgspec.json.encode(heartbeat)
    if len(payload) <= MAX_MESSAGE_BYTES:
        return payload
    return msgspec.json.encode(replace(heartbeat, pulling=[]))
