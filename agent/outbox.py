"""Delivers outcomes: to the disk first, then to the store, until each is stored.

Two jobs, so that what comes while the store is away is safe on disk at once. One sender keeps the
order. An outcome whose attempt is decided already is dropped, for the first one counts; and so is
one that is refused for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from agent.events import OutcomeSettled
from agent.notices import (
    AlreadyDecided,
    Notice,
    OutcomeCut,
    OutcomeRefused,
    OutcomeSetAside,
    OutcomeUnreadable,
    SpoolRefused,
    SpoolUnreadable,
    StoreFailed,
)
from common.backoff import Backoff
from common.bus import BusError
from common.messages import (
    MOST_OUTCOME_BYTES,
    ImageOutcome,
    Outcome,
    OutcomeAnswer,
    OutcomeResult,
)
from common.reasons import Reason, clip
from common.subjects import AttemptKey

LONGEST_PAUSE = 10.0
"""Seconds, at most, between two tries to store an outcome."""
SHORT_MESSAGE = 80
"""Characters of an image's message in an outcome that would be too large otherwise."""


def fitting(outcome: Outcome) -> tuple[bytes, bool]:
    """An outcome as a request can hold it, and whether it was cut for that.

    What is cut are words, at last sizes and digests too: every image keeps its state and reason.
    """
    payload = msgspec.json.encode(outcome)
    if len(payload) <= MOST_OUTCOME_BYTES:
        return payload, False
    for cut in (_with_short_messages, _without_messages, _with_states_alone):
        payload = msgspec.json.encode(cut(outcome))
        if len(payload) <= MOST_OUTCOME_BYTES:
            return payload, True
    # No assignment that came in a message names so much; a retry finds what is there.
    lost = Outcome(seconds=outcome.seconds, instance=outcome.instance, reason=Reason.UNKNOWN)
    return msgspec.json.encode(replace(lost, message="The outcome is too large to be sent.")), True


def _with_short_messages(outcome: Outcome) -> Outcome:
    images = [
        replace(
            image,
            message=None if image.message is None else image.message[:SHORT_MESSAGE],
            message_code="",
            message_params={},
        )
        for image in outcome.images
    ]
    return replace(outcome, images=images)


def _without_messages(outcome: Outcome) -> Outcome:
    images = [
        replace(image, message=None, message_code="", message_params={}) for image in outcome.images
    ]
    return replace(outcome, images=images)


def _with_states_alone(outcome: Outcome) -> Outcome:
    images = [
        ImageOutcome(image=image.image, state=image.state, reason=image.reason)
        for image in outcome.images
    ]
    return replace(outcome, images=images)


class OutcomeStore(Protocol):
    """Keeps one outcome for each attempt; the first one that is written stays."""

    async def wait_connected(self) -> None:
        """Return as soon as there is a connection."""

    async def store(self, key: AttemptKey, outcome: bytes) -> OutcomeAnswer:
        """Have an encoded outcome stored: the answer, unless it is to be asked for again.

        Raises BusError where it is, and ValueError for one that is too large for a message.
        """


class OutcomeSpool(Protocol):
    """Keeps encoded outcomes where the next run finds them. All methods raise OSError."""

    def load(self) -> list[tuple[AttemptKey, bytes]]:
        """Read what a former run has left, the oldest first; may block."""

    @property
    def unreadable(self) -> Sequence[tuple[str, str]]:
        """Names of what ``load`` has set aside because it is no outcome, and why."""

    async def write(self, key: AttemptKey, outcome: bytes) -> None:
        """Keep an outcome; it is safe once this returns."""

    async def remove(self, key: AttemptKey) -> None:
        """Drop an outcome; nothing happens where there is none."""


