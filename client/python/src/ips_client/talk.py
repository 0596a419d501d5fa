"""The conversation: instructions that the core gives, and what a transport must do about each.

The core is written as generators. Each yields an instruction and is sent the answer; what goes
wrong on the way is thrown in. Who runs them (``client``, ``async_client``) decides nothing, and
nothing in the core touches a socket or a clock.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from ips_client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from ips_client.answers import Answer
    from ips_client.requests import Request

T = TypeVar("T")


class Stream(Protocol):
    """An open event stream; only the transport that opened it knows what it is."""

    def close(self) -> None:
        """Hang up, at once and without an answer: this works where a conversation is broken off."""


class Send(NamedTuple):
    """Send a request; answered by the whole ``Answer``.

    The server may stay silent for at most ``within`` seconds.
    """

    request: Request
    within: float


class Open(NamedTuple):
    """Send a request for events; answered by a ``Stream``, or by an ``Answer`` that is none."""

    request: Request
    within: float


class Read(NamedTuple):
    """Answered by what has come, ``b""`` at the end, None where nothing comes within so long."""

    stream: Stream
    within: float


class Pause(NamedTuple):
    """Answered by None after so many seconds."""

    seconds: float


class Clock(NamedTuple):
    """Answered by seconds of a clock that only runs forward."""


class Emit(NamedTuple):
    """Hand a value to the caller; answered by None when the caller wants the next one."""

    value: Any


Instruction = Send | Open | Read | Pause | Clock | Emit
Talk = Generator[Instruction, Any, T]
"""A conversation that comes to a ``T`` in the end."""


class LinkFailure(Exception):  # noqa: N818 -- what happened, thrown into the core
    """A connection was not made, broke off, or stayed silent."""

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting
        """Trying again is no use: an unknown host, a certificate that is not trusted."""


class Silence(LinkFailure):
    """Nothing came in time."""


def clock() -> Talk[float]:
    """The time now."""
    now: float = yield Clock()
    return now


def send(request: Request, within: float) -> Talk[Answer]:
    """What a request is answered with; see ``Send``."""
    answer: Answer = yield Send(request, within)
    return answer


def open_stream(request: Request, within: float) -> Talk[Answer | Stream]:
    """An open stream, or what was answered in its stead; see ``Open``."""
    answer: Answer | Stream = yield Open(request, within)
    return answer


def read(stream: Stream, within: float) -> Talk[bytes | None]:
    """What has come; see ``Read``."""
    data: bytes | None = yield Read(stream, within)
    return data


class Course(Generic[T]):
    """One run of a conversation, for whoever carries it out.

    After each ``step`` set ``answer`` or ``failure``; when it returns None, ``result`` is set.
    """

    result: T

    def __init__(self, talk: Talk[T]) -> None:
        self._talk = talk
        self.answer: Any = None
        self.failure: LinkFailure | UnexpectedAnswer | None = None

    def step(self) -> Instruction | None:
        """The next instruction."""
        answer, failure = self.answer, self.failure
        self.answer = self.failure = None
        try:
            return self._talk.send(answer) if failure is None else self._talk.throw(failure)
        except StopIteration as stop:
            self.result = stop.value
            return None

    def close(self) -> None:
        """Break the conversation off, if it is not over."""
        self._talk.close()
