"""Images named in files: plain lists, and Kubernetes manifests as ``helm template`` writes them.

A manifest is read as a stream of YAML documents of whatever kinds. Every list of containers in it
counts, wherever it stands, so that resources of one's own kinds and ``List``s are understood, too.
Everything that is wrong is found before anything is used, and named by file, document and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import yaml

from ips_client.image_reference import canonical, quoted

CONTAINER_LISTS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOOKS_LIKE_YAML: Final = re.compile(
    r"""\A\s*(?:[\[{](?!\{)|%YAML)         # JSON, or a directive
    | ^---(?:\s|$)                         # a document begins
    | ^\s*(?:-\s+)?["']?[\w./-]+["']?\s*:(?:\s|$)   # a key
    """,
    re.MULTILINE | re.VERBOSE,
)
_LIST_LINE: Final = re.compile(r"(?:-\s+)?(?P<quote>[\"']?)(?P<image>.*)(?P=quote)")
_NOT_RENDERED: Final = "; this looks like a template: render it first (helm template)"
_NULL: Final = "tag:yaml.org,2002:null"


class Found(NamedTuple):
    """An image as it stands in a file."""

    image: str
    place: str
    """For messages: ``deploy.yaml, document 2, line 17``."""


class InputFault(ValueError):  # noqa: N818 -- named as its users speak of it
    """What was given cannot be used; ``faults`` has a sentence for each thing that is wrong."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def find_images(content: bytes, name: str) -> list[Found]:
    """Every image in a file, in its order; none in a manifest without containers.

    Raises InputFault.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        raise InputFault([f"{name} is no text in UTF-8 (byte {why.start + 1})"]) from None
    if not text.strip():
        raise InputFault([f"{name} is empty"])
    if _LOOKS_LIKE_YAML.search(text):
        return _Manifest(text, name).images()
    return list(_plain_list(text, name))


def distinct(found: Iterable[Found]) -> list[str]:
    """Each image once, by its first spelling. Raises InputFault for all that are none."""
    images: dict[str, str] = {}
    faults: list[str] = []
    for each in found:
        images.setdefault(_canonical(each, faults), each.image)
    if faults:
        raise InputFault(faults)
    return list(images.values())


def _canonical(found: Found, faults: list[str]) -> str:
    try:
        return canonical(found.image)
    except ValueError as why:
        faults.append(f"{found.place}: {why}" if found.place else str(why))
        return ""


def _plain_list(text: str, name: str) -> Iterator[Found]:
    for number, line in enumerate(text.splitlines(), start=1):
        entry = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if entry and (match := _LIST_LINE.fullmatch(entry)):
            yield Found(match["image"], f"{name}, line {number}")


class _Manifest:
    """One file's documents."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._faults: list[str] = []

    def images(self) -> list[Found]:
        found = [
            Found(image, self._place(number, line))
            for number, root in self._documents()
            for image, line in self._in_document(number, root)
        ]
        if self._faults:
            raise InputFault(self._faults)
        return found

    def _documents(self) -> Iterator[tuple[int, yaml.Node]]:
        """The documents up to a broken one, which is noted: YAML knows none after it."""
        loader, number = None, 1
        try:
            loader = _LOADER(self._text)
            while loader.check_node():
                root = loader.get_node()
                assert root is not None  # noqa: S101 -- check_node said that there is one
                yield number, root
                number += 1
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._fault(number, mark.line + 1 if mark else None, error.problem or "is no YAML")
        except yaml.YAMLError as error:  # a character that YAML does not allow
            line = self._text.count("\n", 0, getattr(error, "position", 0)) + 1
            self._fault(number, line, getattr(error, "reason", "is no YAML"))
        finally:
            if loader is not None:
                loader.dispose()

    def _in_document(self, number: int, root: yaml.Node) -> Iterator[tuple[str, int]]:
        match root:
            case yaml.ScalarNode(tag=tag) if tag == _NULL:
                return
            case yaml.ScalarNode():
                self._fault(number, _line(root), "is no Kubernetes object")
            case yaml.SequenceNode(value=[yaml.ScalarNode(), *_] as items):
                for item in items:
                    yield from self._image(number, item)
            case _:
                yield from self._walk(number, root, set())

    def _walk(self, number: int, node: yaml.Node, seen: set[int]) -> Iterator[tuple[str, int]]:
        if id(node) in seen:  # an alias; it may even hold itself
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._walk(number, item, seen)
        elif isinstance(node, yaml.MappingNode):
            for key, value in _pairs(node):
                yield from self._named(number, key, value)
                yield from self._walk(number, value, seen)

    def _named(self, number: int, key: str, value: yaml.Node) -> Iterator[tuple[str, int]]:
        """Images in what stands under a key."""
        items = value.value if isinstance(value, yaml.SequenceNode) else []
        for item in items:
            if key in CONTAINER_LISTS:
                image = _get(item, "image")
            elif key == "volumes":
                image = _get(_get(item, "image"), "reference")
            else:
                return
            if image is not None:
                yield from self._image(number, image)

    def _image(self, number: int, node: yaml.Node) -> Iterator[tuple[str, int]]:
        if isinstance(node, yaml.ScalarNode):
            yield node.value, _line(node)
            return
        source = self._text[node.start_mark.index : node.end_mark.index]
        if source.startswith("{{"):  # YAML takes it for a mapping in a mapping
            yield source, _line(node)
        else:
            self._fault(number, _line(node), f"an image is a text, not {quoted(source)}")

    def _fault(self, number: int, line: int | None, what: str) -> None:
        hint = _NOT_RENDERED if "{{" in self._text else ""
        self._faults.append(f"{self._place(number, line)}: {what}{hint}")

    def _place(self, number: int, line: int | None) -> str:
        return f"{self._name}, document {number}" + (f", line {line}" if line else "")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            yield key.value, value


def _get(node: Any, key: str) -> yaml.Node | None:
    """The value under a key, one's own before one that is merged in by ``<<``."""
    if not isinstance(node, yaml.MappingNode):
        return None
    merged = None
    for name, value in _pairs(node):
        if name == key:
            return value
        if name == "<<":
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            merged = next(filter(None, (_get(each, key) for each in sources)), merged)
    return merged