class Outbox:
    """The outcomes of one agent that are not known to be stored; keep ``run`` running.

    Without a spool they live in memory only, as they do where the disk refuses them. ``backoff``
    says how long to wait after a try to store that failed.
    """

    def __init__(
        self,
        *,
        store: OutcomeStore,
        spool: OutcomeSpool | None,
        backoff: Backoff,
        emit: Callable[[OutcomeSettled], None],
        notify: Callable[[Notice], None],
    ) -> None:
        self._store = store
        self._spool = spool
        self._backoff = backoff
        self._emit = emit
        self._notify = notify
        self._payloads: dict[AttemptKey, bytes] = {}
        self._to_spool: asyncio.Queue[AttemptKey] = asyncio.Queue()
        self._to_store: asyncio.Queue[AttemptKey] = asyncio.Queue()
        self._empty = asyncio.Event()
        self._empty.set()

    def recover(self) -> list[AttemptKey]:
        """Take in what a former run has left on the disk; blocks. They are sent first."""
        try:
            found = self._spool.load() if self._spool is not None else []
        except OSError as error:
            self._notify(SpoolUnreadable(str(error)))
            return []
        for file, why in self._spool.unreadable if self._spool is not None else ():
            self._notify(OutcomeUnreadable(file, why))
        for key, payload in found:
            self._add(key, payload)
            self._to_store.put_nowait(key)
        return [key for key, _ in found]

    def deliver(self, key: AttemptKey, outcome: Outcome) -> None:
        """Keep an outcome until it is stored, and then emit OutcomeSettled."""
        payload, is_cut = fitting(outcome)
        if is_cut:
            self._notify(OutcomeCut(key))
        self._add(key, payload)
        self._to_spool.put_nowait(key)

    def discard(self, key: AttemptKey) -> None:
        """Stop delivering an outcome."""
        if self._payloads.pop(key, None) is not None:
            self._to_spool.put_nowait(key)
        if not self._payloads:
            self._empty.set()

    async def emptied(self) -> None:
        """Return as soon as everything is stored."""
        await self._empty.wait()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self._spool_changes(), name="spool outcomes")
            jobs.create_task(self._store_outcomes(), name="store outcomes")

    def _add(self, key: AttemptKey, payload: bytes) -> None:
        self._payloads[key] = payload
        self._empty.clear()

    # ── the disk ──

    async def _spool_changes(self) -> None:
        """Bring the spool in line with what is to be delivered, one change after another."""
        while True:
            key = await self._to_spool.get()
            payload = self._payloads.get(key)
            if self._spool is not None:
                await self._change_spool(self._spool, key, payload)
            if payload is not None:
                self._to_store.put_nowait(key)

    async def _change_spool(
        self, spool: OutcomeSpool, key: AttemptKey, payload: bytes | None
    ) -> None:
        try:
            if payload is None:
                await spool.remove(key)
            else:
                await spool.write(key, payload)
        except OSError as error:
            self._notify(SpoolRefused(key, str(error)))

    # ── the store ──

    async def _store_outcomes(self) -> None:
        while True:
            key = await self._to_store.get()
            await self._until_stored(key)
            if key in self._payloads:
                self._emit(OutcomeSettled(key))
                self.discard(key)

    async def _until_stored(self, key: AttemptKey) -> None:
        """Return once the attempt is decided, or its outcome is not wanted any more."""
        while (payload := self._payloads.get(key)) is not None:
            try:
                await self._store.wait_connected()
                answer = await self._store.store(key, payload)
            except BusError as error:
                self._notify(StoreFailed(key, str(error)))
            except ValueError as error:  # too large for the bus, which no time can change
                self._notify(OutcomeSetAside(key, str(error)))
                break
            else:
                self._note(key, answer)
                break
            await asyncio.sleep(self._backoff.next())
        self._backoff.reset()

    def _note(self, key: AttemptKey, answer: OutcomeAnswer) -> None:
        if answer.result is OutcomeResult.DECIDED:
            self._notify(AlreadyDecided(key))
        elif answer.result is OutcomeResult.REFUSED:
            self._notify(OutcomeRefused(key, clip(answer.message)))
