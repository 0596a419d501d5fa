"""Says that this agent lives, what it holds, and what runs on its node.

At the start, every interval, after a reconnection, when the leader asks, and when the agent stops
in order. Nothing is kept for later: while the bus is away there is nobody to speak to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import msgspec

from agent.ledger import Ledger
from agent.metrics import Metrics
from agent.runtime.protocol import Runtime, RuntimeAway, RuntimeFacts
from common import subjects
from common.bus import NotConnected
from common.logs import Log
from common.messages import Heartbeat
from common.subjects import AgentAddress
from common.version import VERSION

log = Log(__name__)

JITTER = 0.2
"""Part of the interval by which heartbeats vary, so that a fleet does not beat as one."""
ANNOUNCE_WITHIN = 0.5
"""Seconds over which a fleet's answers to one question are spread; who asks waits 2 s."""
RUNTIME_SECONDS = 5.0
"""Time for the runtime to say what it is; far less than the silence that counts as absence."""
LOOK_AGAIN_SECONDS = 2.0
"""Time between two looks at a runtime that is away, at most."""


class Speaker(Protocol):
    """What those need of the bus who say something that nobody waits for."""

    def publish(self, subject: str, payload: bytes) -> None:
        """Send now. Raises NotConnected."""


class Heart:
    """One agent's heartbeats; keep ``run`` running."""

    def __init__(
        self,
        *,
        speaker: Speaker,
        runtime: Runtime,
        ledger: Ledger,
        metrics: Metrics,
        address: AgentAddress,
        labels: Mapping[str, str],
        interval: float,
    ) -> None:
        self._speaker = speaker
        self._runtime = runtime
        self._ledger = ledger
        self._metrics = metrics
        self._subject = subjects.heartbeat(*address)
        self._labels = dict(labels)
        self._interval = interval
        self._facts: RuntimeFacts | None = None
        self._why_away = "the container runtime has not answered yet"
        self._said = ""
        self._doubt = asyncio.Event()
        self._spoken = False
        self._left = False

    @property
    def why_no_runtime(self) -> str:
        """Why the runtime is away; empty while it answers."""
        return "" if self._facts is not None else self._why_away

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._look()
            self._beat()
            pause = self._interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
            if self._facts is None:
                pause = min(pause, LOOK_AGAIN_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._doubt.wait()
            self._doubt.clear()

    def announce(self) -> None:
        """Beat within half a second; before the first beat there is nothing to add to it."""
        if self._spoken:
            delay = random.uniform(0, ANNOUNCE_WITHIN)  # noqa: S311 -- no secret
            asyncio.get_running_loop().call_later(delay, self._beat)

    def doubt_runtime(self) -> None:
        """Look at the runtime now: something says that it has gone away."""
        self._doubt.set()

    def leave(self) -> None:
        """Say the last word."""
        self._beat(leaving=True)
        self._left = True

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(RUNTIME_SECONDS):
                self._facts = await self._runtime.facts()
        except RuntimeAway as error:
            self._facts, self._why_away = None, str(error)
        except TimeoutError:
            self._facts = None
            self._why_away = f"the container runtime did not answer for {RUNTIME_SECONDS:g} s"
        self._say_what_changed()
        if self._facts is not None and self._facts.image_disk is not None:
            self._metrics.show_disk(self._facts.image_disk)

    def _say_what_changed(self) -> None:
        """Tell whoever reads the log once: a probe that fails does not show them why."""
        said, self._said = self._said, self.why_no_runtime or "answers"
        if self._said == said:
            return
        if self._facts is None:
            log.warning("the container runtime is away", why=self._why_away)
        else:
            log.info("the container runtime answers", runtime=self._facts.runtime)

    def _beat(self, *, leaving: bool = False) -> None:
        self._spoken = True
        if not self._left:
            with suppress(NotConnected):
                self._speaker.publish(self._subject, msgspec.json.encode(self._words(leaving)))

    def _words(self, leaving: bool) -> Heartbeat:
        facts = self._facts or RuntimeFacts(runtime="", platform="")
        holds = [] if leaving else self._ledger.holds(asyncio.get_running_loop().time())
        return Heartbeat(
            labels=self._labels,
            agent_version=VERSION,
            runtime=facts.runtime,
            driver=self._runtime.driver,
            platform=facts.platform,
            image_disk=facts.image_disk,
            pulling=self._ledger.pulling,
            holds=holds,
            interval=self._interval,
            leaving=leaving,
        )
