"""``ips why``: what keeps a set, a node or an image from being warm, one line for each reason."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import show
from ips_client.command.text import count
from ips_client.documents import Node
from ips_client.errors import NotFound
from ips_client.image_reference import canonical
from ips_client.set_documents import SetNode, WarmSet

COLD: Final = ("pulling", "waiting", "failed", "blocked")
NAMED: Final = 5
"""Nodes that are named of all that share a reason."""
_KINDS: Final = ("set", "node", "image")


def why(arguments: Namespace) -> int:
    """Say why something is not warm."""
    kind, _, name = arguments.what.partition("/")
    with connect(arguments) as client:
        if kind in _KINDS and name:
            found = _of(client, kind, name)
        else:
            found = _of_anything(client, arguments.what)
    lines, document = found
    nodes = [node for each in document["sets"] for node in each["nodeList"]]
    show(arguments.output, document, names=[each["nodeName"] for each in nodes], lines=lines)
    return codes.COMPLETED


Answered = tuple[list[str], dict[str, Any]]
"""Lines, and the documents that they are made of."""


def _of_anything(client: Client, name: str) -> Answered:
    """A set of the name, or else a node, or else an image."""
    for kind in ("set", "node"):
        with suppress(NotFound):
            return _of(client, kind, name)
    return _of(client, "image", name)


def _of(client: Client, kind: str, name: str) -> Answered:
    if kind == "set":
        return _of_sets([(client.get_set(name), list(client.set_nodes(name, COLD)))])
    known = list(client.sets())
    if kind == "node":
        return _of_node(client, known, client.node(name))
    wanted = canonical(name)
    having = [each for each in known if wanted in map(canonical, each.images)]
    if not having:
        raise ValueError(f"no set, no node and no set's image is called {name}")
    return _of_sets([(each, _lacking(client, each, wanted)) for each in having])


def _lacking(client: Client, found: WarmSet, wanted: str) -> list[SetNode]:
    """Nodes of a set on which an image is not known to be."""
    return [
        node
        for node in client.set_nodes(found.name, COLD)
        if any(canonical(each.image) == wanted and not each.present for each in node.images)
    ]


def _of_node(client: Client, known: Sequence[WarmSet], node: Node) -> Answered:
    pairs = []
    for each in known:
        if each.nodes.warm < each.nodes.total:
            own = [one for one in client.set_nodes(each.name, COLD) if one.node_name == node.name]
            pairs += [(each, own)] if own else []
    if not pairs:
        return [f"{node.name} lacks no image of a set."], {"sets": []}
    lines = [f"set/{each.name}: {reason(cold)}" for each, (cold,) in pairs]
    return lines, _documents(pairs)


def _of_sets(pairs: Sequence[tuple[WarmSet, list[SetNode]]]) -> Answered:
    lines: list[str] = []
    for each, cold in pairs:
        nodes = each.nodes
        begin = f"set/{each.name}: " if len(pairs) > 1 else ""
        lines.append(f"{begin}{nodes.warm:,} of {count(nodes.total, 'node')} warm.")
        lines += grouped(cold)
    return lines, _documents(pairs)


def _documents(pairs: Iterable[tuple[WarmSet, list[SetNode]]]) -> dict[str, Any]:
    return {
        "sets": [
            {**each.document, "nodeList": [node.document for node in cold]} for each, cold in pairs
        ]
    }


def grouped(cold: Iterable[SetNode]) -> list[str]:
    """One line for each reason, the most frequent first, with the first of its nodes by name."""
    groups: dict[tuple[str, str], list[SetNode]] = {}
    for node in cold:
        groups.setdefault((node.reason or node.state, node.image or ""), []).append(node)
    ranked = sorted(groups.values(), key=lambda group: (-len(group), group[0].node_name))
    lines: list[str] = []
    for group in ranked:
        names = ", ".join(node.node_name for node in group[:NAMED])
        more = f" and {len(group) - NAMED:,} more" if len(group) > NAMED else ""
        lines.append(f"  {names}{more}: {reason(group[0])}")
    return lines


def reason(node: SetNode) -> str:
    """Why a node is cold: the code and the sentence."""
    image = f" ({node.image})" if node.image else ""
    return f"{node.reason or node.state}{image}: {said(node)}".removesuffix(": ")
