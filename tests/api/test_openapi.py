from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from coordinator.core.task import TaskStatus
from tests.api.conftest import Client
from tests.api.fake_engine import FakeEngine, not_found, pulled

Create = Callable[..., Awaitable[Any]]


@pytest.fixture
async def document(client: Client) -> Any:
    """The document as it is served."""
    answer = await client.get("/openapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    return await answer.json()


def check(document: Any, shape: str, value: Any) -> None:
    """A value is of a shape, which allows no fields that it does not name."""
    schemas = {
        name: {"additionalProperties": False} | schema if "properties" in schema else schema
        for name, schema in document["components"]["schemas"].items()
    }
    whole = {"$ref": f"#/components/schemas/{shape}", "components": {"schemas": schemas}}
    OAS31Validator(whole).validate(value)


async def test_the_document_is_valid(document: Any) -> None:
    """OpenAPI 3.1, by its own rules."""
    OpenAPIV31SpecValidator(document).validate()


def _routes(client: Client) -> Iterator[tuple[str, str]]:
    assert client.app is not None
    for route in client.app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            yield route.method.lower(), route.resource.canonical


async def test_the_document_tells_of_every_route(document: Any, client: Client) -> None:
    """Neither a route without a word about it, nor a word about no route."""
    told = {(method, path) for path, item in document["paths"].items() for method in item}
    pages = ("/web/{path}", "/web", "/docs", "/docs/", "/openapi.json", "/asyncapi.json")
    unsaid = {("get", path) for path in pages}
    assert told == set(_routes(client)) - unsaid


async def test_the_limits_that_validate_are_the_limits_shown(document: Any) -> None:
    """One Struct is both."""
    fields = document["components"]["schemas"]["CreateTask"]["properties"]
    assert fields["batchSize"] == {
        "description": "Nodes in one batch.",
        "type": "integer",
        "minimum": 1,
        "maximum": 10_000,
        "default": 10,
    }
    assert (fields["images"]["minItems"], fields["images"]["maxItems"]) == (1, 50)
    assert document["components"]["schemas"]["CreateTask"]["additionalProperties"] is False
    assert document["components"]["schemas"]["CreateTask"]["required"] == ["images"]


async def test_answers_are_as_the_document_says(
    document: Any, client: Client, engine: FakeEngine, create: Create
) -> None:
    """A task at every stage of its life, its nodes, lists and refusals."""
    body = {"images": ["a", "b"], "webhookUrl": "http://h/", "nodeNames": ["x", "y", "z"]}
    check(document, "CreateTask", body)
    task = await create(**body)
    check(document, "Task", task)
    path = f"/api/v1/tasks/{task['taskId']}"

    async def check_all() -> None:
        check(document, "Task", await (await client.get(path)).json())
        check(document, "TaskList", await (await client.get("/api/v1/tasks")).json())
        check(document, "TaskNodeList", await (await client.get(f"{path}/nodes")).json())

    engine.started(task["taskId"], ["x", "y", "z"])
    engine.outcome(task["taskId"], "x", pulled("a", "b"))
    engine.outcome(task["taskId"], "y", not_found("a", "b"))
    await check_all()
    check(document, "Cancelled", await (await client.delete(path)).json())
    await check_all()
    assert engine.all_heads[task["taskId"]].status is TaskStatus.CANCELLED
    check(document, "Problem", await (await client.post("/api/v1/tasks", json={})).json())
    check(document, "Problem", await (await client.delete(path)).json())
