"""JSON documents as typed objects, by msgspec: field names in camelCase, unknown ones ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self

D = TypeVar("D", bound="Document")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time as RFC 3339 writes it, with its offset."""


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", dict=True):
    """What the service sent, typed. Two are equal where what is typed is."""

    @property
    def document(self) -> Mapping[str, Any]:
        """The same as it came, unknown fields too."""
        found: Mapping[str, Any] = self.__dict__.get("_document", {})
        return found

    def of(self, document: Mapping[str, Any]) -> Self:
        """Note what it was read from; itself."""
        self.__dict__["_document"] = document
        return self


def decode(shape: type[D], value: Any) -> D:
    """Read a decoded JSON value as a shape. Raises ValueError, which names the wrong place."""
    found = msgspec.convert(value, shape)
    _attach(found, value)
    return found


def _attach(found: Document, value: Mapping[str, Any]) -> None:
    """Give each document within a document what it was read from."""
    found.of(value)
    for name, key in _holders(type(found)):
        inner = getattr(found, name)
        if isinstance(inner, Document):
            _attach(inner, value[key])
        elif isinstance(inner, tuple):
            for each, one in zip(inner, value.get(key, ()), strict=True):
                _attach(each, one)


@cache
def _holders(shape: type[Document]) -> tuple[tuple[str, str], ...]:
    """The fields, by both names, that hold documents."""
    fields = msgspec.structs.fields(shape)
    return tuple((each.name, each.encode_name) for each in fields if _holds(each.type))


def _holds(hint: Any) -> bool:
    inner = getattr(hint, "__args__", ())
    return any(map(_holds, inner)) or (isinstance(hint, type) and issubclass(hint, Document))
