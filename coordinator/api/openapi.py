"""``GET /openapi.json``: OpenAPI 3.1, made from the Structs that validate and answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import UNSET

from common.text import CODE_LENGTH
from common.texts import templates
from common.version import VERSION
from coordinator import documents, live_documents, set_documents
from coordinator.api.answers import JSON
from coordinator.api.described import DocumentedAnswer, Operation, Schema
from coordinator.api.guard import SESSION_COOKIE
from coordinator.api.operations import OPERATIONS
from coordinator.api.permissions import permission_of
from coordinator.api.problems import CONTENT_TYPE as PROBLEM

_ABOUT: Final = (
    "Pulls container images onto nodes before they are needed. Every error is RFC 9457 "
    "`application/problem+json`; one about the request names every fault at once."
)
_SCHEMES: Final[Schema] = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}
_COME_BACK: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_REFERENCE: Final = "#/components/schemas/{name}"
_MORE_SHAPES: Final = (
    documents.Problem,
    documents.NodeEvent,
    set_documents.WarmSetEvent,
    set_documents.WarmSetDeletedEvent,
    set_documents.WarmSetNodeEvent,
    set_documents.WarmSetWebhook,
    live_documents.LiveNodes,
    live_documents.LiveAgents,
    documents.Webhook,
)


@cache
def openapi_document() -> bytes:
    """The whole document as JSON."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Image Prewarm Service",
                "version": VERSION,
                "description": _ABOUT,
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "paths": paths,
            "components": {"schemas": _schemas(), "securitySchemes": _SCHEMES},
        }
    )


def _operation(operation: Operation) -> Schema:
    made: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(int(a.status)): _answer(a) for a in operation.answers}
        | {str(int(status)): _refusal(status) for status in _refusals(operation)},
    }
    demanded = permission_of(operation.method.upper(), operation.path)
    if demanded is not None:
        made["description"] = f"Needs `{demanded.verb}` on `{demanded.resource}`."
        made["security"] = [{scheme: []} for scheme in _SCHEMES]
    if operation.parameters:
        made["parameters"] = list(operation.parameters)
    if operation.body is not None:
        content = {JSON: {"schema": _reference(operation.body)}}
        made["requestBody"] = {"required": operation.body_required, "content": content}
    return made


def _refusals(operation: Operation) -> Iterable[HTTPStatus]:
    """Those that an operation names, and those of whoever stands before it."""
    refusals = {*operation.refusals, HTTPStatus.MISDIRECTED_REQUEST}
    if permission_of(operation.method.upper(), operation.path) is not None:
        refusals |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}
    if operation.method != "get":
        refusals |= {HTTPStatus.FORBIDDEN}
    return sorted(refusals)


def _answer(answer: DocumentedAnswer) -> Schema:
    made: Schema = {"description": answer.description}
    if answer.headers:
        made["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in answer.headers.items()
        }
    if answer.shape is not None and answer.media_type == JSON:
        made["content"] = {JSON: {"schema": _reference(answer.shape)}}
    elif answer.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.SEE_OTHER}:
        made["content"] = {answer.media_type: {"schema": {"type": "string"}}}
    return made


def _refusal(status: HTTPStatus) -> Schema:
    made: Schema = {
        "description": status.phrase,
        "content": {PROBLEM: {"schema": _reference(documents.Problem)}},
    }
    if status in _COME_BACK:
        about = {"description": "Seconds.", "schema": {"type": "integer"}}
        made["headers"] = {"Retry-After": about}
    return made


def _reference(shape: type[msgspec.Struct]) -> Schema:
    return {"$ref": _REFERENCE.format(name=shape.__name__)}


def _schemas() -> dict[str, Schema]:
    answered = [a.shape for o in OPERATIONS for a in o.answers if a.shape is not None]
    asked = [o.body for o in OPERATIONS if o.body is not None]
    shapes = list(dict.fromkeys([*answered, *asked, *_MORE_SHAPES]))
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
    for shape in _documents(documents.Document):
        if shape.__name__ in schemas:
            schemas[shape.__name__]["required"] = _always_there(shape)
    schemas["MessageCode"] = _message_codes()
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = schema["description"].replace("``", "`")
    return schemas


def _message_codes() -> Schema:
    known = [
        {"const": template.code, "description": template.outline}
        for template in sorted(templates(), key=lambda template: template.code)
    ]
    later = {"type": "string", "maxLength": CODE_LENGTH, "description": "One of a later version."}
    return {
        "description": "Which sentence a message is, so that it can be worded in another language. "
        "What stands in braces is in `messageParams`. A code keeps its meaning and its parameters.",
        "anyOf": [*known, later],
    }


def _documents(shape: type[msgspec.Struct]) -> Iterable[type[msgspec.Struct]]:
    for narrower in shape.__subclasses__():
        yield narrower
        yield from _documents(narrower)


def _always_there(shape: type[msgspec.Struct]) -> list[str]:
    """What an answer always has: msgspec takes a default for something that may be left out."""
    fields = msgspec.structs.fields(shape)
    return [entry.encode_name for entry in fields if entry.default is not UNSET]
