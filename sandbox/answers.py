"""One manifest or blob on its way to one client, with the faults that it meets there."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.faults import Faults, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.changes import Changes
    from sandbox.images import Blob

_CHUNK = 32 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Hit:
    """One request on record; ``status``, ``sent`` and ``finished`` change as it is answered."""

    method: str
    path: str
    """With the query."""
    repository: str
    kind: Kind
    reference: str
    """A digest, or a manifest's tag."""
    range: str | None
    """The request's ``Range`` header."""
    status: int = 0
    """0 until the answer begins."""
    sent: int = 0
    """Bytes of the body given to the connection so far."""
    finished: bool = False
    """Whether the answer is over: sent, dropped, or given up by the client."""


class Answer:
    """Answers one request and keeps its hit true meanwhile."""

    def __init__(
        self, request: web.Request, hit: Hit, faults: Sequence[Faults], changes: Changes
    ) -> None:
        self._request = request
        self._hit = hit
        self._faults = faults if hit.kind is Kind.BLOB else ()
        self._changes = changes

    def refuse(self, status: int, headers: Mapping[str, str] = _NO_HEADERS) -> web.Response:
        """Answer with an error as OCI distribution writes it."""
        self._hit.status = status
        error = {"code": "SANDBOX", "message": f"{self._hit.path} is answered {status}"}
        body = json.dumps({"errors": [error]})
        return web.Response(
            status=status, headers=headers, text=body, content_type="application/json"
        )

    async def send(self, blob: Blob) -> web.StreamResponse:
        """Answer with what of the blob the request asks for: its head, a range, or all of it."""
        try:
            start, stop, _ = self._request.http_range.indices(blob.size)
        except ValueError:
            return self.refuse(400)
        if start >= stop:
            return self.refuse(416, {"Content-Range": f"bytes */{blob.size}"})
        self._hit.status = 206 if self._hit.range else 200
        response = web.StreamResponse(
            status=self._hit.status, headers=self._headers(blob, start, stop)
        )
        with suppress(ConnectionError):  # a client that goes away is no fault of the registry
            await response.prepare(self._request)
            if self._request.method == "GET":
                await self._send_body(response, memoryview(self._content(blob))[start:stop])
        return response

    def _headers(self, blob: Blob, start: int, stop: int) -> dict[str, str]:
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(stop - start),
            "Content-Type": blob.media_type,
            "Docker-Content-Digest": blob.digest,
        }
        if self._hit.range:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{blob.size}"
        return headers

    def _content(self, blob: Blob) -> bytes:
        """Spoil the last byte where it shall be: it is part of every resumed transfer too."""
        if any(fault.corrupt for fault in self._faults):
            return blob.content[:-1] + bytes([blob.content[-1] ^ 0xFF])
        return blob.content

    async def _send_body(self, response: web.StreamResponse, body: memoryview) -> None:
        cut = next((cut for fault in self._faults if (cut := fault.next_cut())), None)
        if cut is None:
            await self._write(response, body)
            return
        await self._write(response, body[: cut.after])
        if cut.hangs:
            if cut.after >= len(body):
                return  # nothing is left that could be held back
            await self._changes.wait_for(lambda: cut.healed)
            await self._write(response, body[cut.after :])
        elif self._request.transport is not None:
            self._request.transport.close()

    async def _write(self, response: web.StreamResponse, body: memoryview) -> None:
        for start in range(0, len(body), _CHUNK):
            chunk = body[start : start + _CHUNK]
            # Looked up for every chunk: a switch may be flipped while this goes on.
            for bandwidth in {fault.bandwidth for fault in self._faults if fault.bandwidth}:
                await bandwidth.take(len(chunk))
            await response.write(chunk)
            self._hit.sent += len(chunk)
            self._changes.announce()
