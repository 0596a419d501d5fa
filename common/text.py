"""A sentence for people: a code with parameters beside its English.

``texts.py`` has all of them. What others said (a registry, a runtime) is a ``Text`` without a code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Final, TypedDict

import msgspec
from msgspec import Meta

from common.redaction import redact

Param = str | int | float
"""What a sentence can hold. Lists are joined by whoever makes the text."""
CODE_LENGTH: Final = 64
Code = Annotated[str, Meta(max_length=CODE_LENGTH)]
MessageText = Annotated[str, Meta(max_length=8192)]
"""A sentence as records and messages keep it; what is shown of it is much shorter."""

PARAM_LIMIT: Final = 300
"""Characters of a parameter: whoever sent it may have sent megabytes."""
KeptParam = (
    Annotated[str, Meta(max_length=1024)]
    | Annotated[int, Meta(ge=-(2**62), le=2**62)]
    | Annotated[float, Meta(ge=-1e15, le=1e15)]
)
Params = Annotated[dict[Code, KeptParam], Meta(max_length=16)]
"""As records and messages keep them."""

_CODE: Final = re.compile(r"[a-z][a-zA-Z]*(\.[a-z][a-zA-Z]*)*")


class Text(msgspec.Struct, frozen=True):
    """One sentence."""

    message: str
    """In English."""
    code: str = ""
    """Which sentence it is, for example ``node.unknown``; empty for what others said."""
    params: Mapping[str, Param] = {}
    """What stands in it, by name."""

    def __str__(self) -> str:
        return self.message


def text_of(message: str | None, code: str | None, params: Mapping[str, Param]) -> Text | None:
    """A text from the three fields in which it is kept; None where there is no message."""
    return Text(message, code or "", params) if message else None


class MessageFields(TypedDict):
    """The three fields in which records and messages keep a text."""

    message: str
    message_code: str
    message_params: dict[str, Param]


def fields_of(text: Text) -> MessageFields:
    """What to keep of a text: ``Outcome(**fields_of(text))``."""
    return {
        "message": text.message,
        "message_code": text.code,
        "message_params": dict(text.params),
    }


class Template:
    """A sentence with places: ``template(node="a")`` makes the text.

    ``english`` is a format string; its fields are the parameters. A text among them is cut to
    ``PARAM_LIMIT``, and no credentials of a URL stay in it.
    """

    def __init__(self, code: str, english: str) -> None:
        if _CODE.fullmatch(code) is None or len(code) > CODE_LENGTH or code in ALL_TEMPLATES:
            raise ValueError(f"{code} is no code, or there is one already")
        self.code = code
        self.english = english
        self.fields = frozenset(name for _, name, _, _ in Formatter().parse(english) if name)
        ALL_TEMPLATES[code] = self

    @property
    def outline(self) -> str:
        """The English with nothing but the names of the parameters in its places."""
        parts = Formatter().parse(self.english)
        return "".join(text + ("" if name is None else f"{{{name}}}") for text, name, _, _ in parts)

    def __call__(self, **params: Param) -> Text:
        """Fill it in. Raises KeyError where a parameter is missing or has no place."""
        if surplus := params.keys() - self.fields:
            raise KeyError(*sorted(surplus))
        bounded = {name: _bounded(value) for name, value in params.items()}
        return Text(self.english.format_map(bounded), self.code, bounded)


def _bounded(value: Param) -> Param:
    if not isinstance(value, str):
        return value
    text = redact(value)
    return text if len(text) <= PARAM_LIMIT else text[: PARAM_LIMIT - 1] + "…"


ALL_TEMPLATES: Final[dict[str, Template]] = {}
