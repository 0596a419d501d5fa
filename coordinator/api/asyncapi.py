"""``GET /asyncapi.json``: the events on NATS as AsyncAPI 3.0 tells them.

Payloads are the shapes that ``/openapi.json`` has, so that both documents say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from common.subjects import PREFIX
from common.version import VERSION
from coordinator.api.described import Schema
from coordinator.api.openapi import openapi_document
from coordinator.documents import EVENT_TYPES, FINAL_EVENT_TYPES, SET_EVENT_TYPES

_ABOUT: Final = (
    "CloudEvents 1.0 in structured JSON. Each is a core NATS message and is kept in the stream "
    "`IPS_EVENTS` for a day at most. `id` is unique for ever: a repeated delivery carries the same "
    "one. Exactly one of `task.completed`, `task.failed` and `task.cancelled` is ever sent for a "
    "task, and nothing of the task after it. Subscribe to "
    f"`{PREFIX}.event.>` for all events, to `{PREFIX}.event.*.*.<taskId>` for those of one task, "
    f"to `{PREFIX}.event.set.<set>.>` for those of one warm set."
)
_SUMMARIES: Final[Mapping[str, str]] = {
    "task.created": "A task is stored",
    "task.started": "A task's nodes are chosen and its first batch begins",
    "task.progress": "Where a task stands: at most once a second, and once before its end",
    "task.completed": "A task is over: not too many nodes failed",
    "task.failed": "A task is over: too many nodes failed, or none matched",
    "task.cancelled": "A task is over: somebody cancelled it",
    "node.succeeded": "Every image of a task is present on a node",
    "node.retrying": "An attempt on a node failed, and there will be another",
    "node.failed": "A node is given up",
    "node.removed": "A node ceased to exist before it was done, and left its task",
    "set.created": "A warm set is stored",
    "set.updated": "A warm set is another one",
    "set.deleted": "A warm set is gone; its images stay",
    "set.ready": "Every node of a set has become warm",
    "set.degraded": "Some nodes of a set cannot be warmed",
    "set.progress": "How many nodes of a set are how: at most once a second, when that changes",
    "set.node.warm": "A node that lacked an image of a set has all of them",
    "set.node.cold": "An image of a set is gone from a node that had them all",
}
_TASK_ID: Final = {
    "description": "The task that the event is about.",
    "examples": ["task-20260116-151234-a1b2c3d4"],
}


_SHAPES: Final = {
    "task.": "TaskEvent",
    "node.": "NodeEvent",
    "set.node.": "WarmSetNodeEvent",
    "set.deleted": "WarmSetDeletedEvent",
    "set.": "WarmSetEvent",
}
"""The shape of an event, by what its type begins with: the first that fits."""
_SET: Final = {"description": "The set that the event is about.", "examples": ["web"]}
_TYPES: Final = (*EVENT_TYPES, *SET_EVENT_TYPES)


@cache
def asyncapi_document() -> bytes:
    """The whole document as JSON."""
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Image Prewarm Service, events",
                "version": VERSION,
                "description": _ABOUT,
                "license": {"name": "MIT"},
            },
            "defaultContentType": "application/cloudevents+json",
            "servers": {
                "nats": {
                    "host": "localhost:4222",
                    "protocol": "nats",
                    "description": "The NATS that the coordinator starts or is told to use.",
                }
            },
            "channels": {_name(type_): _channel(type_) for type_ in _TYPES},
            "operations": {f"send{_name(type_)}": _operation(type_) for type_ in _TYPES},
            "components": {
                "messages": {_name(type_): _message(type_) for type_ in _TYPES},
                "schemas": _schemas(),
            },
        }
    )


def _name(event_type: str) -> str:
    return "".join(word.title() for word in event_type.split("."))


def _channel(event_type: str) -> Schema:
    address, parameters = f"{PREFIX}.event.{event_type}.{{taskId}}", {"taskId": _TASK_ID}
    if event_type in SET_EVENT_TYPES:
        address = f"{PREFIX}.event.set.{{set}}.{event_type.removeprefix('set.')}"
        parameters = {"set": _SET}
    return {
        "address": address,
        "summary": _SUMMARIES[event_type],
        "parameters": parameters,
        "messages": {_name(event_type): {"$ref": f"#/components/messages/{_name(event_type)}"}},
    }


def _operation(event_type: str) -> Schema:
    channel = f"#/channels/{_name(event_type)}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": _SUMMARIES[event_type],
        "messages": [{"$ref": f"{channel}/messages/{_name(event_type)}"}],
    }


def _message(event_type: str) -> Schema:
    made: Schema = {
        "name": event_type,
        "title": event_type,
        "summary": _SUMMARIES[event_type],
        "contentType": "application/cloudevents+json",
        "payload": {
            "allOf": [
                {"$ref": f"#/components/schemas/{_shape(event_type)}"},
                {"properties": {"type": {"const": event_type}}},
            ]
        },
    }
    if event_type in FINAL_EVENT_TYPES:
        made["description"] = "The last event of its task."
    return made


def _shape(event_type: str) -> str:
    for beginning, shape in _SHAPES.items():
        if event_type.startswith(beginning):
            return shape
    raise KeyError(event_type)


def _schemas() -> dict[str, Schema]:
    """What the events are made of, and nothing else."""
    known = msgspec.json.decode(openapi_document())["components"]["schemas"]
    needed: dict[str, Schema] = {}
    wanted = list(_SHAPES.values())
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed[name] = known[name]
            wanted.extend(_references(known[name]))
    return dict(sorted(needed.items()))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target.rpartition("/")[2]
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)
