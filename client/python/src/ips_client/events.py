"""Following events: where a stream goes on after it broke off, and what its frames mean."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ips_client import answers, requests
from ips_client.answers import Answer
from ips_client.decoding import decode
from ips_client.documents import Event, LiveAgents, LiveNodes, Reset
from ips_client.errors import Unavailable, UnexpectedAnswer
from ips_client.retrying import Retries, unreachable
from ips_client.server import Session
from ips_client.sse import Frame, Parser
from ips_client.talk import Emit, LinkFailure, Silence, Stream, Talk, open_stream, read

SILENCE_SECONDS: Final = 45.0
"""A stream without a byte for so long is dead: the service comments every 5 s."""
RESET: Final = "reset"
NODES: Final = "nodes"
AGENTS: Final = "agents"
FINAL_EVENTS: Final = frozenset({"task.completed", "task.failed", "task.cancelled"})


class Subscription:
    """One stream over all its connections: resumes after the last position."""

    def __init__(
        self,
        task_id: str | None,
        *,
        live: bool,
        after: str | None = None,
        sets: bool = False,
    ) -> None:
        self._task_id = task_id
        self._live = live
        self._sets = sets
        self._parser = Parser(after)
        self._opened_before = False
        self.is_over = False
        """Nothing of the task follows; a stream of all tasks is never over."""
        self.has_gap = False
        """The newest connection could not say where the last one broke off."""

    def open(self, within: float) -> Talk[Stream | None]:
        """Connect; None where nothing is left to come. Raises what an answer stands for."""
        position = self._parser.position
        request = requests.follow_events(
            self._task_id, live=self._live, after=position, sets=self._sets
        )
        answer = yield from open_stream(request, within)
        if isinstance(answer, Answer):
            self._close(answer)
            return None
        # One task's stream begins with its kept events; that of all begins now.
        self.has_gap = self._opened_before and self._task_id is None and position is None
        self._opened_before = True
        self._parser = Parser(position)
        return answer

    def _close(self, answer: Answer) -> None:
        if answer.status != 204:  # noqa: PLR2004 -- the contract's "nothing is left"
            answers.document(answer)
            raise UnexpectedAnswer(f"{answer.url} answered with a document, not with events")
        self.is_over = True

    def frames(self, data: bytes) -> list[Frame]:
        """What these bytes complete."""
        frames = self._parser.feed(data)
        if self._task_id is not None and any(frame.event in FINAL_EVENTS for frame in frames):
            self.is_over = True
        return frames


def follow(
    session: Session, task_id: str | None, *, live: bool, after: str | None, sets: bool = False
) -> Talk[None]:
    """Emit typed events until the task is over, or for ever where all tasks are followed."""
    subscription = Subscription(task_id, live=live, after=after, sets=sets)
    retries = Retries(session.follow_patience)
    while not subscription.is_over:
        yield from _follow(session, subscription, retries)


def _follow(session: Session, subscription: Subscription, retries: Retries) -> Talk[None]:
    """One connection, and a pause where it ends before the task does."""
    try:
        yield from _connection(session, subscription, retries)
    except LinkFailure as failure:
        yield from retries.pause(unreachable(session, failure))
    except Unavailable as error:
        yield from retries.pause(error)


def _connection(session: Session, subscription: Subscription, retries: Retries) -> Talk[None]:
    stream = yield from subscription.open(session.timeout)
    if stream is None:
        return
    try:
        if subscription.has_gap:
            yield Emit(Reset())
        while not subscription.is_over:
            data = yield from read(stream, SILENCE_SECONDS)
            if data is None:
                raise Silence(f"nothing for {SILENCE_SECONDS:g} s")
            if not data:
                raise LinkFailure("the stream ended")
            retries.succeed()
            for frame in subscription.frames(data):
                if (event := typed(frame)) is not None:
                    yield Emit(event)
    finally:
        stream.close()


def typed(frame: Frame) -> Event | LiveNodes | LiveAgents | Reset | None:
    """A frame's meaning; None for a kind that this version does not know."""
    try:
        document = msgspec.json.decode(frame.data)
        shape = _LIVE.get(frame.event)
        if shape is not None:
            return decode(shape, document)
        return _event(frame, document) if isinstance(document.get("data"), dict) else None
    except (ValueError, AttributeError, RecursionError) as why:
        raise UnexpectedAnswer(f"an event {frame.event} is not as agreed: {why}") from None


_LIVE: Final[dict[str, type[LiveNodes | LiveAgents | Reset]]] = {
    RESET: Reset,
    NODES: LiveNodes,
    AGENTS: LiveAgents,
}


_HELD: Final = ("task", "node")
"""Whose events have their data in a field of ``Event``."""


def _event(frame: Frame, document: dict[str, Any]) -> Event:
    kind = frame.event.partition(".")[0]
    held = {kind: document["data"]} if kind in _HELD else {}
    event = decode(Event, {**document, "position": frame.position or "", **held})
    return event.of(document)
