"""``ips wait set/NAME``: until so many of a set's nodes are warm."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from time import monotonic
from typing import Any

from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect, settings
from ips_client.command.output import show
from ips_client.command.program import report, say
from ips_client.command.sets import wrong
from ips_client.command.text import count, span
from ips_client.command.why import COLD, grouped
from ips_client.errors import IpsError, SetTimeLimit
from ips_client.set_documents import WarmSet

PREFIX = "set/"


def wait_sets(arguments: Namespace, names: Sequence[str]) -> int:
    """Wait for sets, one after another; the time limit is one for all of them together.

    Where it has passed, each set that is left is asked for once more.
    """
    outcomes, documents = list[int](), list[Any]()
    began = monotonic()
    with connect(arguments) as client:
        for name in names:
            spent = monotonic() - began
            left = None if arguments.timeout is None else max(0.0, arguments.timeout - spent)
            outcomes.append(_wait(client, arguments, name, left, documents))
    lines = [f"set/{each['name']} is warm enough: {each['warmPercent']:g}%" for each in documents]
    whole = documents[0] if len(documents) == 1 else {"sets": documents}
    show(arguments.output, whole, names=[f"{PREFIX}{d['name']}" for d in documents], lines=lines)
    return codes.worst(outcomes)


def _wait(
    client: Client, arguments: Namespace, name: str, left: float | None, documents: list[Any]
) -> int:
    try:
        found = client.wait_set(
            name,
            at_least=arguments.at_least,
            time_limit=left,
            on_progress=_tell,
        )
    except SetTimeLimit as late:
        _name_laggards(arguments, name, late.set)
        return codes.TIME_LIMIT
    except IpsError as error:
        return report(error, f"{PREFIX}{name}")
    documents.append(found.document)
    return codes.COMPLETED


def _tell(found: WarmSet) -> None:
    trouble = wrong(found)
    nodes = f"{found.nodes.warm:,} of {count(found.nodes.total, 'node')} warm"
    say(f"set/{found.name}: {nodes}{f' ({trouble})' if trouble else ''}")


def _name_laggards(arguments: Namespace, name: str, found: WarmSet | None) -> None:
    warm = "" if found is None else f", {found.nodes.warm:,} of {count(found.nodes.total, 'node')}"
    after = span(arguments.timeout)
    say(f"ips: set/{name} is not warm enough after {after}{warm}; it is warmed all the same")
    try:  # the time is over: a server that is away is not waited for
        with Client(**{**settings(arguments), "patience": 0.0}) as client:
            say(*grouped(client.set_nodes(name, COLD)))
    except IpsError as error:
        report(error, f"{PREFIX}{name}")
