"""What the service says, in the user's language: worded from its code and parameters.

``IPS_LANG``, or else what the terminal's own settings say (``LC_ALL``, ``LC_MESSAGES``, ``LANG``),
chooses Chinese; everything else is English, which is what comes with each code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ips_client.documents import AnyMessage
    from ips_client.errors import IpsError

_VARIABLES: Final = ("IPS_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
_PLACE: Final = re.compile(r"\{(\w+)\}")
_NUMBER: Final = re.compile(r"\d[\d,]*")
_WORDED: Final = frozenset({"got", "status"})
"""Parameters that hold words of the service's own, at times."""


@cache
def is_chinese() -> bool:
    """Whether the user reads Chinese."""
    found = next((text for name in _VARIABLES if (text := os.environ.get(name))), "")
    return found.lower().startswith("zh")


def said(document: AnyMessage) -> str:
    """The message of a document, empty where it has none."""
    return _worded(document.message or "", document.document)


def refusal(error: IpsError) -> str:
    """What an error says."""
    problem = getattr(error, "problem", None)
    return _worded(str(error), {} if problem is None else problem.document)


def faults(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every fault that a problem document names: its field, and what is wrong with it."""
    entries = document.get("errors")
    found = [each for each in entries if isinstance(each, dict)] if type(entries) is list else []
    return [(str(each.get("field")), _worded(str(each.get("message")), each)) for each in found]


def _worded(english: str, document: Mapping[str, Any]) -> str:
    """The English, where the code is unknown or a parameter is missing."""
    if not is_chinese():
        return english
    from ips_client.command import zh  # noqa: PLC0415 -- most users read English

    code, params = document.get("messageCode"), document.get("messageParams")
    words = zh.MESSAGES.get(code) if isinstance(code, str) else None
    if words is None or not isinstance(params, dict):
        return english
    if not params.keys() >= set(_PLACE.findall(words)):
        return english
    return _PLACE.sub(lambda place: _value(place[1], params[place[1]], zh.VALUES), words)


def _value(name: str, value: Any, words: Mapping[str, str]) -> str:
    if isinstance(value, int | float):
        return f"{value:,}"
    text = str(value)
    if name not in _WORDED:
        return text
    number = _NUMBER.search(text)
    known = words.get(_NUMBER.sub("{n}", text, count=1))
    return text if known is None else known.replace("{n}", number[0] if number else "")
