"""Sets as files describe them: YAML or JSON, several documents in a file.

A document is the body of a put with the set's ``name`` beside it. What the service makes of its
fields the service says; that it can be sent, and compared with nodes, is seen to here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ips_client.command.plain_values import NotPlain, plain
from ips_client.image_files import InputFault, decoded
from ips_client.manifests import Documents, Slip, read_documents


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
                faults += [f"{place}: {fault}" for fault in _selector_faults(body)]
                found[set_name] = SetFile(set_name, body)
    if faults:
        raise InputFault(faults)
    return list(found.values())


# ── documents ──


def _documents(name: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    shown = "standard input" if name == "-" else name
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        documents = read_documents(decoded(content, shown))
    except OSError as error:
        faults.append(f"{name}: {error.strerror}")
    except InputFault as fault:
        faults.extend(fault.faults)
    else:
        yield from _values(documents, shown, faults)
        if (slip := documents.slip) is not None:
            faults.append(_slipped(f"{shown}, document {len(documents.roots) + 1}", slip))


def _values(documents: Documents, shown: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    for number, root in enumerate(documents.roots, start=1):
        place = f"{shown}, document {number}"
        try:
            document = plain(root)
        except NotPlain as why:
            faults.append(f"{place}, line {why.line}: {why}")
            continue
        if document is not None:
            yield place, document


def _slipped(place: str, slip: Slip) -> str:
    where = place if slip.line is None else f"{place}, line {slip.line}"
    what = slip.what if slip.what.startswith("is ") else f"is not YAML: {slip.what}"
    return f"{where} {what}"


# ── selectors ──


def _selector_faults(body: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a set's selectors from being compared with labels."""
    selector = body.get("nodeSelector")
    if selector is not None and not isinstance(selector, dict):
        yield "nodeSelector is a mapping of labels: {zone: a}"
    elif selector is not None:
        yield from (
            f"nodeSelector/{key} is no text: put it in quotes"
            for key, value in selector.items()
            if not isinstance(value, str)
        )
    expressions = body.get("matchExpressions")
    if expressions is not None and not isinstance(expressions, list):
        yield "matchExpressions is a list: [{key: zone, operator: In, values: [a]}]"
        return
    for number, each in enumerate(expressions or ()):
        if not _is_expression(each):
            yield (
                f"matchExpressions/{number} is none such as "
                '{key: zone, operator: In, values: ["a"]}: all of these are texts'
            )


def _is_expression(each: Any) -> bool:
    if not isinstance(each, dict):
        return False
    values = each.get("values")
    return (
        isinstance(each.get("key"), str)
        and isinstance(each.get("operator"), str)
        and (values is None or isinstance(values, list))
        and all(isinstance(value, str) for value in values or ())
    )
