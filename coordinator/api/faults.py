"""Every fault of a JSON value at once, by the very types that decode it and make the OpenAPI.

msgspec stops at the first fault, so its description of a type is walked here. What a type cannot
say is a check of its own, attached to it: ``Annotated[str, rule(check_label_value)]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, Meta, inspect

from common import texts
from common.redaction import redact
from common.text import Text
from coordinator.documents import Fault

Check = Callable[[Any], Iterable[tuple[str, Text]]]
"""What is wrong with a value of the right type: pointers from it on ("" is itself), sentences."""
Path = tuple[str | int, ...]
"""Names and places that lead into a JSON value. Only a fault makes a pointer of them."""
Demand = Callable[[Any], Text]
"""What a value must be, as it is told to whoever sent another."""

SHOWN: Final = 60
"""Characters of a client's own text that a message repeats."""
LOOKED_AT: Final = 4096
"""Characters of a text in which credentials are looked for before it is cut: in 3 MiB that would
take seconds."""
LARGE: Final = 10**18
"""No message repeats a number beyond (Python refuses to print one of 4,300 digits)."""


def rule(
    check: Check | None = None,
    *,
    demand: Demand | None = None,
    description: str | None = None,
    examples: list[Any] | None = None,
    **bounds: Any,
) -> Meta:
    """Bounds as ``msgspec.Meta`` has them, a check, and a demand in place of the type's own."""
    extra = {"check": check, "demand": demand}
    return Meta(description=description, examples=examples, extra=extra, **bounds)


def fault(field: str, text: Text) -> Fault:
    """One thing wrong with a request, at a pointer into its body or what else ``field`` names."""
    return Fault(
        field=field,
        message=text.message,
        message_code=text.code or UNSET,
        message_params=text.params if text.code else UNSET,
    )


def faults(shape: inspect.Type, value: Any, at: Path = ()) -> Iterator[Fault]:
    """All that keeps a decoded JSON value from being of a type; ``at``: the way to it."""
    match shape:
        case inspect.Metadata():
            yield from _annotated(shape, value, at)
        case inspect.StructType() if isinstance(value, dict):
            yield from _of_struct(shape, value, at)
        case inspect.ListType() if isinstance(value, list):
            yield from _of_list(shape, value, at)
        case inspect.DictType() if isinstance(value, dict):
            if not _within(len(value), shape.min_length, shape.max_length):
                most = shape.max_length or len(value)
                yield fault(pointer(at), texts.VALUE_NOT_FILLED_OBJECT(most=most, count=len(value)))
                return
            for key, entry in value.items():
                yield from faults(shape.key_type, key, (*at, key))
                yield from faults(shape.value_type, entry, (*at, key))
        case _ if not _accepts(shape, value):
            yield fault(pointer(at), _demand(shape, shown(value)))


def pointer(path: Path) -> str:
    """A JSON pointer (RFC 6901); a long name in it is cut."""
    steps = (clipped(str(step)).replace("~", "~0").replace("/", "~1") for step in path)
    return "".join(f"/{step}" for step in steps)


def clipped(text: str) -> str:
    """A client's text, cut to what a message may repeat; after a cut nothing finds credentials."""
    known = redact(text[:LOOKED_AT])
    return known if len(known) <= SHOWN else known[: SHOWN - 1] + "…"


def quoted(text: str) -> str:
    """A client's text in a message."""
    return f'"{clipped(text)}"'


def shown(value: Any) -> str:
    """A JSON value in a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            return str(value) if -LARGE < value < LARGE else "a number that large"
        case str():
            return quoted(value)
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "an object"
        case _:
            return str(value)


def _annotated(shape: inspect.Metadata, value: Any, at: Path) -> Iterator[Fault]:
    extra = shape.extra or {}
    if (demand := extra.get("demand")) and not _accepts(shape.type, value):
        yield fault(pointer(at), demand(value))
        return
    found = False
    for each in faults(shape.type, value, at):
        found = True
        yield each
    if not found and (check := extra.get("check")):
        for further, text in check(value):
            yield fault(pointer(at) + further, text)


def _of_struct(shape: inspect.StructType, value: Mapping[str, Any], at: Path) -> Iterator[Fault]:
    known = {field.encode_name: field for field in shape.fields}
    for name, field in known.items():
        if name in value:
            yield from faults(field.type, value[name], (*at, name))
        elif field.required:
            yield fault(pointer((*at, name)), texts.FIELD_REQUIRED())
    for name in value:
        if name not in known:
            yield fault(pointer((*at, name)), texts.FIELD_UNKNOWN())


def _of_list(shape: inspect.ListType, value: list[Any], at: Path) -> Iterator[Fault]:
    if not _within(len(value), shape.min_length, shape.max_length):
        yield fault(pointer(at), _demand(shape, shown(value)))
    for index, entry in enumerate(value[: shape.max_length]):
        yield from faults(shape.item_type, entry, (*at, index))


def _accepts(shape: inspect.Type, value: Any) -> bool:  # noqa: PLR0911 -- a table
    """Whether a value is of a type without parts, or of one of several."""
    match shape:
        case inspect.Metadata():
            return _accepts(shape.type, value)
        case inspect.UnionType():
            return any(_accepts(one, value) for one in shape.types)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and _within(value, shape.ge, shape.le)
        case inspect.StrType():
            return isinstance(value, str) and _fits(shape, value)
        case inspect.EnumType():
            return isinstance(value, str) and value in {one.value for one in shape.cls}
        case _:
            return False  # a type with parts, whose value is none


def _fits(shape: inspect.StrType, value: str) -> bool:
    length = _within(len(value), shape.min_length, shape.max_length)
    return length and (shape.pattern is None or re.fullmatch(shape.pattern, value) is not None)


def _within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _demand(shape: inspect.Type, got: str) -> Text:
    """What a value must be, by its type alone."""
    match shape:
        case inspect.Metadata():
            text = _demand(shape.type, got)
        case inspect.BoolType():
            text = texts.VALUE_NOT_FLAG(got=got)
        case inspect.IntType():
            text = texts.VALUE_NOT_NUMBER(least=shape.ge or 0, most=shape.le or LARGE, got=got)
        case inspect.StrType(max_length=None):
            text = texts.VALUE_NOT_TEXT(got=got)
        case inspect.StrType(max_length=int(most)):
            text = texts.VALUE_NOT_SHORT_TEXT(most=most, got=got)
        case inspect.ListType(max_length=None):
            text = texts.VALUE_NOT_LIST(got=got)
        case inspect.ListType(max_length=int(most)):
            text = texts.VALUE_NOT_FILLED_LIST(least=shape.min_length or 0, most=most, got=got)
        case inspect.EnumType():
            choices = ", ".join(str(choice.value) for choice in shape.cls)
            text = texts.VALUE_NOT_CHOICE(choices=choices, got=got)
        case _:
            text = texts.VALUE_NOT_OBJECT(got=got)
    return text
