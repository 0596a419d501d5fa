"""Documents as answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from coordinator.documents import Document, encode

JSON: Final = "application/json"
SERVER_NAME: Final = "ips"
"""Of the header ``Server``: no version helps whoever looks for a known hole."""


def json_answer(document: Document, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """A document with a status."""
    return web.Response(body=encode(document), status=status, content_type=JSON)
