"""Documents of a manifest as YAML's nodes, which know their types and lines.

JSON is read by a JSON parser: YAML 1.1 takes neither all of its escapes nor its streams of
documents. Its values become nodes, too, so that one reader looks for images in both.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from typing import Any, Final, NamedTuple

import yaml

NULL: Final = "tag:yaml.org,2002:null"
BOOL: Final = "tag:yaml.org,2002:bool"
INT: Final = "tag:yaml.org,2002:int"
FLOAT: Final = "tag:yaml.org,2002:float"
TEXT: Final = "tag:yaml.org,2002:str"
MERGE: Final = "tag:yaml.org,2002:merge"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ACTION: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_ACTION_LINE: Final = re.compile(r"^[ \t]*(?:\{\{[^\n]*?\}\}[ \t]*)+$", re.MULTILINE)
_NOT_RENDERED: Final = "; this looks like a template: render it first (helm template)"
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+')
_SPACE: Final = re.compile(r"\s*")
_TAGS: Final = {str: TEXT, bool: BOOL, int: INT, float: FLOAT, type(None): NULL}


class Slip(NamedTuple):
    """Where a text is not what it should be; nothing after it can be read."""

    line: int | None
    what: str


class Documents(NamedTuple):
    """The documents of a text, up to the one with a slip in it."""

    text: str
    roots: list[yaml.Node]
    slip: Slip | None

    def source(self, node: yaml.Node) -> str:
        """A node as it is written."""
        return self.text[node.start_mark.index : node.end_mark.index]


def read_documents(text: str) -> Documents:
    """Read JSON, one document or several in a row, or YAML."""
    if text.lstrip()[:1] in {"{", "["}:
        found = _read_json(text)
        if found.slip is None:
            return found
        of_yaml = _read_yaml(text)  # whose flow style begins alike
        return found if of_yaml.slip is not None and _is_meant_as_json(text) else of_yaml
    return _read_yaml(text)


# ── YAML ──


def _read_yaml(text: str) -> Documents:
    roots, slip = _composed(text)
    if slip is not None and "{{" in text and _is_of_template(text, slip):
        slip = slip._replace(what=slip.what + _NOT_RENDERED)
    return Documents(text, roots, slip)


def _composed(text: str) -> tuple[list[yaml.Node], Slip | None]:
    roots: list[yaml.Node] = []
    loader = None
    try:
        loader = _LOADER(text)
        while loader.check_node():
            root = loader.get_node()
            assert root is not None  # noqa: S101 -- check_node said that there is one
            roots.append(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return roots, Slip(mark.line + 1 if mark else None, error.problem or "is no YAML")
    except yaml.YAMLError as error:  # a character that YAML does not allow
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        return roots, Slip(line, getattr(error, "reason", "is no YAML"))
    except (RecursionError, MemoryError):
        return roots, Slip(None, "is nested too deeply")
    finally:
        if loader is not None:
            loader.dispose()
    return roots, None


def _is_of_template(text: str, slip: Slip) -> bool:
    """Whether the slip goes away, or elsewhere, with what is between double braces."""
    without_lines = _ACTION_LINE.sub(lambda found: "#" * len(found[0]), text)
    plain = _ACTION.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), without_lines)
    return _composed(plain)[1] != slip


# ── JSON ──


def _read_json(text: str) -> Documents:
    roots: list[yaml.Node] = []
    decoder, lines = json.JSONDecoder(), _Lines(text)
    at = _after_space(text, 0)
    try:
        while at < len(text):
            _, end = decoder.raw_decode(text, at)
            roots.append(_node(text, at, end, lines))
            at = _after_space(text, end)
    except json.JSONDecodeError as error:
        return Documents(text, roots, Slip(error.lineno, f"is no JSON: {error.msg}"))
    except (RecursionError, ValueError):  # a number with thousands of digits
        return Documents(text, roots, Slip(lines.of(at), "is nested too deeply, or too long"))
    return Documents(text, roots, None)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _is_meant_as_json(text: str) -> bool:
    return re.match(r'\s*(?:\{\s*"|\[\s*[{"])', text) is not None


class _Lines:
    """Lines of places in a text."""

    def __init__(self, text: str) -> None:
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def of(self, index: int) -> int:
        return bisect(self._ends, index - 1) + 1

    def mark(self, index: int) -> Any:
        return yaml.Mark("", index, self.of(index) - 1, 0, None, 0)


def _node(text: str, at: int, end: int, lines: _Lines) -> yaml.Node:
    """A document that is known to be JSON, as nodes."""
    root = yaml.SequenceNode("", [])
    open_nodes: list[list[yaml.Node]] = [root.value]
    ends: list[yaml.Node] = []
    for token in _TOKEN.finditer(text, at, end):
        word, mark = token[0], lines.mark(token.start())
        if word in "]}":
            open_nodes.pop()
            _close(ends.pop(), lines.mark(token.end()))
            continue
        node = _begun(word, mark, lines.mark(token.end()))
        open_nodes[-1].append(node)
        if not isinstance(node, yaml.ScalarNode):
            open_nodes.append(node.value)
            ends.append(node)
    found: yaml.Node = root.value[0]
    return found


def _begun(word: str, mark: Any, end_mark: Any) -> yaml.Node:
    if word == "{":
        return yaml.MappingNode("", [], mark, end_mark)
    if word == "[":
        return yaml.SequenceNode("", [], mark, end_mark)
    value = json.loads(word)
    text = value if isinstance(value, str) else word
    return yaml.ScalarNode(_TAGS[type(value)], text, mark, end_mark)


def _close(node: yaml.Node, end_mark: Any) -> None:
    node.end_mark = end_mark
    if isinstance(node, yaml.MappingNode):
        node.value[:] = _in_pairs(node.value)


def _in_pairs(nodes: list[yaml.Node]) -> list[tuple[yaml.Node, yaml.Node]]:
    return list(zip(nodes[::2], nodes[1::2], strict=True))
