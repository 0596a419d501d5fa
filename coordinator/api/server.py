"""The HTTP server around the application: how many connections, for how long, and what it logs.

Whoever opens connections and says nothing takes no place from others: a connection has some seconds
for the headers of its first request, and where there are as many as may be, the one that has been
quiet for longest makes room.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from coordinator.api.answers import SERVER_NAME
from coordinator.api.observation import AccessLog
from coordinator.api.problems import RouteHandler

HEADERS_SECONDS: Final = 20.0
"""From the connection to the end of the first request's headers."""
QUIET_SECONDS: Final = 75.0
"""Between an answer and the end of the next request's headers; proxies keep connections for 60 s,
and one that is closed just when it is used again is an error to their clients."""
STUCK_SECONDS: Final = 30.0
"""After so long without a byte taken, whoever does not read an answer is cut off."""
MOST_CONNECTIONS: Final = 4096
SHARE_OF_FILES: Final = 0.75
"""Of the files that the program may open, for connections; the rest is for all else."""

_CLIENTS_FAULTS = (HttpProcessingError, web.RequestPayloadError)


def most_connections() -> int:
    """How many connections there may be: never so many that no file can be opened."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, int(soft * SHARE_OF_FILES)))


class UnversionedHandler(web.RequestHandler):
    """One connection. What is no HTTP is answered without a version of anything, too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reaches the application."""
        response = super().handle_error(request, status, exc, message)
        response.headers[hdrs.SERVER] = SERVER_NAME
        return response


class BoundedServer(web.Server):
    """Knows which connections have a request under way."""

    def __init__(
        self, handler: Any, *, most: int, headers_seconds: float, stuck_seconds: float, **rest: Any
    ) -> None:
        super().__init__(handler, **rest)
        self._most = most
        self._headers_seconds = headers_seconds
        self._stuck_seconds = stuck_seconds
        self._silent: set[web.RequestHandler] = set()
        """Those that have not made a request yet."""
        self._quiet: dict[web.RequestHandler, asyncio.Transport] = {}
        """Those without a request under way, the longest quiet first."""
        self._busy: dict[web.RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> web.RequestHandler:
        """Make what handles one connection."""
        return UnversionedHandler(self, loop=self._loop, **self._kwargs)

    def __len__(self) -> int:
        return len(self._quiet) + len(self._busy)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection; where there are too many, at the cost of one that is quiet."""
        super().connection_made(handler, transport)
        self._quiet[handler] = transport
        self._silent.add(handler)
        asyncio.get_running_loop().call_later(self._headers_seconds, self._expect, handler)
        if len(self) > self._most:
            self._cut(next(iter(self._quiet)))

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        self._forget(handler)

    @contextmanager
    def serving(self, handler: web.RequestHandler) -> Iterator[None]:
        """A connection has a request under way."""
        self._silent.discard(handler)
        transport = self._quiet.pop(handler, None)
        if transport is not None:
            self._busy[handler] = transport
        try:
            yield
        finally:
            transport = self._busy.pop(handler, None)
            if transport is not None:
                self._quiet[handler] = transport
                self._look_later(transport, 0)

    def _expect(self, handler: web.RequestHandler) -> None:
        if handler in self._silent:
            self._cut(handler)

    def _look_later(self, transport: asyncio.Transport, before: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._stuck_seconds, self._look, transport, before)

    def _look(self, transport: asyncio.Transport, before: int) -> None:
        """Cut off whoever has taken nothing of an answer since the last look."""
        unsent = 0 if transport.is_closing() else transport.get_write_buffer_size()
        if unsent and unsent == before:
            transport.abort()
        elif unsent:
            self._look_later(transport, unsent)

    def _cut(self, handler: web.RequestHandler) -> None:
        transport = self._quiet.get(handler)
        self._forget(handler)
        if transport is not None:
            transport.abort()

    def _forget(self, handler: web.RequestHandler) -> None:
        self._silent.discard(handler)
        self._quiet.pop(handler, None)
        self._busy.pop(handler, None)


class Runner(web.AppRunner):
    """Runs an application on a bounded server."""

    def __init__(self, app: web.Application, *, bounds: dict[str, Any], **settings: Any) -> None:
        app.middlewares.insert(0, self._watch)
        super().__init__(app, **settings)
        self._bounds = bounds
        self._settings = settings

    async def _make_server(self) -> BoundedServer:
        made = await super()._make_server()
        settings = {k: v for k, v in self._settings.items() if k != "shutdown_timeout"}
        self.bounded = BoundedServer(
            made.request_handler,
            request_factory=made.request_factory,
            **self._bounds,
            **settings,
        )
        return self.bounded

    @web.middleware
    async def _watch(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        with self.bounded.serving(request.protocol):
            return await handler(request)


def make_runner(
    app: web.Application,
    *,
    shutdown_timeout: float,
    most: int = MOST_CONNECTIONS,
    headers_seconds: float = HEADERS_SECONDS,
    stuck_seconds: float = STUCK_SECONDS,
) -> Runner:
    """A runner whose log has a line for each request, and none for what is no HTTP.

    ``shutdown_timeout``: seconds for requests that are being answered when it is cleaned up.
    ``most``: connections at the same time.
    """
    server_log = logging.getLogger(__name__)
    server_log.addFilter(_is_ours)
    return Runner(
        app,
        bounds={
            "most": most,
            "headers_seconds": headers_seconds,
            "stuck_seconds": stuck_seconds,
        },
        access_log_class=AccessLog,
        access_log=server_log,  # aiohttp asks for one; AccessLog has its own
        logger=server_log,
        keepalive_timeout=QUIET_SECONDS,
        shutdown_timeout=shutdown_timeout,
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is about us: any stranger can send what aiohttp answers by 400."""
    return record.exc_info is None or not isinstance(record.exc_info[1], _CLIENTS_FAULTS)
