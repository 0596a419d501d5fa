"""What stands between a client and a service in the field: a proxy with habits, on real sockets.

Threads, one a connection and direction; everything is closed at the end.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.fixtures.patience import PATIENCE

_CHUNK = 65536


class Between:
    """Forwards connections to a server, or answers in its stead.

    ``says`` is a whole answer that every request gets. ``buffers`` holds back what the server sends
    on an event stream: until so many bytes have gathered, or for ever. ``drops`` is the number of
    answers that are lost: the request reaches the server, and then the connection breaks. ``tls``
    is what it presents to clients; ``fails_from`` the number of the first POST that is cut off.
    """

    def __init__(
        self,
        target: str = "http://127.0.0.1:1",
        *,
        says: bytes | None = None,
        buffers: int | None = None,
        drops: int = 0,
        tls: ssl.SSLContext | None = None,
        fails_from: int | None = None,
    ) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._says = says
        self._buffers = buffers
        self._drops = drops
        self._tls = tls
        self._fails_from = fails_from
        self.connections = 0
        self.requests: list[str] = []
        """Request lines met."""
        self.heads: list[str] = []
        """The same with their headers."""
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections off."""
        for each in tuple(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Serve no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"a thread hangs; open are {self._open}"

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _start(self, work: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
        return thread

    def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        if self._tls is not None:
            client = self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        self._open.add(client)
        with client, suppress(OSError):
            request = client.recv(_CHUNK)
            if request:
                self._note(request)
                self._answer(client, request)
        self._open.discard(client)

    def _answer(self, client: socket.socket, request: bytes) -> None:
        if self._says == b"":
            client.recv(_CHUNK)
        if self._says is not None:
            client.sendall(self._says)
            return
        with socket.create_connection(self._target) as server:
            self._open.add(server)
            holds_back = threading.Event()
            back = self._start(self._bring_back, server, client, holds_back)
            with suppress(OSError):
                self._bring_on(client, server, request, holds_back)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # closing alone would not wake whoever reads
            back.join()
            self._open.discard(server)

    def _bring_on(
        self,
        client: socket.socket,
        server: socket.socket,
        request: bytes,
        holds_back: threading.Event,
    ) -> None:
        while request and not self._is_to_fail():
            if b"/events" in request and self._buffers is not None:
                holds_back.set()
            server.sendall(request)
            request = client.recv(_CHUNK)
            self._note(request)

    def _note(self, data: bytes) -> None:
        """Note a request; what is no head of one is a body that came by itself."""
        line = data.split(b"\r\n", 1)[0].decode()
        if line.endswith(" HTTP/1.1"):
            self.requests.append(line)
            self.heads.append(data.partition(b"\r\n\r\n")[0].decode())

    def _is_to_fail(self) -> bool:
        posts = sum(line.startswith("POST") for line in self.requests)
        return self._fails_from is not None and posts >= self._fails_from

    def _bring_back(
        self, server: socket.socket, client: socket.socket, holds_back: threading.Event
    ) -> None:
        held = b""
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if self._drops > 0:
                    self._drops -= 1
                    break
                held += data
                if not holds_back.is_set() or len(held) >= (self._buffers or 0):
                    client.sendall(held)
                    held = b""
            client.shutdown(socket.SHUT_RDWR)
