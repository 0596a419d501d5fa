"""Label selectors, as kubectl's ``-l`` takes them: ``a=b,c!=d,e in (f,g),!h,i``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from common import texts
from common.labels import is_label_key, is_label_value
from common.text import Text
from coordinator.core.task import Operator, Requirement

_TERM: Final = re.compile(
    r"""(?:
      !\s*(?P<absent>[^\s!=<>(),]+)
    | (?P<key>[^\s!=<>(),]+)\s*
      (?: (?P<equality>==|=|!=|>|<)\s*(?P<value>[^\s!=<>(),]*)
        | (?P<set>in|notin)\s*\((?P<values>[^()]*)\)
        | )
    )""",
    re.VERBOSE,
)
_INTEGER: Final = re.compile(r"[0-9]{1,18}")
_OPERATORS: Final = {
    "=": Operator.IN,
    "==": Operator.IN,
    "in": Operator.IN,
    "!=": Operator.NOT_IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GT,
    "<": Operator.LT,
}


class InvalidSelector(ValueError):  # noqa: N818 -- named as InvalidReference is
    """A text is no label selector; ``text`` says what is wrong, and where."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.message)
        self.text = text


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector; an empty one demands nothing. Raises InvalidSelector."""
    if not text.strip():
        return ()
    return tuple(_requirement(term.strip()) for term in _terms(text))


def _terms(text: str) -> Iterator[str]:
    """Cut at commas, but not at those of a set."""
    start, in_set = 0, False
    for index, character in enumerate(text):
        if character == "," and not in_set:
            yield text[start:index]
            start = index + 1
        elif character in "()":
            in_set = character == "("
    yield text[start:]


def _requirement(term: str) -> Requirement:
    found = _TERM.fullmatch(term)
    if found is None:
        raise InvalidSelector(texts.SELECTOR_NO_TERM(text=term))
    requirement = _read(found)
    if not is_label_key(requirement.key):
        raise InvalidSelector(texts.SELECTOR_KEY(text=requirement.key))
    for value in requirement.values:
        _check_value(requirement.operator, value)
    return requirement


def _read(found: re.Match[str]) -> Requirement:
    if found["absent"]:
        return Requirement(key=found["absent"], operator=Operator.DOES_NOT_EXIST)
    sign = found["equality"] or found["set"]
    if sign is None:
        return Requirement(key=found["key"], operator=Operator.EXISTS)
    values = [found["value"]] if found["equality"] else found["values"].split(",")
    return Requirement(
        key=found["key"],
        operator=_OPERATORS[sign],
        values=tuple(value.strip() for value in values),
    )


def _check_value(operator: Operator, value: str) -> None:
    if operator in {Operator.GT, Operator.LT}:
        if not _INTEGER.fullmatch(value):
            raise InvalidSelector(texts.SELECTOR_NUMBER(text=value))
    elif not is_label_value(value):
        raise InvalidSelector(texts.SELECTOR_VALUE(text=value))
