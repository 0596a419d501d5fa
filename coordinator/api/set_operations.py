"""The operations on warm sets, as OpenAPI tells them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from coordinator import set_documents as documents
from coordinator.api.described import DocumentedAnswer, Operation, Schema, pages, path, query
from coordinator.api.queries import NODES, SETS
from coordinator.api.set_body import PutWarmSet

_NAME: Final = path("name", "web")
_STATE: Final = query(
    "state",
    "Only nodes in one of these states.",
    {"type": "array", "items": {"type": "string", "enum": list(documents.SET_NODE_STATES)}},
) | {"style": "form", "explode": False}
_PURGE: Final = query(
    "purge",
    "Remove its images from its nodes, too, as `POST /api/v1/purges` does.",
    {"type": "boolean", "default": False},
)
_IF_MATCH: Final[Schema] = {
    "name": "If-Match",
    "in": "header",
    "description": "The `ETag` over which alone the change is wanted, or `*` for any.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH: Final[Schema] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "`*`: only where there is no such set.",
    "schema": {"type": "string"},
}
_TAG: Final = {"ETag": "The revision of what is stored."}
_BAD, _MISSING = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
_CHANGED, _AWAY = HTTPStatus.PRECONDITION_FAILED, HTTPStatus.SERVICE_UNAVAILABLE
_LARGE, _TYPE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE
_BUSY, _SLOW = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT

SET_OPERATIONS: Final = (
    Operation(
        "get",
        "/api/v1/sets",
        "listSets",
        "List warm sets, by name",
        (DocumentedAnswer(HTTPStatus.OK, "One page of sets.", documents.WarmSetList),),
        (_BAD, _AWAY),
        pages(SETS),
    ),
    Operation(
        "put",
        "/api/v1/sets/{name}",
        "putSet",
        "Create or replace a warm set",
        (
            DocumentedAnswer(
                HTTPStatus.CREATED,
                "The set is stored.",
                documents.WarmSet,
                headers={"Location": "The path of the set.", **_TAG},
            ),
            DocumentedAnswer(
                HTTPStatus.OK,
                "It is replaced, or was so already.",
                documents.WarmSet,
                headers=_TAG,
            ),
        ),
        (_BAD, _SLOW, _CHANGED, _LARGE, _TYPE, _BUSY, _AWAY),
        (_NAME, _IF_MATCH, _IF_NONE_MATCH),
        PutWarmSet,
    ),
    Operation(
        "get",
        "/api/v1/sets/{name}",
        "getSet",
        "Show a warm set",
        (DocumentedAnswer(HTTPStatus.OK, "The set.", documents.WarmSet, headers=_TAG),),
        (_MISSING, _AWAY),
        (_NAME,),
    ),
    Operation(
        "delete",
        "/api/v1/sets/{name}",
        "deleteSet",
        "Delete a warm set; its images stay, or are removed where nobody uses or wants them",
        (DocumentedAnswer(HTTPStatus.OK, "It is deleted.", documents.WarmSetDeleted),),
        (_BAD, _MISSING, _CHANGED, _BUSY, _AWAY),
        (_NAME, _IF_MATCH, _PURGE),
    ),
    Operation(
        "get",
        "/api/v1/sets/{name}/nodes",
        "listSetNodes",
        "List the nodes of a warm set, by name: warm, or why not",
        (DocumentedAnswer(HTTPStatus.OK, "One page of nodes.", documents.WarmSetNodeList),),
        (_BAD, _MISSING, _AWAY),
        (_NAME, _STATE, *pages(NODES)),
    ),
    Operation(
        "post",
        "/api/v1/sets/{name}/refresh",
        "refreshSet",
        "Look whether the tags of a warm set have moved",
        (DocumentedAnswer(HTTPStatus.ACCEPTED, "It will be.", documents.WarmSetRefreshing),),
        (_MISSING, HTTPStatus.CONFLICT, _AWAY),
        (_NAME,),
    ),
)
