"""HTTP for the synchronous face, by urllib3.

urllib3 and not requests: requests would put a ``.netrc`` before the token, reads other variables
for certificates than the system has, and hides the socket that an open stream must be ended by.
Proxies come from the environment by the standard library's rules, which are aiohttp's as well.
"""

from __future__ import annotations

import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import connection, connectionpool, exceptions

from ips_client import tls
from ips_client.answers import Answer, is_stream
from ips_client.errors import Closed
from ips_client.failures import failure_of
from ips_client.requests import Request
from ips_client.server import Session
from ips_client.talk import Clock, Instruction, Open, Pause, Read, Send, Silence

READ_BYTES: Final = 65536
IDLE_CONNECTIONS: Final = 4
_PIECES: Final = 64
"""Read ahead of who wants them."""


class Urllib3Transport:
    """Carries instructions out, for any number of threads."""

    def __init__(self, session: Session, context: SSLContext | None) -> None:
        self._session = session
        self._context = context
        self._pools: urllib3.PoolManager | None = None
        self._closed = threading.Event()
        self._streams: set[ReadAhead] = set()
        self._lock = threading.Lock()

    def carry_out(self, instruction: Instruction) -> Any:
        """Do what an instruction says and return its answer.

        Raises LinkFailure, UnexpectedAnswer, Closed, and ValueError for what cannot be sent.
        """
        if self._closed.is_set():
            raise Closed
        match instruction:
            case Send(request, within):
                return self._whole(self._ask(request, within), request)
            case Open(request, within):
                return self._open(self._ask(request, within), request)
            case Read(ReadAhead() as stream, within):
                data = stream.read(within)
                if not data and self._closed.is_set():
                    raise Closed
                return data
            case Pause(seconds):
                if self._closed.wait(seconds):
                    raise Closed
                return None
            case Clock():
                return time.monotonic()
            case _:
                raise TypeError(f"{instruction} is not for a transport")

    def close(self) -> None:
        """Hang up. Whatever waits for a stream in another thread is ended."""
        self._closed.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()
        if self._pools is not None:
            self._pools.clear()

    def _ask(self, request: Request, within: float) -> urllib3.BaseHTTPResponse:
        headers = self._session.headers_of(request)
        try:
            return self._connections().request(
                request.method,
                self._session.url_of(request),
                body=request.payload or None,
                headers=headers,
                timeout=urllib3.Timeout(connect=within, read=within),
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except exceptions.NewConnectionError as error:  # urllib3 counts it among the time-outs
            raise failure_of(error) from None
        except exceptions.ConnectTimeoutError:
            raise Silence("no connection in time") from None
        except exceptions.TimeoutError:
            raise Silence(f"no answer within {within:g} s") from None
        except (exceptions.HTTPError, OSError) as error:
            raise failure_of(error) from None

    def _whole(self, response: urllib3.BaseHTTPResponse, request: Request) -> Answer:
        try:
            body = response.read()
        except exceptions.TimeoutError:
            response.close()
            raise Silence("the answer stopped half-way") from None
        except (exceptions.HTTPError, OSError) as error:
            response.close()
            raise failure_of(error) from None
        response.release_conn()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(self._session.url_of(request), response.status, headers, body)

    def _open(self, response: urllib3.BaseHTTPResponse, request: Request) -> Answer | ReadAhead:
        if not is_stream(response.status, response.headers.get("content-type", "")):
            return self._whole(response, request)
        stream = ReadAhead(response, self._forget)
        with self._lock:
            self._streams.add(stream)
        if self._closed.is_set():
            stream.close()
        return stream

    def _forget(self, stream: ReadAhead) -> None:
        with self._lock:
            self._streams.discard(stream)

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pools is None:
                self._pools = _pool_manager(self._session, self._context)
            return self._pools


class ReadAhead:
    """An open stream that a thread of its own reads: who waits for it can stop waiting.

    A socket that has timed out in the middle of a chunk cannot be read any further, so the waiting
    is not done on the socket.
    """

    def __init__(
        self, response: urllib3.BaseHTTPResponse, on_close: Callable[[ReadAhead], None]
    ) -> None:
        self._response = response
        self._on_close = on_close
        self._pieces = queue.Queue[bytes](_PIECES)
        self._closed = False
        threading.Thread(target=self._pump, name="ips-client stream", daemon=True).start()

    def read(self, within: float) -> bytes | None:
        """See ``talk.Read``."""
        try:
            return self._pieces.get(timeout=max(within, 0.0))
        except queue.Empty:
            return None

    def close(self) -> None:
        """Hang up, from whichever thread."""
        self._closed = True
        # ValueError, RuntimeError: there is no connection any more, or none that can be shut down.
        with suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()
        with suppress(queue.Empty):  # the thread may wait for room
            while True:
                self._pieces.get_nowait()
        self._pieces.put_nowait(b"")
        self._on_close(self)

    def _pump(self) -> None:
        # AttributeError, ValueError: what a TLS connection says that was closed while it is read.
        with suppress(exceptions.HTTPError, OSError, ValueError, AttributeError):
            while not self._closed and (data := self._response.read1(READ_BYTES)):
                self._pieces.put(data)
        with suppress(OSError, ValueError, AttributeError):
            self._response.close()
        with suppress(queue.Full):
            self._pieces.put(b"", block=not self._closed)


# ── connections ──


class _HTTPConnection(connection.HTTPConnection):
    """Lets an event stream be silent: only the beginning of its answer had to come in time."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        sock = self.sock  # afterwards it may be the answer's alone
        response = super().getresponse()
        if is_stream(response.status, response.headers.get("content-type", "")):
            sock.settimeout(None)
        return response


class _HTTPSConnection(connection.HTTPSConnection, _HTTPConnection):
    pass


class _HTTPPool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def _pool_manager(session: Session, context: SSLContext | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": IDLE_CONNECTIONS}
    if session.server.scheme == "https":
        options["ssl_context"] = context or tls.context()
    proxy = _proxy_of(session)
    if proxy is None:
        made = urllib3.PoolManager(**options)
    else:
        parts = urlsplit(proxy)
        credentials = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        made = urllib3.ProxyManager(
            proxy,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials),
            proxy_ssl_context=tls.context() if parts.scheme == "https" else None,
            **options,
        )
    made.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return made


def _proxy_of(session: Session) -> str | None:
    """The address of the proxy that the environment wants for a server, if any."""
    if urllib.request.proxy_bypass(session.server.hostname):
        return None
    proxy = urllib.request.getproxies().get(session.server.scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
