"""One runtime's socket and the gRPC calls on it: every way in which a call can fail has a name.

The channel is opened at the first call, held between calls, and opened again at the next call after
it broke, so that a runtime that was restarted is found again without anybody waiting for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import H2Error

from agent.runtime.protocol import RuntimeAway

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

ANSWER_SECONDS = 30.0
"""How long a runtime may take for what needs no registry: long, on a node whose disk is busy."""

_SCHEME = "unix://"
_NOTHING: Mapping[str, str] = {}

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
_Result = TypeVar("_Result")


class CallFailed(Exception):  # noqa: N818  # named in the past tense, as all that happened is
    """The runtime answered a call with an error: a gRPC status by name and a text of its own."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One method of a runtime's API: its path, ``/package.Service/Name``, and its messages."""

    path: str
    request: type[Request]
    reply: type[Response]


class Endpoint:
    """A runtime's socket, named as the kubelet names it: ``unix:///path``. Raises ValueError.

    ``answer_seconds`` is how long it may take to answer, pulls excepted.
    """

    def __init__(self, url: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._path = socket_path(url)
        self.url = url
        self._answer_seconds = answer_seconds
        self._channel: Channel | None = None

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        metadata: Mapping[str, str] = _NOTHING,
        patient: bool = False,
    ) -> Response:
        """Make one call. Raises CallFailed, or RuntimeAway where no answer comes.

        ``patient`` waits for one for ever.
        """
        stub = UnaryUnaryMethod(self._open(), method.path, method.request, method.reply)
        within = None if patient else self._answer_seconds
        return await self._answer(stub(request, metadata=metadata), within)

    async def stream(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        metadata: Mapping[str, str] = _NOTHING,
    ) -> list[Response]:
        """Make one call that is answered in parts. Raises as ``call`` does."""
        stub = UnaryStreamMethod(self._open(), method.path, method.request, method.reply)
        return await self._answer(stub(request, metadata=metadata), self._answer_seconds)

    async def watch(
        self,
        method: Method[Request, Response],
        request: Request,
        on_message: Callable[[Response], None],
        *,
        metadata: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Make one call that is answered again and again, until the runtime ends it.

        Raises as ``call`` does.
        """
        stub = UnaryStreamMethod(self._open(), method.path, method.request, method.reply)

        async def read() -> None:
            async with stub.open(metadata=metadata) as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    on_message(message)

        await self._answer(read(), None)

    def close(self) -> None:
        """Close the connection; a later call would open it again."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> Channel:
        if self._channel is None:
            # The codec is named because grpclib else imports googleapis wherever it finds it.
            self._channel = Channel(path=self._path, codec=ProtoCodec())
        return self._channel

    async def _answer(self, call: Coroutine[Any, Any, _Result], within: float | None) -> _Result:
        try:
            async with asyncio.timeout(within):
                return await _apart(call)
        except GRPCError as error:
            raise CallFailed(error.status.name, error.message or "") from error
        except TimeoutError as error:
            raise self._away(f"no answer within {within:g} s") from error
        except OSError as error:
            raise self._away(error.strerror or str(error)) from error
        except (StreamTerminatedError, H2Error) as error:
            raise self._away(f"the connection broke ({error})") from error

    def _away(self, why: str) -> RuntimeAway:
        return RuntimeAway(f"no container runtime at {self.url}: {why}")


def socket_path(url: str) -> str:
    """Cut the path out of an endpoint, ``unix:///path``. Raises ValueError."""
    path = url.removeprefix(_SCHEME)
    if not url.startswith(_SCHEME) or not path.startswith("/"):
        raise ValueError(f"not an endpoint of the form unix:///path: {url!r}")
    return path


async def _apart(call: Coroutine[Any, Any, _Result]) -> _Result:
    """Await a call of grpclib in a task of its own.

    When a connection breaks, grpclib wakes its callers by cancelling their tasks and raises in
    place of the CancelledError. In the caller's own task that would leave a cancellation counted
    that never was (``Task.cancelling``, on which ``timeout`` and ``TaskGroup`` rely), and a real
    one that comes at the same moment would be swallowed.
    """
    caller = asyncio.current_task()
    before = caller.cancelling() if caller else 0
    try:
        return await asyncio.create_task(call)
    except Exception as error:
        if caller and caller.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
