"""How an operation is described for OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from coordinator.api.answers import JSON
from coordinator.api.queries import LARGEST_OFFSET, PageSizes

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DocumentedAnswer:
    """One way in which an operation ends well; ``shape`` is a Struct where it has a body."""

    status: HTTPStatus
    description: str
    shape: type[msgspec.Struct] | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route."""

    method: str
    path: str
    name: str
    summary: str
    answers: tuple[DocumentedAnswer, ...]
    refusals: tuple[HTTPStatus, ...] = ()
    parameters: tuple[Schema, ...] = ()
    body: type[msgspec.Struct] | None = None
    body_required: bool = True


# ── parameters ───────────────────────────────────────────────────────────────────────────────


def query(name: str, description: str, schema: Schema) -> Schema:
    """A parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def path(name: str, example: str) -> Schema:
    """A part of the path."""
    schema = {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


def pages(sizes: PageSizes) -> tuple[Schema, ...]:
    """Which part of a list."""
    limit = {"type": "integer", "minimum": 0, "maximum": sizes.most, "default": sizes.default}
    offset = {"type": "integer", "minimum": 0, "maximum": LARGEST_OFFSET, "default": 0}
    return (
        query("limit", "How many entries; 0 counts as absent.", limit),
        query("offset", "How many entries to leave out first.", offset),
    )
