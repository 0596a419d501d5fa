"""The types that the page's JavaScript is checked against are the shapes of the REST API."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from coordinator.api.openapi import openapi_document
from scripts.page.api_types import declarations, typescript


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 0}, "number"),
        ({"$ref": "#/components/schemas/Task"}, "Task"),
        ({"type": "string", "enum": ["a", "b"]}, '"a" | "b"'),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "number | string"),
        ({"type": "array", "items": {"type": "string"}}, "Array<string>"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "Record<string, string>"),
        ({}, "unknown"),
        (True, "unknown"),
    ],
)
def test_a_schema_as_a_type(schema: dict[str, Any], expected: str) -> None:
    """Each kind that msgspec makes."""
    assert typescript(schema) == expected


def test_what_may_be_left_out_may_be_missing() -> None:
    """A page that takes it for always there does not pass the check."""
    fields = {"always": {"type": "boolean"}, "maybe": {"type": "number"}}
    made = typescript({"type": "object", "properties": fields, "required": ["always"]})
    assert made == "{ always: boolean; maybe?: number }"


def test_every_shape_is_declared() -> None:
    """As a type of the namespace ``Api``; none of them is unknown."""
    document = msgspec.json.decode(openapi_document())
    text = declarations(document)
    for name in document["components"]["schemas"]:
        assert f"  type {name} = " in text
    assert not re.search(r"(?<![\w.\"])unknown\b(?!\??:)", text)
