"""Images named in files: plain lists, and Kubernetes manifests as ``helm template`` writes them.

A manifest is a stream of documents of whatever kinds. Every list of containers in it counts,
wherever it stands, so that resources of one's own kinds and ``List``s are understood, too.
Everything that is wrong is found before anything is used, and named by file, document and line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import yaml

from ips_client.image_reference import canonical, quoted
from ips_client.manifests import BOOL, FLOAT, INT, MERGE, NULL, Documents, read_documents

CONTAINER_LISTS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})

_LOOKS_LIKE_YAML: Final = re.compile(
    r"""\A\s*(?:\[|\{(?!\{)|%YAML)          # JSON, or a directive
    | ^---(?:\s|$)                         # a document begins
    | ^\s*(?:-\s+)?["']?[\w./-]+["']?\s*:(?:\s|$)   # a key
    """,
    re.MULTILINE | re.VERBOSE,
)
_LIST_LINE: Final = re.compile(r"(?:-\s+)?(?P<quote>[\"']?)(?P<image>.*)(?P=quote)")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


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
    text = decoded(content, name)
    if not text.strip():
        raise InputFault([f"{name} is empty"])
    if _LOOKS_LIKE_YAML.search(text):
        return _Manifest(read_documents(text), name).images()
    return list(_plain_list(text, name))


def decoded(content: bytes, name: str) -> str:
    """Text in the encoding that its byte-order mark names, else in UTF-8. Raises InputFault."""
    found = ((mark, code) for mark, code in _MARKS if content.startswith(mark))
    mark, code = next(found, (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(code)
    except UnicodeDecodeError as why:
        place = len(mark) + why.start + 1
        raise InputFault([f"{name} is no text in {code.upper()} (byte {place})"]) from None


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

    def __init__(self, documents: Documents, name: str) -> None:
        self._documents = documents
        self._name = name
        self._faults: list[str] = []

    def images(self) -> list[Found]:
        found: list[Found] = []
        number = 0
        try:
            for number, root in enumerate(self._documents.roots, start=1):
                for image, line in self._in_document(number, root):
                    found.append(Found(image, self._place(number, line)))
        except RecursionError:
            self._fault(number, None, "is nested too deeply")
        if (slip := self._documents.slip) is not None:
            self._fault(len(self._documents.roots) + 1, slip.line, slip.what)
        if self._faults:
            raise InputFault(self._faults)
        return found

    def _in_document(self, number: int, root: yaml.Node) -> Iterator[tuple[str, int]]:
        match root:
            case yaml.ScalarNode(tag=tag) if tag == NULL:
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
            self._check_keys(number, node)
            for key, value in _pairs(node):
                yield from self._named(number, key, value)
                yield from self._walk(number, value, seen)

    def _check_keys(self, number: int, node: yaml.MappingNode) -> None:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in keys:
                    self._fault(number, _line(key), f"the key {quoted(key.value)} is doubled")
                keys.add(key.value)

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
            if image is not None and image.tag != NULL:
                yield from self._image(number, image)

    def _image(self, number: int, node: yaml.Node) -> Iterator[tuple[str, int]]:
        if isinstance(node, yaml.ScalarNode) and not _is_typed(node):
            yield node.value, _line(node)
            return
        source = node.value if isinstance(node, yaml.ScalarNode) else self._documents.source(node)
        if source.startswith("{{"):  # YAML takes it for a mapping in a mapping
            yield source, _line(node)
        else:
            self._fault(number, _line(node), f"an image is a text, not {_described(node, source)}")

    def _fault(self, number: int, line: int | None, what: str) -> None:
        self._faults.append(f"{self._place(number, line)}: {what}")

    def _place(self, number: int, line: int | None) -> str:
        return f"{self._name}, document {number}" + (f", line {line}" if line else "")


def _is_typed(node: yaml.ScalarNode) -> bool:
    """Whether Kubernetes reads something else than a text there."""
    # 10:30 is a number in base 60 for YAML 1.1, and a text for everybody else.
    return node.tag in {NULL, BOOL} or (node.tag in {INT, FLOAT} and ":" not in node.value)


def _described(node: yaml.Node, source: str) -> str:
    kinds = {NULL: "nothing", BOOL: f"the truth value {source}"}
    numbers = dict.fromkeys((INT, FLOAT), f"the number {source}: put it in quotes")
    return (kinds | numbers).get(node.tag, quoted(source))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            yield key.value, value


def _get(node: Any, key: str) -> yaml.Node | None:
    """The value under a key, one's own before one that is merged in by ``<<``."""
    return _found(node, key, set())


def _found(node: Any, key: str, seen: set[int]) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode) or id(node) in seen:
        return None
    seen.add(id(node))  # what is merged in may hold itself
    merged = None
    for name, value in _pairs(node):
        if name == key:
            return value
        if name == "<<":
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            merged = next(filter(None, (_found(each, key, seen) for each in sources)), merged)
    return merged
