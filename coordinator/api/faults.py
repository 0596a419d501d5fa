"""Every fault of a JSON value at once, by the very types that decode it and make the OpenAPI.

msgspec stops at the first fault, so its description of a type is walked here. What a type cannot
say is a check of its own, attached to it: ``Annotated[str, rule(check_label_value)]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Meta, inspect

from coordinator.documents import Fault

Check = Callable[[Any], Iterable[tuple[str, str]]]
"""What is wrong with a value of the right type: pointers from it on ("" is itself), messages."""

SHOWN: Final = 60
"""Characters of a client's own text that a message repeats."""
LARGE: Final = 10**18
"""No message repeats a number beyond (Python refuses to print one of 4,300 digits)."""


def rule(
    check: Check | None = None,
    *,
    called: str | None = None,
    description: str | None = None,
    examples: list[Any] | None = None,
    **bounds: Any,
) -> Meta:
    """Bounds as ``msgspec.Meta`` has them, a check, and the name of the type in messages."""
    extra = {"check": check, "called": called}
    return Meta(description=description, examples=examples, extra=extra, **bounds)


def faults(shape: inspect.Type, value: Any, at: str = "") -> Iterator[Fault]:
    """All that keeps a decoded JSON value from being of a type; ``at`` is its JSON pointer."""
    match shape:
        case inspect.Metadata():
            yield from _annotated(shape, value, at)
        case inspect.StructType() if isinstance(value, dict):
            yield from _of_struct(shape, value, at)
        case inspect.ListType() if isinstance(value, list):
            yield from _of_list(shape, value, at)
        case inspect.DictType() if isinstance(value, dict):
            for key, entry in value.items():
                yield from faults(shape.key_type, key, pointer(at, key))
                yield from faults(shape.value_type, entry, pointer(at, key))
        case _ if not _accepts(shape, value):
            yield Fault(field=at, message=f"must be {_called(shape)}, not {shown(value)}")


def pointer(at: str, step: str | int) -> str:
    """One step further along a JSON pointer (RFC 6901); a long name is cut."""
    return f"{at}/{clipped(str(step)).replace('~', '~0').replace('/', '~1')}"


def clipped(text: str) -> str:
    """A client's text, cut to what a message may repeat."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def shown(value: Any) -> str:
    """A JSON value in a message."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            return str(value) if -LARGE < value < LARGE else "a number that large"
        case str():
            return f'"{clipped(value)}"'
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "an object"
        case _:
            return str(value)


def _annotated(shape: inspect.Metadata, value: Any, at: str) -> Iterator[Fault]:
    extra = shape.extra or {}
    if extra.get("called") and not _accepts(shape.type, value):
        yield Fault(field=at, message=f"must be {extra['called']}, not {shown(value)}")
        return
    found = False
    for fault in faults(shape.type, value, at):
        found = True
        yield fault
    if not found and (check := extra.get("check")):
        for further, message in check(value):
            yield Fault(field=at + further, message=message)


def _of_struct(shape: inspect.StructType, value: Mapping[str, Any], at: str) -> Iterator[Fault]:
    known = {field.encode_name: field for field in shape.fields}
    for name, field in known.items():
        if name in value:
            yield from faults(field.type, value[name], pointer(at, name))
        elif field.required:
            yield Fault(field=pointer(at, name), message="is required")
    for name in value:
        if name not in known:
            yield Fault(field=pointer(at, name), message="is an unknown field")


def _of_list(shape: inspect.ListType, value: list[Any], at: str) -> Iterator[Fault]:
    if not _within(len(value), shape.min_length, shape.max_length):
        yield Fault(field=at, message=f"must be {_called(shape)}, not {shown(value)}")
    for index, entry in enumerate(value[: shape.max_length]):
        yield from faults(shape.item_type, entry, pointer(at, index))


def _accepts(shape: inspect.Type, value: Any) -> bool:
    """Whether a value is of a type without parts, or of one of several."""
    match shape:
        case inspect.Metadata():
            return _accepts(shape.type, value)
        case inspect.UnionType():
            return any(_accepts(one, value) for one in shape.types)
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


def _called(shape: inspect.Type) -> str:
    """A type in the words of a message."""
    match shape:
        case inspect.Metadata():
            text = (shape.extra or {}).get("called") or _called(shape.type)
        case inspect.UnionType():
            text = " or ".join(_called(one) for one in shape.types)
        case inspect.IntType():
            text = f"a whole number from {shape.ge or 0:,} to {shape.le:,}"
        case inspect.StrType():
            text = f"a text{_of(shape.min_length, shape.max_length, 'characters')}"
        case inspect.ListType():
            text = f"a list{_of(shape.min_length, shape.max_length, 'entries')}"
        case inspect.EnumType():
            text = f"one of {', '.join(str(choice.value) for choice in shape.cls)}"
        case _:
            text = "an object"
    return text


def _of(least: int | None, most: int | None, things: str) -> str:
    if most is None:
        return ""
    return f" of {least:,} to {most:,} {things}" if least else f" of at most {most:,} {things}"
