"""The events as AsyncAPI tells them, checked by the specification's own JSON Schema.

``asyncapi-3.0.0.schema.json`` is that of the package ``@asyncapi/specs`` (Apache-2.0), with other
white space.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from common import subjects
from coordinator.documents import EVENT_TYPES, SET_EVENT_TYPES, TaskNode
from coordinator.views.events import node_event
from tests.api.conftest import Client

SCHEMA = Path(__file__).parent / "asyncapi-3.0.0.schema.json"
TASK = "task-20260116-151234-a1b2c3d4"


@pytest.fixture
async def document(client: Client) -> Any:
    """The document as it is served."""
    answer = await client.get("/asyncapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    return await answer.json()


async def test_the_document_is_valid(document: Any) -> None:
    """AsyncAPI 3.0, by its own rules."""
    Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)


async def test_every_reference_leads_somewhere(document: Any) -> None:
    """And every shape is used."""

    def references(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(references, value))
        if not isinstance(value, dict):
            return set()
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))

    found = references(document)
    for reference in found:
        at = document
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]
    shapes = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert shapes <= found


async def test_every_event_has_its_subject(document: Any) -> None:
    """As the service publishes it."""
    told = {
        channel["address"].replace("{taskId}", TASK).replace("{set}", "web")
        for channel in document["channels"].values()
    }
    of_sets = {subjects.event(event_type, "set/web") for event_type in SET_EVENT_TYPES}
    assert told == {subjects.event(event_type, TASK) for event_type in EVENT_TYPES} | of_sets


async def test_an_event_is_of_its_shape(document: Any) -> None:
    """One that the service makes, and none of another type."""
    node = TaskNode(node_name="node-1", state="failed", batch=1, attempt=2, images=[])
    event = node_event("node.failed", event_id="1", source="ips", time=0, task_id=TASK, data=node)
    value = msgspec.json.decode(msgspec.json.encode(event))

    def fits(message: str) -> bool:
        payload = {"$ref": f"#/components/messages/{message}/payload"}
        validator = Draft7Validator({**payload, "components": document["components"]})
        return bool(validator.is_valid(value))

    assert fits("NodeFailed")
    assert not fits("NodeRetrying")
    assert not fits("TaskFailed")
