"""Values of every shape that is decoded, and the same with anything at any place of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st
from msgspec import inspect

DEEP: Final = "deep"
"""Stands for ten thousand lists within one another, which no encoder writes."""
HUGE: Final = "huge"
"""Stands for a number of four hundred digits."""
_RAW: Final = {f'"{DEEP}"': "[" * 10_000, f'"{HUGE}"': "9" * 400}


@cache
def values(shape: Any) -> st.SearchStrategy[Any]:
    """What a type takes, as JSON's own values; its bounds are kept, and reached."""
    return _values(inspect.type_info(shape))


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 -- a table
    match kind:
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most, allow_nan=False, allow_infinity=False)
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=False)
        case inspect.StrType(max_length=most):
            return st.text(max_size=min(5, most or 5))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.EnumType(cls=members):
            return st.sampled_from([member.value for member in members])
        case inspect.UnionType(types=types):
            return st.one_of([_values(one) for one in types])
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return st.lists(_values(item), min_size=kind.min_length or 0, max_size=3)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=3)
        case inspect.StructType():
            return _struct(kind)
    raise TypeError(kind)


def _struct(kind: inspect.StructType) -> st.SearchStrategy[Any]:
    tag = {} if kind.tag_field is None else {kind.tag_field: st.just(kind.tag)}
    required = {f.encode_name: _values(f.type) for f in kind.fields if f.required}
    optional = {f.encode_name: _values(f.type) for f in kind.fields if not f.required}
    return st.fixed_dictionaries(required | tag, optional=optional)


def unbounded(  # noqa: C901, PLR0912 -- a table of the kinds of types
    kind: inspect.Type, where: str = "$"
) -> Iterator[str]:
    """Where a type takes a number, a text or a collection of any size."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            if kind.ge is None or kind.le is None:
                yield where
        case inspect.StrType():
            if kind.max_length is None and not (kind.pattern or "").endswith(r"\Z"):
                yield where
        case inspect.ListType() | inspect.VarTupleType():
            if kind.max_length is None:
                yield where
            yield from unbounded(kind.item_type, f"{where}[]")
        case inspect.DictType():
            if kind.max_length is None:
                yield where
            yield from unbounded(kind.key_type, f"{where}.key")
            yield from unbounded(kind.value_type, f"{where}.value")
        case inspect.UnionType(types=types):
            for one in types:
                yield from unbounded(one, where)
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from unbounded(field.type, f"{where}.{field.encode_name}")
        case _:
            pass


@cache
def anything() -> st.SearchStrategy[Any]:
    """Any value of JSON, those that have broken something first."""
    numbers = [-1, 0, 10**9, 2**53, 2**62, 2**63 - 1, 2**64, 10**18, 1e300, -1e300, 5e-324]
    texts = ["", ">", "*", "\x00", "\U0010ffff", "9" * 400, "x" * 70_000, DEEP, HUGE]
    leaves = st.sampled_from([None, True, *numbers, *texts]) | st.integers() | st.text(max_size=9)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> bytes:
    """A value as JSON with something else at one place of it, or at its top."""
    copy = json.loads(json.dumps(value))
    places = list(_places(copy))
    where = draw(st.sampled_from([None, *places])) if places else None
    if where is None:
        copy = draw(anything())
    else:
        holder, name = where
        holder[name] = draw(anything())
    return written(copy)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield value, name
            yield from _places(value[name])


def written(value: Any) -> bytes:
    """The bytes of a value; what no encoder writes is put in by hand."""
    text = json.dumps(value, ensure_ascii=False)
    for name, raw in _RAW.items():
        text = text.replace(name, raw)
    return text.encode(errors="replace")
