"""What outlives the processes of a history: disks, runtimes, and the receiver of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

from agent.runtime.protocol import (
    Credentials,
    OnBytes,
    PresentImage,
    PullFailed,
    RuntimeAway,
    RuntimeFacts,
    StoredImage,
)
from agent.runtime.simulated import SimulatedRuntime
from common.reasons import Reason
from common.subjects import AttemptKey


class Disk:
    """Outcomes of one node's agents, over their restarts (``agent.outbox.OutcomeSpool``)."""

    unreadable: Final[Sequence[tuple[str, str]]] = ()

    def __init__(self) -> None:
        self._kept: dict[AttemptKey, bytes] = {}

    def load(self) -> list[tuple[AttemptKey, bytes]]:
        """What is there, the oldest first."""
        return list(self._kept.items())

    async def write(self, key: AttemptKey, outcome: bytes) -> None:
        """Keep an outcome."""
        await asyncio.sleep(0)
        self._kept[key] = outcome

    async def remove(self, key: AttemptKey) -> None:
        """Drop an outcome."""
        await asyncio.sleep(0)
        self._kept.pop(key, None)


class TroubledRuntime:
    """A simulated runtime that can be slow, fail, stall or be away (``protocol.Runtime``)."""

    driver = "simulated"
    sees_bytes = True
    resumes = True

    def __init__(self, seconds: float, seed: str) -> None:
        self._sound = SimulatedRuntime(seconds=seconds, size=1000, seed=seed)
        self.slow = 0.0
        """Seconds more that each pull takes."""
        self.failure: Reason | None = None
        """Why each pull fails."""
        self._there = asyncio.Event()
        self._there.set()
        self._moving = asyncio.Event()
        self._moving.set()

    def take_away(self, *, away: bool) -> None:
        """Let it answer nothing."""
        (self._there.clear if away else self._there.set)()

    @property
    def present(self) -> frozenset[str]:
        """What is really there."""
        return self._sound.present

    def lose(self, reference: str) -> None:
        """Let an image be gone, as the kubelet's clean-up does."""
        self._sound.remove(reference)

    async def used_images(self) -> frozenset[str]:
        """Say what containers have."""
        if not self._there.is_set():
            raise RuntimeAway("the simulated runtime is away")
        return await self._sound.used_images()

    async def remove_image(self, image_id: str) -> None:
        """Let an image be gone."""
        if not self._there.is_set():
            raise RuntimeAway("the simulated runtime is away")
        await self._sound.remove_image(image_id)

    def stall(self, *, stalled: bool) -> None:
        """Let pulls stand still."""
        (self._moving.clear if stalled else self._moving.set)()

    async def facts(self) -> RuntimeFacts:
        """Say what it is."""
        if not self._there.is_set():
            raise RuntimeAway("the simulated runtime is away")
        return await self._sound.facts()

    async def find(self, reference: str) -> PresentImage | None:
        """Look an image up."""
        self._check()
        return await self._sound.find(reference)

    async def list_images(self) -> Sequence[StoredImage]:
        """List what is there."""
        if not self._there.is_set():
            raise RuntimeAway("the simulated runtime is away")
        return await self._sound.list_images()

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """As the protocol."""
        await self._sound.watch_images(on_change)

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,
        keep_seconds: float,
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Pull, with what is troubling it."""
        self._check()
        await self._moving.wait()
        await asyncio.sleep(self.slow)
        if self.failure is not None:
            raise PullFailed(self.failure, "so it was drawn")
        image = await self._sound.pull(
            reference,
            credentials,
            resume_key=resume_key,
            keep_seconds=keep_seconds,
            on_bytes=on_bytes,
        )
        self._check()
        return image

    def _check(self) -> None:
        if not self._there.is_set():
            raise PullFailed(Reason.RUNTIME_UNAVAILABLE, "the simulated runtime is away")

    async def forget(self, resume_key: str) -> None:
        """As the protocol."""
        await self._sound.forget(resume_key)

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """As the protocol."""
        await self._sound.sweep(keep)

    async def close(self) -> None:
        """As the protocol."""


class _Answer:
    def __init__(self, status: int) -> None:
        self.status = status


class _Request:
    """One try to deliver, as aiohttp has it."""

    def __init__(self, receiver: Receiver, delivery: str) -> None:
        self._receiver = receiver
        self._delivery = delivery

    async def __aenter__(self) -> _Answer:
        await asyncio.sleep(0.01)
        if self._receiver.refuses:
            return _Answer(503)
        self._receiver.on_delivery(self._delivery)
        if self._receiver.answers_to_lose:
            self._receiver.answers_to_lose -= 1
            await asyncio.sleep(10.0)
            raise TimeoutError
        return _Answer(204)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class Receiver:
    """Takes webhooks; in the place of ``aiohttp.ClientSession``."""

    def __init__(self, on_delivery: Callable[[str], None]) -> None:
        """``on_delivery`` is told the id of each delivery that arrives."""
        self.on_delivery = on_delivery
        self.refuses = False
        self.answers_to_lose = 0
        """Of so many of the next deliveries it is never said that they arrived."""

    def post(self, _address: object, *, headers: dict[str, str], **_options: Any) -> _Request:
        """Begin a delivery."""
        return _Request(self, headers["IPS-Delivery"])
