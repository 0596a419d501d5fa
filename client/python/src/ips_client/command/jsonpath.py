r"""``-o jsonpath=TEMPLATE``, as far as kubectl's is used: fields, indexes, ``*``, ranges, texts.

``{.tasks[*].taskId}``, ``{.labels['zone']}``, ``{range .nodes[*]}{.name}{"\n"}{end}``. What is not
there is empty, as in kubectl with ``--allow-missing-template-keys``. The template's own texts are
written as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ips_client.command.text import shown

_PIECE: Final = re.compile(r"\{([^{}]*)\}")
_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z0-9_-]+|\*)|\[(?:(?P<index>-?[0-9]{1,9})|(?P<every>\*)|'(?P<key>[^']*)')\]"
)
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
DEEPEST: Final = 20
"""Ranges in one another; the service's documents have five levels."""
Step = str | int
"""A name, an index, or ``*``."""
Piece = tuple[str, Any]
"""``text``, ``path``, or ``range`` with what is repeated."""


def render(template: str, document: Any) -> str:
    """What a template makes of a document. Raises ValueError for no template."""
    return "".join(_rendered(parsed(template), document))


def parsed(template: str) -> list[Piece]:
    """What a template consists of. Raises ValueError for no template."""
    return _nested(iter(_tokens(template)))


def _tokens(template: str) -> list[Piece]:
    tokens: list[Piece] = []
    at = 0
    for found in _PIECE.finditer(template):
        tokens += [("text", template[at : found.start()])] if found.start() > at else []
        tokens.append(_token(found[1].strip()))
        at = found.end()
    rest = template[at:]
    if "{" in rest or "}" in rest:
        raise ValueError(f"jsonpath: a brace is not closed in {template!r}")
    return [*tokens, ("text", rest)] if rest else tokens


def _token(words: str) -> Piece:
    if quoted := _STRING.fullmatch(words):
        try:
            return "text", json.loads(f'"{quoted[1]}"')
        except ValueError:
            raise ValueError(f"jsonpath: {words} is no text") from None
    if words == "end":
        return "end", None
    kind, _, path = words.partition(" ")
    return ("range", _path(path.strip())) if kind == "range" else ("path", _path(words))


def _path(text: str) -> Sequence[Step]:
    steps: list[Step] = []
    at = 1 if text.startswith("$") else 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"jsonpath: {text!r} is no path: {{.tasks[*].taskId}} is one")
        at = found.end()
        if found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append("*" if found["every"] else found["key"] or found["name"])
    return steps


def _nested(tokens: Iterator[Piece], depth: int = 0) -> list[Piece]:
    """Tokens up to the end of the range that they stand in, or of all."""
    pieces: list[Piece] = []
    for kind, value in tokens:
        if kind == "end":
            if not depth:
                raise ValueError("jsonpath: {end} without {range …}")
            return pieces
        if kind == "range":
            if depth == DEEPEST:
                raise ValueError(f"jsonpath: more than {DEEPEST} ranges stand in one another")
            pieces.append(("range", (value, _nested(tokens, depth + 1))))
        else:
            pieces.append((kind, value))
    if depth:
        raise ValueError("jsonpath: {range …} without {end}")
    return pieces


def _rendered(pieces: Sequence[Piece], document: Any) -> Iterator[str]:
    for kind, value in pieces:
        if kind == "text":
            yield value
        elif kind == "path":
            yield " ".join(map(_written, _found(value, document)))
        else:
            steps, repeated = value
            for item in _found(steps, document):
                yield from _rendered(repeated, item)


def _found(steps: Sequence[Step], document: Any) -> list[Any]:
    found = [document]
    for step in steps:
        found = [each for value in found for each in _children(value, step)]
    return found


def _children(value: Any, step: Step) -> list[Any]:
    if step == "*":
        return list(value.values() if isinstance(value, dict) else value if _is_list(value) else ())
    if isinstance(step, int):
        inside = _is_list(value) and -len(value) <= step < len(value)
        return [value[step]] if inside else []
    return [value[step]] if isinstance(value, dict) and step in value else []


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _written(value: Any) -> str:
    """A value as it may be written: what in it ends a line or steers a terminal is escaped."""
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
