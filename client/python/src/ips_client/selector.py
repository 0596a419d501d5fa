"""Label selectors, as kubectl's ``-l`` takes them, in the two forms that a create has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

_COMMA_OUTSIDE: Final = re.compile(r",(?![^(]*\))")
_TERM: Final = re.compile(
    r"""\s*(?:
      !\s*(?P<absent>[^\s!=<>(),]+)
    | (?P<key>[^\s!=<>(),]+)\s*
      (?: (?P<sign>==|=|!=|>|<)\s*(?P<value>[^\s!=<>(),]*)
        | \s(?P<set>in|notin)\s*\((?P<values>[^()]*)\)
        | )
    )\s*""",
    re.VERBOSE,
)
_OPERATORS: Final = {"in": "In", "notin": "NotIn", "!=": "NotIn", ">": "Gt", "<": "Lt"}


class Selection(NamedTuple):
    """What a selector demands; all of it must hold."""

    labels: Mapping[str, str]
    """``nodeSelector``."""
    expressions: Sequence[Mapping[str, Any]]
    """``matchExpressions``."""


def parse_selector(text: str) -> Selection:
    """Read ``a=b,c!=d,e in (f,g),h,!i,j>1``. A ValueError says what is wrong."""
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    for term in _COMMA_OUTSIDE.split(text) if text.strip() else ():
        found = _TERM.fullmatch(term)
        if found is None:
            raise ValueError(
                f"invalid selector term {term.strip()!r}; examples: a=b, a!=b, a in (b,c), !a"
            )
        key, value = found["key"], found["value"]
        if found["sign"] in {"=", "=="} and labels.setdefault(key, value) == value:
            continue
        expressions.append(_expression(found))
    return Selection(labels, expressions)


def _expression(found: re.Match[str]) -> dict[str, Any]:
    if found["absent"]:
        return {"key": found["absent"], "operator": "DoesNotExist"}
    if found["set"]:
        values = [value.strip() for value in found["values"].split(",")]
        return {"key": found["key"], "operator": _OPERATORS[found["set"]], "values": values}
    if found["sign"]:
        operator = _OPERATORS.get(found["sign"], "In")
        return {"key": found["key"], "operator": operator, "values": [found["value"]]}
    return {"key": found["key"], "operator": "Exists"}
