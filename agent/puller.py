"""Carries out pulls on the runtime. Whether and when is the ledger's business; how is decided here.

A runtime that is away when a pull begins is waited for a little: a container runtime is restarted
within seconds. One that goes away in the middle ends the pull, and a retry resumes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from agent.events import BytesArrived, DownloadBegan, Event, Forgotten, PullEnded
from agent.instructions import Forget, StartPull, StopPull
from agent.runtime.protocol import Bytes, Credentials, PresentImage, PullFailed, Runtime
from common.messages import ImageOutcome, ImageState, within_bytes
from common.reasons import Reason

PATIENCE = (0.5, 1.0, 2.0, 4.0, 7.5, 15.0)
"""Seconds between the tries to reach a runtime that is away; half a minute in all."""

PullInstruction = StartPull | StopPull | Forget


class CredentialLookup(Protocol):
    """Finds the credentials of a registry."""

    def lookup(self, reference: str) -> Sequence[Credentials]:
        """List what may open an image's registry, the likeliest first. Raises PullFailed."""


class Puller:
    """Runs one agent's pulls. Each instruction is answered by an event; keep ``run`` running."""

    def __init__(
        self, *, runtime: Runtime, keyring: CredentialLookup, emit: Callable[[Event], None]
    ) -> None:
        self._runtime = runtime
        self._keyring = keyring
        self._emit = emit
        self._instructions: asyncio.Queue[PullInstruction] = asyncio.Queue()
        self._pulls: dict[str, asyncio.Task[ImageOutcome]] = {}

    def execute(self, instruction: PullInstruction) -> None:
        """Have an instruction carried out, after those before it."""
        self._instructions.put_nowait(instruction)

    async def run(self) -> None:
        """Carry out instructions until cancelled, which stops the pulls."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._begin(await self._instructions.get(), tasks)

    def _begin(self, instruction: PullInstruction, tasks: asyncio.TaskGroup) -> None:
        match instruction:
            case StartPull(reference):
                pull = tasks.create_task(self._pull(instruction), name=f"pull {reference}")
                self._pulls[reference] = pull
                pull.add_done_callback(partial(self._ended, reference))
            case StopPull(reference):
                if stopped := self._pulls.get(reference):
                    stopped.cancel()
            case Forget(reference):
                tasks.create_task(self._forget(reference), name=f"forget {reference}")

    def _ended(self, reference: str, pull: asyncio.Task[ImageOutcome]) -> None:
        """Report an end. A callback, since a task that is stopped at once never runs at all."""
        del self._pulls[reference]
        if pull.cancelled():
            self._emit(PullEnded(ImageOutcome(image=reference, state=ImageState.CANCELLED)))
        elif pull.exception() is None:
            self._emit(PullEnded(pull.result()))

    async def _forget(self, reference: str) -> None:
        await self._runtime.forget(reference)
        self._emit(Forgotten(reference))

    # ── one pull ──

    async def _pull(self, order: StartPull) -> ImageOutcome:
        """Have the image on the node; how that ended."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            found = await self._find(order.reference)
            if found is not None and not order.always:
                return _success(order.reference, ImageState.PRESENT, found)
            began = clock()
            self._emit(DownloadBegan(order.reference, self._runtime.sees_bytes))
            image = await self._download(order)
        except PullFailed as failure:
            return _failure(order.reference, failure, clock() - began)
        return _success(order.reference, ImageState.PULLED, image, clock() - began)

    async def _find(self, reference: str) -> PresentImage | None:
        """Look the image up, and wait for the runtime if it is away."""
        pauses = iter(PATIENCE)
        while True:
            try:
                return await self._runtime.find(reference)
            except PullFailed as failure:
                pause = next(pauses, None)
                if failure.reason is not Reason.RUNTIME_UNAVAILABLE or pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _download(self, order: StartPull) -> PresentImage:
        """Pull with each of the credentials that may fit, at last with none."""
        refusal: PullFailed | None = None
        for credentials in [*self._keyring.lookup(order.reference), None]:
            try:
                return await self._runtime.pull(
                    order.reference,
                    credentials,
                    resume_key=order.reference,
                    keep_seconds=order.keep_seconds,
                    on_bytes=partial(self._heard, order.reference),
                )
            except PullFailed as failure:
                if failure.reason is not Reason.UNAUTHORIZED:
                    raise
                # The first credentials fit best, and so does what is said about them.
                refusal = refusal or failure
        assert refusal is not None  # noqa: S101 -- the last try was without credentials
        raise refusal

    def _heard(self, reference: str, value: Bytes) -> None:
        self._emit(BytesArrived(reference, value))


def _success(
    reference: str, state: ImageState, image: PresentImage, seconds: float | None = None
) -> ImageOutcome:
    return ImageOutcome(
        image=reference,
        state=state,
        digest=image.digest,
        bytes=within_bytes(image.size),
        seconds=None if seconds is None else round(seconds, 3),
    )


def _failure(reference: str, failure: PullFailed, seconds: float) -> ImageOutcome:
    return ImageOutcome(
        image=reference,
        state=ImageState.FAILED,
        seconds=round(seconds, 3),
        reason=failure.reason,
        message=failure.message,
    )
