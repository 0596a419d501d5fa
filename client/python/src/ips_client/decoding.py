"""JSON documents as typed objects: a dataclass is the shape, its field names in camelCase.

Unknown fields are ignored, so that a newer service can be talked to; a missing or wrong one is a
``ValueError`` that names its place. The reader of a class is made once, when first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

D = TypeVar("D", bound="Document")

Read = Callable[[Any], Any]

_READERS: Final[dict[type, Read]] = {}


@dataclass(frozen=True, kw_only=True)
class Document:
    """What the service sent, typed; ``document`` is the same as it came, unknown fields too."""

    document: Mapping[str, Any] = field(repr=False, compare=False)


def decode(shape: type[D], value: Any) -> D:
    """Read a decoded JSON value as a shape. Raises ValueError."""
    reader = _READERS.get(shape) or _READERS.setdefault(shape, _reader(shape))
    document: D = reader(value)
    return document


def _reader(shape: type[Document]) -> Read:
    hints = get_type_hints(shape)
    members = [
        (each.name, _camel(each.name), _of(hints[each.name]), each.default is MISSING)
        for each in fields(shape)
        if each.name != "document"
    ]

    def read(value: Any) -> Document:
        if not isinstance(value, dict):
            raise ValueError("is no object")  # noqa: TRY004 -- the data is wrong, not the call
        found: dict[str, Any] = {}
        for name, key, convert, required in members:
            if key in value:
                try:
                    found[name] = convert(value[key])
                except ValueError as why:
                    raise ValueError(f"/{key}{_joined(why)}") from None
            elif required:
                raise ValueError(f"/{key} is missing")
        return shape(document=value, **found)

    return read


def _joined(why: ValueError) -> str:
    text = str(why)
    return text if text.startswith("/") else f" {text}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _of(hint: Any) -> Read:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _of_union([each for each in inner if each is not NoneType])
    if origin is tuple:
        return _of_list(_of(inner[0]))
    if origin is not None:
        return _PLAIN[dict]
    return _PLAIN[hint] if hint in _PLAIN else _reader(hint)


def _of_union(choices: list[Any]) -> Read:
    if len(choices) == 1:
        return _of(choices[0])

    def read(value: Any) -> Any:
        if type(value) not in choices:
            raise ValueError("has the wrong type")
        return value

    return read


def _of_list(item: Read) -> Read:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise ValueError("is no list")
        return tuple(map(item, value))

    return read


def _of_plain(kind: type, called: str) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"is no {called}")
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in {int, float}:
        raise ValueError("is no number")
    return float(value)


def _time(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        raise ValueError("is no time as RFC 3339 writes it") from None


_PLAIN: Final[Mapping[type, Read]] = {
    str: _of_plain(str, "text"),
    int: _of_plain(int, "whole number"),
    bool: _of_plain(bool, "truth value"),
    dict: _of_plain(dict, "object"),
    float: _number,
    datetime: _time,
}
