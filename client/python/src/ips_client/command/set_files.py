"""Sets as files describe them: YAML or JSON, several documents in a file.

A document is the body of a put with the set's ``name`` beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ips_client.image_files import InputFault


class SetFile(NamedTuple):
    """One set of a file."""

    name: str
    body: dict[str, Any]


def read_sets(names: Iterable[str]) -> list[SetFile]:
    """Every set of these files; ``-`` is standard input. Raises InputFault for all faults."""
    faults: list[str] = []
    found: dict[str, SetFile] = {}
    for name in names:
        for place, document in _documents(name, faults):
            body = dict(document) if isinstance(document, Mapping) else {}
            set_name = body.pop("name", None)
            if not isinstance(set_name, str) or not set_name:
                faults.append(f"{place} is no set: it has no name")
            elif set_name in found:
                faults.append(f"{place}: the set {set_name} stands before it already")
            else:
                found[set_name] = SetFile(set_name, body)
    if faults:
        raise InputFault(faults)
    return list(found.values())


def _documents(name: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    import yaml  # noqa: PLC0415 -- costs start-up, and only this command needs it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    shown = "standard input" if name == "-" else name
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        documents = list(yaml.load_all(content, Loader=loader))  # a safe one, in C where it is
    except OSError as error:
        faults.append(f"{name}: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        faults.append(f"{shown} is not YAML: {error}")
    else:
        for number, document in enumerate(documents, start=1):
            if document is not None:
                yield f"{shown}, document {number}", document
