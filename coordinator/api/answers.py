"""Documents as answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from coordinator.documents import Document, encode

JSON: Final = "application/json"


def json_answer(document: Document, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """A document with a status."""
    return web.Response(body=encode(document), status=status, content_type=JSON)
