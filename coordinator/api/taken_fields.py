"""Fields of a create's body that other bodies have too, with the same rules."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import NODEFAULT

from coordinator.api.create_body import CreateTask

_HINTS: Final = get_type_hints(CreateTask, include_extras=True)

TakenField = tuple[str, Any] | tuple[str, Any, Any]


def taken(names: Collection[str]) -> list[TakenField]:
    """These fields of ``CreateTask``, as ``msgspec.defstruct`` takes them."""
    return [_field(each) for each in msgspec.structs.fields(CreateTask) if each.name in names]


def _field(entry: msgspec.structs.FieldInfo) -> TakenField:
    if entry.default is not NODEFAULT:
        return entry.name, _HINTS[entry.name], entry.default
    if entry.default_factory is not NODEFAULT:
        made = msgspec.field(default_factory=entry.default_factory)
        return entry.name, _HINTS[entry.name], made
    return entry.name, _HINTS[entry.name]
