"""``ips run``."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ips_client import requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.nodes import state_of
from ips_client.command.output import show
from ips_client.command.program import report, say
from ips_client.command.text import count
from ips_client.documents import Task
from ips_client.errors import IpsError
from ips_client.image_files import Found, InputFault, distinct, find_images
from ips_client.selector import parse_selector

IMAGES_IN_A_TASK: Final = 50
UNKNOWN_SHOWN: Final = 5

_POLICIES: Final = {"if-not-present": "IfNotPresent", "always": "Always"}


def run(arguments: Namespace) -> int:
    """Create one or several tasks, and wait for them if that was asked for."""
    images = distinct(_found(arguments))
    if not images:
        raise ValueError(_no_images(arguments))
    options = _options(arguments)
    bodies = [requests.task_body(part, options) for part in _parts(images)]
    with connect(arguments) as client:
        if arguments.dry_run:
            return _dry_run(client, arguments, bodies)
        if len(bodies) > 1:
            say(f"{len(images)} images become {len(bodies)} tasks of at most {IMAGES_IN_A_TASK}.")
        tasks, code = _create(client, arguments, bodies)
    if code != codes.COMPLETED:
        return code
    from ips_client.command.waiting import created  # noqa: PLC0415 -- imports asyncio

    return created(arguments, tasks)


# ── images ───────────────────────────────────────────────────────────────────────────────────


def _found(arguments: Namespace) -> Iterator[Found]:
    """Images of the command line and of all files. Raises InputFault for all bad files at once."""
    faults: list[str] = []
    found = [Found(image, "") for image in arguments.images]
    for name in arguments.files:
        found.extend(_in_file(name, faults))
    if faults:
        raise InputFault(faults)
    yield from found


def _in_file(name: str, faults: list[str]) -> list[Found]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return find_images(content, "standard input" if name == "-" else name)
    except InputFault as fault:
        faults.extend(fault.faults)
    except OSError as error:
        faults.append(f"{name}: {error.strerror}")
    return []


def _no_images(arguments: Namespace) -> str:
    if not arguments.files:
        return "no image is named: give IMAGE or -f FILE (ips run --help)"
    names = ", ".join("standard input" if name == "-" else name for name in arguments.files)
    return f"{names}: no pod template in it, and no list of images"


def _parts(images: Sequence[str]) -> list[Sequence[str]]:
    starts = range(0, len(images), IMAGES_IN_A_TASK)
    return [images[start : start + IMAGES_IN_A_TASK] for start in starts]


# ── options ──────────────────────────────────────────────────────────────────────────────────


def _options(arguments: Namespace) -> dict[str, Any]:
    """The options that were given, by the client's names."""
    selection = parse_selector(",".join(arguments.selector))
    names = [name for each in arguments.nodes for name in each.split(",") if name]
    wanted = {
        "node_selector": dict(selection.labels),
        "match_expressions": list(selection.expressions),
        "node_names": names,
        "batch_size": arguments.batch_size,
        "priority": arguments.priority,
        "max_retries": arguments.retries,
        "retry_strategy": arguments.retry_strategy,
        "retry_delay": _whole(arguments.retry_delay),
        "webhook_url": arguments.webhook,
        "max_failed_nodes": _count_or_share(arguments.max_failed),
        "rollout": "rolling" if arguments.rolling else None,
        "image_pull_policy": _POLICIES.get(arguments.pull),
        "pull_timeout_seconds": _whole(arguments.pull_timeout),
        "credentials": arguments.credentials,
        "pull_secrets": arguments.pull_secrets,
    }
    return {name: value for name, value in wanted.items() if value not in (None, [], {})}


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _count_or_share(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


# ── sending ──────────────────────────────────────────────────────────────────────────────────


def _create(
    client: Client, arguments: Namespace, bodies: Sequence[dict[str, Any]]
) -> tuple[list[Task], int]:
    """Create all; where one is refused, say which were created before."""
    tasks: list[Task] = []
    key = arguments.idempotency_key
    try:
        for number, body in enumerate(bodies, start=1):
            own = f"{key}-{number}" if key and len(bodies) > 1 else key
            tasks.append(client.send(requests.create_task(body, own), Task))
    except IpsError as error:
        code = report(error)
        if tasks:
            ids = " ".join(task.task_id for task in tasks)
            say(f"ips: created before that, and going on: {ids}")
        return tasks, code
    return tasks, codes.COMPLETED


# ── dry run ──────────────────────────────────────────────────────────────────────────────────


def _dry_run(client: Client, arguments: Namespace, bodies: Sequence[dict[str, Any]]) -> int:
    matching = _matching(client, bodies[0])
    names, known = matching.names, matching.known
    document = {
        "tasks": list(bodies),
        "matchingNodes": len(names),
        "nodeStates": dict(matching.states),
        "unknownNodes": matching.unknown,
    }
    what = f"{count(len(bodies), 'task')} would be created:"
    matched = f"{count(len(names), 'node')} of {known:,} match now."
    shown = [line for body in bodies for line in json.dumps(body, indent=2).splitlines()]
    lines = [what, *shown, matched, *_in_states(matching), *_of_unknown(matching)]
    show(arguments.output, document, names=names, lines=lines)
    return codes.COMPLETED


class _Matching(NamedTuple):
    """What a create would find now."""

    names: list[str]
    """Of its nodes, those that are known."""
    known: int
    """Nodes at all."""
    states: Counter[str]
    """Its nodes by state, and what a selector would leave out as ``skipped``."""
    unknown: list[str]
    """Names that no node has."""


def _matching(client: Client, body: dict[str, Any]) -> _Matching:
    wanted = set(body.get("nodeNames", []))
    everything = {node.name for node in client.nodes()}
    states: Counter[str] = Counter()
    names = []
    for node in client.nodes(_selector_text(body)):
        if wanted and node.name not in wanted:
            continue
        state = state_of(node)
        if state == "unschedulable" and not wanted:
            states["skipped"] += 1
            continue
        states[state] += 1
        names.append(node.name)
    return _Matching(names, len(everything), states, sorted(wanted - everything))


def _in_states(matching: _Matching) -> list[str]:
    """What will become of those that are not ready."""
    words = {
        "ready": "ready",
        "offline": "offline (will fail unless an agent answers)",
        "unschedulable": "unschedulable (will fail unless that changes)",
        "skipped": "unschedulable and not part of the task",
    }
    parts = [
        f"{matching.states[each]:,} {said}" for each, said in words.items() if matching.states[each]
    ]
    return [f"{', '.join(parts)}."] if parts else []


def _of_unknown(matching: _Matching) -> list[str]:
    names = matching.unknown
    more = f" and {len(names) - UNKNOWN_SHOWN:,} more" if len(names) > UNKNOWN_SHOWN else ""
    shown = ", ".join(names[:UNKNOWN_SHOWN])
    return [f"Not in the fleet (will fail): {shown}{more}"] if names else []


def _selector_text(body: dict[str, Any]) -> str:
    terms = [f"{key}={value}" for key, value in body.get("nodeSelector", {}).items()]
    return ",".join([*terms, *map(_term, body.get("matchExpressions", []))])


def _term(expression: dict[str, Any]) -> str:
    key, values = expression["key"], expression.get("values", [])
    forms: dict[str, str] = {
        "In": f"{key} in ({','.join(values)})",
        "NotIn": f"{key} notin ({','.join(values)})",
        "Exists": key,
        "DoesNotExist": f"!{key}",
        "Gt": f"{key}>{''.join(values)}",
        "Lt": f"{key}<{''.join(values)}",
    }
    return forms[expression["operator"]]
