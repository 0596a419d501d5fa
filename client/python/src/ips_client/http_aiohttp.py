"""HTTP for the asynchronous face, by aiohttp."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any

import aiohttp
from yarl import URL

from ips_client import tls
from ips_client.answers import Answer, is_stream
from ips_client.errors import Closed, UnexpectedAnswer
from ips_client.failures import failure_of, refused_by_proxy
from ips_client.requests import Request
from ips_client.server import Session
from ips_client.talk import Clock, Instruction, LinkFailure, Open, Pause, Read, Send, Silence


class AiohttpTransport:
    """Carries instructions out, in the event loop that first asks it to."""

    def __init__(self, session: Session, context: SSLContext | None) -> None:
        self._session = session
        self._context = context
        self._http: aiohttp.ClientSession | None = None
        self._closed = False

    async def carry_out(self, instruction: Instruction) -> Any:
        """Do what an instruction says and return its answer.

        Raises LinkFailure, UnexpectedAnswer, Closed, and ValueError for what cannot be sent.
        """
        if self._closed:
            raise Closed
        match instruction:
            case Send(request, within):
                return await self._whole(await self._ask(request, within, within), request)
            case Open(request, within):
                return await self._open(await self._ask(request, within, None), request, within)
            case Read(Incoming() as stream, within):
                data = await stream.read(within)
                if not data and self._closed:
                    raise Closed
                return data
            case Pause(seconds):
                return await asyncio.sleep(seconds)
            case Clock():
                return time.monotonic()
            case _:
                raise TypeError(f"{instruction} is not for a transport")

    async def close(self) -> None:
        """Hang up. Whatever waits for a stream is ended."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    async def _ask(
        self, request: Request, within: float, silence: float | None
    ) -> aiohttp.ClientResponse:
        headers = self._session.headers_of(request)
        asking = self._connections().request(
            request.method,
            URL(self._session.url_of(request), encoded=True),
            data=request.payload or None,
            headers={name: value for name, value in headers.items() if name != "Authorization"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=within, sock_read=silence),
            middlewares=(_Once(headers.get("Authorization")),),
        )
        try:
            return await asyncio.wait_for(asking, within)
        except aiohttp.ConnectionTimeoutError:
            raise Silence("no connection in time") from None
        except asyncio.TimeoutError:
            raise Silence(f"no answer within {within:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error) from None

    async def _whole(self, response: aiohttp.ClientResponse, request: Request) -> Answer:
        try:
            body = await response.read()
        except asyncio.TimeoutError:
            raise Silence("the answer stopped half-way") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(error) from None
        finally:
            response.release()
        return Answer(self._session.url_of(request), response.status, _lower(response), body)

    async def _open(
        self, response: aiohttp.ClientResponse, request: Request, within: float
    ) -> Answer | Incoming:
        if is_stream(response.status, response.headers.get("Content-Type", "")):
            return Incoming(response)
        try:
            return await asyncio.wait_for(self._whole(response, request), within)
        except asyncio.TimeoutError:
            raise Silence("the answer stopped half-way") from None

    def _connections(self) -> aiohttp.ClientSession:
        if self._http is None:
            secure = self._session.server.scheme == "https"
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=(self._context or tls.context()) if secure else True, limit=0
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._http


class _Once:
    """Sees to it that aiohttp decides neither who asks nor when to try again."""

    def __init__(self, authorization: str | None) -> None:
        self._authorization = authorization
        self._sent = False

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._sent:  # aiohttp sends by itself again what can be
            raise aiohttp.ServerDisconnectedError
        self._sent = True
        # With trust_env there may be a name and password out of ~/.netrc.
        request.headers.popall("Authorization", None)
        if self._authorization is not None:
            request.headers["Authorization"] = self._authorization
        return await handler(request)


class Incoming:
    """An open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read(self, within: float) -> bytes | None:
        """See ``talk.Read``."""
        try:
            return await asyncio.wait_for(self._response.content.readany(), within)
        except asyncio.TimeoutError:
            return None
        except (aiohttp.ClientError, OSError, RuntimeError):
            return b""  # cut off in the middle of a chunk, or closed while it is read

    def close(self) -> None:
        """Hang up."""
        self._response.close()


def _lower(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _failure(error: aiohttp.ClientError | OSError) -> LinkFailure | UnexpectedAnswer:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return refused_by_proxy(error.status)
    if isinstance(error, aiohttp.ClientResponseError):
        return UnexpectedAnswer("what answers does not speak HTTP")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return LinkFailure("the server closed the connection without an answer")
    return failure_of(error)
