"""The operations on purges, as OpenAPI tells them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from coordinator.api.described import DocumentedAnswer, Operation, pages, path
from coordinator.api.purge_body import PurgeImages
from coordinator.api.queries import NODES
from coordinator.purge_documents import Purge

_PLACE: Final = {"Location": "The path of the purge."}
_BAD, _MISSING = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
_LARGE, _TYPE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
_BUSY, _SLOW = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT
_AWAY: Final = HTTPStatus.SERVICE_UNAVAILABLE

PURGE_OPERATIONS: Final = (
    Operation(
        "post",
        "/api/v1/purges",
        "createPurge",
        "Take images off nodes that no container uses and no warm set wants there",
        (DocumentedAnswer(HTTPStatus.ACCEPTED, "The purge has begun.", Purge, headers=_PLACE),),
        (_BAD, _SLOW, _LARGE, _TYPE, _BUSY, _AWAY),
        (),
        PurgeImages,
    ),
    Operation(
        "get",
        "/api/v1/purges/{id}",
        "getPurge",
        "Show a purge, with one page of its nodes",
        (DocumentedAnswer(HTTPStatus.OK, "The purge.", Purge, headers=_PLACE),),
        (_BAD, _MISSING, _AWAY),
        (path("id", "purge-20260116-151234-a1b2c3d4"), *pages(NODES)),
    ),
)
