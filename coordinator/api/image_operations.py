"""The operations on images, as OpenAPI tells them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from coordinator import image_documents as documents
from coordinator.api.described import DocumentedAnswer, Operation, pages, path, query
from coordinator.api.queries import LONGEST_TEXT, NODES, PAST

_NAME: Final = path("name", "node-5")
_TEXT: Final = {"type": "string", "maxLength": LONGEST_TEXT}
_IMAGE: Final = query("image", "An image, in whatever spelling.", _TEXT) | {
    "required": True,
    "example": "redis:7",
}
_STATE: Final = query(
    "state",
    "Only nodes in one of these states.",
    {"type": "array", "items": {"type": "string", "enum": list(documents.PLACE_STATES)}},
) | {"style": "form", "explode": False}
_BAD, _MISSING = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
_BUSY, _AWAY = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE
_SILENT: Final = HTTPStatus.GATEWAY_TIMEOUT

IMAGE_OPERATIONS: Final = (
    Operation(
        "get",
        "/api/v1/nodes/{name}/images",
        "listNodeImages",
        "List what a node's container runtime has now, asked of its agent",
        (DocumentedAnswer(HTTPStatus.OK, "One page of images.", documents.StoredImageList),),
        (_BAD, _MISSING, _BUSY, _AWAY, _SILENT),
        (_NAME, *pages(NODES)),
    ),
    Operation(
        "get",
        "/api/v1/nodes/{name}/history",
        "listNodeTasks",
        "List what tasks did on a node, the newest first",
        (DocumentedAnswer(HTTPStatus.OK, "One page of tasks.", documents.NodeTaskList),),
        (_BAD, _MISSING, _BUSY, _AWAY),
        (_NAME, *pages(PAST)),
    ),
    Operation(
        "get",
        "/api/v1/images",
        "listImages",
        "List the images of tasks and warm sets, by reference",
        (DocumentedAnswer(HTTPStatus.OK, "One page of images.", documents.KnownImageList),),
        (_BAD, _BUSY, _AWAY),
        (
            query("q", "Only references in which this text stands.", _TEXT),
            query("after", "Only references that come after this one.", _TEXT),
            *pages(NODES),
        ),
    ),
    Operation(
        "get",
        "/api/v1/images/nodes",
        "listImageNodes",
        "List every node, by name, and whether an image is there",
        (DocumentedAnswer(HTTPStatus.OK, "One page of nodes.", documents.ImagePlaceList),),
        (_BAD, _BUSY, _AWAY),
        (_IMAGE, _STATE, *pages(NODES)),
    ),
    Operation(
        "get",
        "/api/v1/images/history",
        "listImageTasks",
        "List what became of an image in tasks, the newest first",
        (DocumentedAnswer(HTTPStatus.OK, "One page of tasks.", documents.ImageTaskList),),
        (_BAD, _BUSY, _AWAY),
        (_IMAGE, *pages(PAST)),
    ),
)
