"""Documents of YAML and JSON as plain JSON values, and nothing else: what a request may carry.

Values are made of nodes one by one. An alias is one value in several places; what the whole would
come to as JSON is counted before anything is written, so that few bytes cannot become many.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import yaml

from ips_client.image_reference import quoted
from ips_client.manifests import BOOL, FLOAT, INT, MERGE, NULL, TEXT

LARGEST: Final = 1 << 20
"""Characters of a document as JSON."""
DEEPEST: Final = 50
"""Values in one another."""
_MAPPINGS: Final = frozenset({"", "tag:yaml.org,2002:map"})
_SEQUENCES: Final = frozenset({"", "tag:yaml.org,2002:seq"})
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_KINDS: Final = {NULL: "nothing", BOOL: "a truth value", INT: "a number", FLOAT: "a number"}
_READERS: Final[Mapping[str, Callable[[Any, yaml.ScalarNode], Any]]] = {
    TEXT: lambda _, node: node.value,
    NULL: lambda _, __: None,
    BOOL: yaml.constructor.SafeConstructor.construct_yaml_bool,
    INT: yaml.constructor.SafeConstructor.construct_yaml_int,
    FLOAT: yaml.constructor.SafeConstructor.construct_yaml_float,
}
_QUOTES: Final = "put it in quotes"

Sized = tuple[Any, int]
"""A value, and its characters as JSON."""


class NotPlain(ValueError):  # noqa: N818 -- what a document is
    """Something in a document is no JSON value, or is too much; ``line`` counts from 1."""

    def __init__(self, node: yaml.Node, what: str) -> None:
        super().__init__(what)
        self.line = int(node.start_mark.line) + 1


def plain(root: yaml.Node) -> Any:
    """The value of a document. Raises NotPlain."""
    return _Values().of(root, 0)[0]


class _Values:
    """What has been made of one document's nodes, so that an alias is made once."""

    def __init__(self) -> None:
        self._made: dict[int, Sized] = {}
        self._entries: dict[int, dict[str, yaml.Node]] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node, depth: int) -> Sized:
        if (made := self._made.get(id(node))) is not None:
            return made
        self._enter(node, depth)
        match node:
            case yaml.MappingNode(tag=tag) if tag in _MAPPINGS:
                sized = self._mapping(node, depth)
            case yaml.SequenceNode(tag=tag) if tag in _SEQUENCES:
                sized = self._sequence(node, depth)
            case yaml.ScalarNode():
                value = _scalar(node)
                sized = value, len(json.dumps(value))
            case _:
                raise NotPlain(node, f"{node.tag} is no kind of value here")
        self._open.discard(id(node))
        if sized[1] > LARGEST:
            raise NotPlain(node, f"is more than {LARGEST >> 20} MiB as JSON")
        self._made[id(node)] = sized
        return sized

    def _enter(self, node: yaml.Node, depth: int) -> None:
        if id(node) in self._open:
            raise NotPlain(node, "holds itself")
        if depth > DEEPEST:
            raise NotPlain(node, "is nested too deeply")
        self._open.add(id(node))

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Sized:
        made = {key: self.of(value, depth + 1) for key, value in self._pairs(node, depth).items()}
        size = sum(len(json.dumps(key)) + 4 + each for key, (_, each) in made.items())
        return {key: value for key, (value, _) in made.items()}, size + 2

    def _sequence(self, node: yaml.SequenceNode, depth: int) -> Sized:
        made = [self.of(each, depth + 1) for each in node.value]
        return [value for value, _ in made], sum(size + 2 for _, size in made) + 2

    def _pairs(self, node: yaml.MappingNode, depth: int) -> dict[str, yaml.Node]:
        """What stands in a mapping, its own before what ``<<`` merges in."""
        if (known := self._entries.get(id(node))) is not None:
            return known
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                for source in _sources(value):
                    merged = {**self._merged(source, depth + 1), **merged}
                continue
            name = _key(key)
            if name in own:
                raise NotPlain(key, f"the key {quoted(name)} is doubled")
            own[name] = value
        self._entries[id(node)] = {**merged, **own}
        return self._entries[id(node)]

    def _merged(self, source: yaml.MappingNode, depth: int) -> dict[str, yaml.Node]:
        if (known := self._entries.get(id(source))) is not None:
            return known
        self._enter(source, depth)
        pairs = self._pairs(source, depth)
        self._open.discard(id(source))
        return pairs


def _sources(node: yaml.Node) -> Iterator[yaml.MappingNode]:
    """The mappings that ``<<`` names."""
    for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(each, yaml.MappingNode):
            raise NotPlain(each, "<< merges mappings, and this is none")
        yield each


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise NotPlain(node, "a key is a text")
    if node.tag != TEXT:
        kind = _KINDS.get(node.tag, "none")
        raise NotPlain(node, f"a key is a text, and {quoted(node.value)} is {kind}: {_QUOTES}")
    return str(node.value)


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.tag == _TIMESTAMP:
        raise NotPlain(node, f"{quoted(node.value)} is a date for YAML: {_QUOTES}")
    if node.tag not in _READERS:
        raise NotPlain(node, f"{node.tag} is no kind of value here")
    try:
        value = _READERS[node.tag](yaml.constructor.SafeConstructor(), node)
    except (ValueError, KeyError):
        raise NotPlain(node, f"{quoted(node.value)} is no value") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise NotPlain(node, f"{quoted(node.value)} is no number of JSON")
    return value
