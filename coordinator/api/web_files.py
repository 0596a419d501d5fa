"""The web UI: the files of one folder, read once, compressed once, and known by what is in them.

A browser keeps every file and asks each time whether it is still the same, so that a new version
of the service is never shown with half of the old one's scripts.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

from aiohttp import ETag, hdrs, web

FOLDER: Final = Path(__file__).parents[2] / "web"
"""Beside the packages, in the repository and where it is installed alike."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Only the page's own files, and no text ever becomes HTML or script."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-cache",  # keep it, and ask each time whether it is still the same
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
"""What a machine's own table of types may say otherwise."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file, plain and compressed; each form has an ETag of its own (RFC 9110, 8.8.3.3)."""

    content_type: str
    plain: bytes
    compressed: bytes
    etag: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one file from the disk."""
        plain = path.read_bytes()
        known = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        etag = hashlib.sha256(plain).hexdigest()[:16]
        return cls(known or "application/octet-stream", plain, gzip.compress(plain, mtime=0), etag)


class WebFiles:
    """``GET /``, ``/web/`` and ``/web/{path}``."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): WebFile.read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in {".py", ".pyc"}
        }

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One file; only names that were found in the folder exist, so no path leads out."""
        file = self._files.get(request.match_info.get("path") or "index.html")
        if file is None:
            raise web.HTTPNotFound
        is_compressed = accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        etag = f"{file.etag}-gzip" if is_compressed else file.etag
        response = web.Response(headers=HEADERS)
        response.etag = ETag(etag)
        if any(known.value in {etag, "*"} for known in request.if_none_match or ()):
            response.set_status(HTTPStatus.NOT_MODIFIED)
            return response
        response.content_type = file.content_type
        if file.content_type.startswith("text/"):
            response.charset = "utf-8"
        if is_compressed:
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        response.body = file.compressed if is_compressed else file.plain
        return response


def accepts_gzip(header: str) -> bool:
    """Whether ``Accept-Encoding`` names gzip (or everything) and does not refuse it."""
    quality = {"*": "0"}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        quality[name.strip()] = parameter.strip().removeprefix("q=") or "1"
    return quality.get("gzip", quality["*"]).strip("0.") != ""
