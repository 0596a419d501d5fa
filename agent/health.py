"""The agent's port for probes and metrics: ``/healthz``, ``/readyz``, ``/metrics``.

Python's own WSGI server, since aiohttp would cost 11 MiB of memory. The event loop watches the
socket and every request gets a thread of its own, so that nothing wakes while nobody asks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from common.lifecycle import StartupError
from common.listening import listen_everywhere
from common.logs import Log

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOP_SECONDS = 5.0
"""An event loop that does not answer for so long counts as hung."""
CLIENT_SECONDS = 10.0
"""Time for a client to say what it wants."""

log = Log(__name__)


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its own name
        """Log nothing: probes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    timeout = 0  # a client that is gone again before it is served must not block the loop

    def server_bind(self) -> None:
        """Bind for both families, and without asking the DNS for our own name, which takes long."""
        listener = listen_everywhere(self.server_address[1])
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()[:2]
        self.server_name, self.server_port = "agent", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log that a request was not answered; most often it is the client that went away."""
        log.debug("a request failed", client=client_address, why=repr(sys.exception()))


class HealthServer:
    """Serves while it is entered. ``why_not_ready`` is asked in the event loop; empty: ready."""

    def __init__(
        self, port: int, registry: CollectorRegistry, why_not_ready: Callable[[], str]
    ) -> None:
        self._wanted = port
        self._metrics: WSGIApplication = make_wsgi_app(registry)
        self._why_not_ready = why_not_ready
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def __enter__(self) -> Self:
        """Listen. Raises StartupError where something else does."""
        try:
            self._server = _Server(("", self._wanted), _Handler)
        except OSError as error:
            where = error.filename or f"port {self._wanted}"
            raise StartupError(
                f"{where} for metrics and health cannot be used: {error.strerror};"
                " set IPS_AGENT_METRICS_PORT to another port"
            ) from error
        self._server.set_app(self._answer)
        self._loop.add_reader(self._server, self._server.handle_request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._server)
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start)
            case "/healthz" | "/readyz" as path:
                why_not = self._ask(path == "/readyz")
                status = "503 Service Unavailable" if why_not else "200 OK"
                return _text(start, status, why_not or "ok")
            case _:
                return _text(start, "404 Not Found", "/healthz, /readyz and /metrics are here")

    def _ask(self, ready: bool) -> str:
        """Ask the event loop what is missing; ``/healthz`` only asks whether the loop answers."""
        reply: Future[str] = Future()
        self._loop.call_soon_threadsafe(
            lambda: reply.set_result(self._why_not_ready() if ready else "")
        )
        try:
            return reply.result(LOOP_SECONDS)
        except TimeoutError:
            return f"the event loop has not turned for {LOOP_SECONDS:g} s"


def _text(start: StartResponse, status: str, text: str) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode() + b"\n"]
