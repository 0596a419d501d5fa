"""Prints the shapes of ``/openapi.json`` as TypeScript, for the check of the page's JavaScript.

What the server answers is defined once, in its Structs: the page is checked against them and has
no second description of its own. ``Api.Task`` is the shape ``Task``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator.api.openapi import openapi_document

Schema = Mapping[str, Any]

_NAMES = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}


def declarations(document: Schema) -> str:
    """All shapes of an OpenAPI document as types of one global namespace."""
    schemas = document["components"]["schemas"]
    shapes = [f"  type {name} = {typescript(schema)};" for name, schema in schemas.items()]
    return "\n".join(["declare namespace Api {", *shapes, "}", ""])


def typescript(schema: Schema | bool) -> str:
    """One JSON Schema, of the kind that msgspec makes, as a type."""
    if isinstance(schema, bool):
        return "unknown"
    match schema:
        case {"$ref": str(target)}:
            made = target.rpartition("/")[2]
        case {"anyOf": list(options)}:
            made = " | ".join(typescript(option) for option in options)
        case {"enum": list(values)}:
            made = " | ".join(json.dumps(value) for value in values)
        case {"const": value}:
            made = json.dumps(value)
        case {"type": "array"}:
            made = f"Array<{typescript(schema.get('items', True))}>"
        case {"type": "object"}:
            made = _object(schema)
        case {"type": str(name)}:
            made = _NAMES.get(name, "unknown")
        case _:
            made = "unknown"
    return made


def _object(schema: Schema) -> str:
    if "properties" not in schema:
        return f"Record<string, {typescript(schema.get('additionalProperties', True))}>"
    required = schema.get("required", ())
    fields = (
        f"{name}{'' if name in required else '?'}: {typescript(kind)}"
        for name, kind in schema["properties"].items()
    )
    return f"{{ {'; '.join(fields)} }}"


if __name__ == "__main__":
    print(declarations(msgspec.json.decode(openapi_document())))  # noqa: T201 -- its whole purpose
