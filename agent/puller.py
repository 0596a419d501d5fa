"""Carries out pulls on the runtime. Whether and when is the ledger's business; how is decided here.

A runtime that is away when a pull begins is waited for a little: a container runtime is restarted
within seconds. One that goes away in the middle ends the pull, and a retry resumes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from agent.events import BytesArrived, DownloadBegan, Event, Forgotten, PullEnded
from agent.image_turns import ImageTurns
from agent.instructions import Forget, Grant, StartPull, StopPull
from agent.runtime.protocol import Bytes, Credentials, PresentImage, PullFailed, Runtime
from common.messages import ImageOutcome, ImageState, within_bytes
from common.reasons import MESSAGE_LIMIT, Reason

PATIENCE = (0.5, 1.0, 2.0, 4.0, 7.5, 15.0)
"""Seconds between the tries to reach a runtime that is away; half a minute in all."""

PullInstruction = StartPull | StopPull | Forget

# What may be an answer to the credentials: registries also hide by "not found" what is not open to
# somebody, and limit some users sooner than others. The kubelet tries the next whatever came; what
# is the node's own fault, or the image's, would only come again.
_ANSWERS = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.IMAGE_NOT_FOUND,
        Reason.RATE_LIMITED,
        Reason.REGISTRY_ERROR,
        Reason.REGISTRY_UNREACHABLE,
        Reason.TLS_ERROR,
        Reason.UNKNOWN,
    }
)


class NodeLogins(NamedTuple):
    """What may open an image's registry."""

    credentials: Sequence[Credentials] = ()
    """The likeliest first."""
    complaint: str = ""
    """Names what is meant for the registry and cannot be used; empty if nothing is."""


class CredentialLookup(Protocol):
    """Finds the credentials of a registry."""

    async def lookup(self, reference: str) -> NodeLogins:
        """Ask for what the node has for an image. Raises PullFailed."""


class GrantOpener(Protocol):
    """Opens what came sealed with the work."""

    def open(self, grant: Grant, reference: str) -> Sequence[Credentials]:
        """List what an image's registry is shown. Raises PullFailed."""


class Puller:
    """Runs one agent's pulls. Each instruction is answered by an event; keep ``run`` running."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        keyring: CredentialLookup,
        opener: GrantOpener,
        emit: Callable[[Event], None],
        turns: ImageTurns | None = None,
    ) -> None:
        self._runtime = runtime
        self._opener = opener
        self._keyring = keyring
        self._emit = emit
        self._turns = turns or ImageTurns()
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
        await self._turns.free(order.reference)
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
        failures: list[PullFailed] = []
        # Opened for as long as the pull takes.
        given = [] if order.grant is None else self._opener.open(order.grant, order.reference)
        image = await self._tried(order, given, failures)
        if image is not None:
            return image
        # Only now: the node's programs may take long, and a task with its own need not wait.
        own = await self._own(order)
        image = await self._tried(order, [*own.credentials, None], failures)
        if image is not None:
            return image
        raise _noted(_telling(failures), own.complaint)

    async def _tried(
        self,
        order: StartPull,
        candidates: Sequence[Credentials | None],
        failures: list[PullFailed],
    ) -> PresentImage | None:
        """Pull with one after the other; None where all were refused, whose failures are added."""
        for credentials in candidates:
            try:
                return await self._runtime.pull(
                    order.reference,
                    credentials,
                    resume_key=order.reference,
                    keep_seconds=order.keep_seconds,
                    on_bytes=partial(self._heard, order.reference),
                )
            except PullFailed as failure:
                failures.append(failure)
                if failure.reason not in _ANSWERS:
                    raise
        return None

    async def _own(self, order: StartPull) -> NodeLogins:
        """What the node has. Raises PullFailed where it is of no use, and there is nothing else."""
        try:
            return await self._keyring.lookup(order.reference)
        except PullFailed as failure:
            if order.grant is None:
                raise
            return NodeLogins(complaint=failure.message)

    def _heard(self, reference: str, value: Bytes) -> None:
        self._emit(BytesArrived(reference, value))


def _telling(failures: Sequence[PullFailed]) -> PullFailed:
    """Choose what is told of several answers, the last of which was to no credentials at all.

    One after which a retry makes sense may be what the right credentials were told. Else the first
    who was let in knows best, or the first of all: the likeliest fit best.
    """
    with_credentials = failures[:-1] or failures
    passing = (failure for failure in failures if failure.reason.retry_makes_sense)
    let_in = (each for each in with_credentials if each.reason is not Reason.UNAUTHORIZED)
    return next(passing, None) or next(let_in, with_credentials[0])


def _noted(failure: PullFailed, complaint: str) -> PullFailed:
    """Add what is wrong with credentials to a failure, which may have to be shortened for it."""
    if not complaint:
        return failure
    note = f" ({complaint[: MESSAGE_LIMIT // 2]})"
    return PullFailed(failure.reason, failure.message[: MESSAGE_LIMIT - len(note)] + note)


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
