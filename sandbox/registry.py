"""A registry in this process: the pull side of OCI distribution, with everything that can go wrong.

Images are put into it from Python and kept in memory; what was asked for and how many bytes left
is on record. It serves on the loop that starts it, or on a thread of its own (``in_thread``) where
that loop must not be held up. Any thread may put images and flip switches.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Self

from aiohttp import web

from sandbox.answers import Answer, Hit
from sandbox.changes import Changes
from sandbox.faults import Bandwidth, Faults, Kind

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from sandbox.images import Blob, Image

_SHUTDOWN_SECONDS = 0.05  # whoever is served here is a test's own: nobody needs a grace period
_EVERYTHING = ""


class Registry:
    """Serves what is put into it, on loopback; ``async with`` starts and stops it.

    ``address`` is where, an IPv6 address in brackets. ``port`` 0 takes a free one, which is kept
    when the registry is stopped and started again. ``tls`` makes it serve https (see
    ``sandbox.certificates``). ``socket_factory`` makes the socket that it listens on, in another
    network perhaps.
    """

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        socket_factory: Callable[[], socket.socket] | None = None,
    ) -> None:
        self.hits: list[Hit] = []
        """Every request for a manifest or blob, oldest first."""
        self._address = address
        self._port = port
        self._tls = tls
        self._make_socket = socket_factory or partial(socket.socket, _family(address))
        self._runner: web.AppRunner | None = None
        self._stores: dict[Kind, dict[tuple[str, str], Blob]] = {kind: {} for kind in Kind}
        self._credentials: dict[str, str] = {}
        self._faults: dict[str, Faults] = {}
        self._changes = Changes()

    @property
    def host(self) -> str:
        """``address:port``, with which references begin. A free port is known after the start."""
        return f"{self._address}:{self._port}"

    @property
    def url(self) -> str:
        """``http://address:port``, or ``https://…``."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    async def start(self) -> None:
        """Begin to serve. Raises OSError where the port is taken."""
        app = web.Application()
        app.router.add_get("/v2/", _welcome)
        app.router.add_get("/v2/{repository:.+}/{kind:manifests|blobs}/{reference}", self._serve)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,  # a client that goes away ends its answer at once
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        listener = self._make_socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._address.strip("[]"), self._port))
            await web.SockSite(self._runner, listener, ssl_context=self._tls).start()
        except BaseException:
            listener.close()
            raise
        self._port = listener.getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut the open ones; images, switches and hits stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            await self.until(lambda: not self.busy)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def put(self, repository: str, tag: str, image: Image) -> str:
        """Store an image, moving the tag if there is one, and return the reference that pulls it.

        It can be pulled by its digest too: ``f"{registry.host}/{repository}@{image.digest}"``.
        """
        manifests, blobs = self._stores[Kind.MANIFEST], self._stores[Kind.BLOB]
        for part in (image, *image.children):
            manifests[repository, part.digest] = part.manifest
        for blob in image.blobs:
            blobs[repository, blob.digest] = blob
        manifests[repository, tag] = image.manifest
        return f"{self.host}/{repository}:{tag}"

    def protect(self, repository: str, username: str, password: str) -> None:
        """Serve a repository only to requests with these credentials (basic auth)."""
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._credentials[repository] = f"Basic {token}"

    def faults(self, scope: str = _EVERYTHING) -> Faults:
        """Switches of a repository, of a blob or manifest by its digest, or of everything.

        Where several scopes concern a request their latencies add up and their bandwidths all
        hold; of refusals and cuts the widest scope's come first.
        """
        return self._faults.setdefault(scope, Faults(self._changes))

    def throttle(self, bytes_per_second: float) -> Bandwidth:
        """Let all blobs share so much bandwidth from now on."""
        self.faults().bandwidth = bandwidth = Bandwidth(bytes_per_second)
        return bandwidth

    def sent(self, repository: str | None = None) -> int:
        """Count the bytes of blobs sent so far, of one repository or of all."""
        return sum(
            hit.sent
            for hit in self.hits
            if hit.kind is Kind.BLOB and repository in {None, hit.repository}
        )

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return not all(hit.finished for hit in self.hits)

    async def until(self, condition: Callable[[], bool], *, within: float = 120.0) -> None:
        """Wait, on any loop, until a condition on hits holds. Raises TimeoutError (seconds)."""
        async with asyncio.timeout(within):
            await self._changes.wait_for(condition)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        hit = Hit(
            method=request.method,
            path=request.path_qs,
            repository=request.match_info["repository"],
            kind=Kind(request.match_info["kind"]),
            reference=request.match_info["reference"],
            range=request.headers.get("Range"),
        )
        self.hits.append(hit)
        self._changes.announce()
        try:
            return await self._answer(request, hit)
        finally:
            hit.finished = True
            self._changes.announce()

    async def _answer(self, request: web.Request, hit: Hit) -> web.StreamResponse:
        scopes = (_EVERYTHING, hit.repository, hit.reference)
        faults = [self._faults[scope] for scope in scopes if scope in self._faults]
        await asyncio.sleep(sum(fault.latency for fault in faults))
        answer = Answer(request, hit, faults, self._changes)
        for fault in faults:
            reply = await fault.instead(request, hit) if fault.instead else None
            if reply is not None:
                hit.status = reply.status
                return reply
        refusal = next((r for fault in faults if (r := fault.next_refusal(hit.kind))), None)
        if refusal is not None:
            return answer.refuse(refusal.status, refusal.headers)
        expected = self._credentials.get(hit.repository)
        if expected is not None and request.headers.get("Authorization") != expected:
            return answer.refuse(401, {"WWW-Authenticate": 'Basic realm="sandbox"'})
        blob = self._stores[hit.kind].get((hit.repository, hit.reference))
        return answer.refuse(404) if blob is None else await answer.send(blob)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if address.startswith("[") else socket.AF_INET


async def _welcome(_: web.Request) -> web.Response:
    return web.json_response({})


@contextmanager
def in_thread(registry: Registry) -> Iterator[Registry]:
    """Serve on a thread and loop of its own for as long as the block runs."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="registry")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(registry.start(), loop).result()
        yield registry
    finally:
        asyncio.run_coroutine_threadsafe(registry.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
