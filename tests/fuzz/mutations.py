"""Messages that are nearly right, and some that are nothing: made from right ones, by a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

HOSTILE: Final[tuple[Any, ...]] = (
    None,
    True,
    "",
    "\x00",
    "\u202e\x1b[2J",
    "a" * 5000,
    "task-20260116-151234-a1b2c3d4",
    "{node}",
    "../../etc/passwd",
    0,
    -1,
    2**53,
    2**63,
    10**300,
    1e308,
    -0.0,
    [],
    {},
    [[[[[]]]]],
    {"kind": "assign"},
)
MOST_BYTES: Final = 200_000
MOST_ITEMS: Final = 600
"""Of a list that is there many times: multiplied three times over it would fill the memory."""


def mutated(rng: random.Random, right: Any) -> bytes:
    """One message made of a right one, itself a document of dicts, lists and values."""
    text = json.dumps(right).encode()
    how: Callable[[random.Random, Any, bytes], bytes] = rng.choice(_WAYS)
    return how(rng, json.loads(text), text)[:MOST_BYTES]


def _as_it_is(_rng: random.Random, _document: Any, text: bytes) -> bytes:
    return text


def _other_values(rng: random.Random, document: Any, _text: bytes) -> bytes:
    for _ in range(rng.randint(1, 3)):
        document = _with_another(rng, document)
    return json.dumps(document).encode(errors="surrogatepass")


def _with_another(rng: random.Random, document: Any) -> Any:
    """A document in which one value, anywhere, is another one, is gone, or is there many times."""
    if not document or not isinstance(document, dict | list) or rng.random() < 0.1:
        return deepcopy(rng.choice(HOSTILE))
    place: Any = rng.choice(list(document) if isinstance(document, dict) else range(len(document)))
    match rng.randrange(5):
        case 0:
            del document[place]
        case 1 if isinstance(document, list):
            return (document * rng.choice((2, 50, 300)))[:MOST_ITEMS]
        case 1 if isinstance(document, dict):
            document[f"{place}x"] = document[place]
        case _:
            document[place] = _with_another(rng, document[place])
    return document


def _other_bytes(rng: random.Random, _document: Any, text: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut_short(rng: random.Random, _document: Any, text: bytes) -> bytes:
    return text[: rng.randrange(len(text))]


def _noise(rng: random.Random, _document: Any, _text: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 20, 2000)))


def _deep(rng: random.Random, _document: Any, text: bytes) -> bytes:
    return b'{"x":' * rng.choice((10, 1000, 20_000)) + text


_WAYS: Final = (
    _as_it_is,
    _other_values,
    _other_values,
    _other_values,
    _other_values,
    _other_bytes,
    _other_bytes,
    _cut_short,
    _noise,
    _deep,
)
