"""The web UI: the files of one folder, read once for their names, with validators for caches."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

FOLDER: Final = Path(__file__).parents[2] / "web"
"""Beside the packages, in the repository and where it is installed alike."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-cache",  # keep it, and ask each time whether it is still the same
}


class WebFiles:
    """``GET /``, ``/web/`` and ``/web/{path}``."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyc"}
        }

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One file; only names that were found in the folder exist, so no path leads out."""
        path = self._files.get(request.match_info.get("path") or "index.html")
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=HEADERS)
