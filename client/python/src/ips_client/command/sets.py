"""``ips sets``, ``ips apply``, ``ips refresh`` and ``ips delete``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ips_client import requests, set_requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.messages import said
from ips_client.command.output import facts, show, table
from ips_client.command.pages import all_pages
from ips_client.command.program import report
from ips_client.command.purge import finished
from ips_client.command.text import count, stamp
from ips_client.command.why import COLD
from ips_client.documents import Node
from ips_client.errors import IpsError, NotFound
from ips_client.set_documents import SetCondition, SetDeleted, SetGate, WarmSet

if TYPE_CHECKING:
    from ips_client.command.set_files import SetFile

_DEFAULTS: Final[Mapping[str, Any]] = {
    "nodeSelector": {},
    "matchExpressions": [],
    "priority": 5,
    "batchSize": 10,
    "maxRetries": 0,
    "retryStrategy": "linear",
    "retryDelay": 30,
    "maxFailedNodes": 0,
    "rollout": "batch",
    "pullTimeoutSeconds": 1800,
    "credentials": [],
    "pullSecrets": [],
    "paused": False,
}
"""What the service takes where a put says nothing."""
_LISTS: Final = ("credentials", "pullSecrets")
_OPTIONAL: Final = ("webhookUrl", "schedule", "refresh", "gate")
"""What a set need not have at all."""
_DEFAULTS_WITHIN: Final[Mapping[str, Mapping[str, Any]]] = {
    "schedule": {"timeZone": "UTC", "joins": "window"},
    "gate": {"condition": False, "openAfter": "10m"},
}
"""The same, within a field."""


# ── ips sets ─────────────────────────────────────────────────────────────────────────────────


def sets(arguments: Namespace) -> int:
    """List the sets, or show one with its nodes."""
    with connect(arguments) as client:
        if arguments.name is not None:
            return _show_one(client, arguments)
        document, known = all_pages(
            client, WarmSet, _page, key="sets", largest=set_requests.LARGEST_SET_PAGE
        )
    has_windows = any(each.window is not None for each in known)
    head = ("NAME", "STATE", "WARM", "NODES", "WRONG", *(["PULLS"] * has_windows), "IMAGES")
    rows = [_row(each, has_windows=has_windows) for each in known]
    is_wide = arguments.output in {"wide", "csv"}
    lines = table(head, rows, status=1, whole=is_wide, none="no sets")
    show(arguments.output, document, names=[each.name for each in known], lines=lines)
    return codes.COMPLETED


def _page(limit: int, offset: int) -> requests.Request:
    return set_requests.list_sets(limit=limit, offset=offset)


def _row(found: WarmSet, *, has_windows: bool) -> tuple[str, ...]:
    return (
        found.name,
        state_of(found),
        f"{found.warm_percent:g}%",
        f"{found.nodes.warm:,}/{found.nodes.total:,}",
        wrong(found),
        *([window_of(found)] * has_windows),
        ", ".join(found.images),
    )


def state_of(found: WarmSet) -> str:
    """``ready``, ``paused``, ``degraded``, ``progressing``, ``scheduled`` or ``empty``.

    It is the first that holds.
    """
    if found.paused:
        return "paused"
    for kind in ("Ready", "Degraded", "Progressing"):
        condition = found.condition(kind)
        if condition is not None and condition.status:
            return kind.lower()
    return "scheduled" if found.nodes.total else "empty"


def window_of(found: WarmSet) -> str:
    """When a set pulls: ``until`` the end of its window, ``from`` the next one on, or always."""
    window = found.window
    if window is None:
        return ""
    if window.open and window.until is not None:
        return f"until {stamp(window.until)}"
    return "never" if window.next is None else f"from {stamp(window.next)}"


def _schedule(found: WarmSet) -> str:
    schedule = found.schedule
    if schedule is None:
        return ""
    joins = ", joins at once" if schedule.joins == "always" else ""
    return f"{schedule.cron} {schedule.time_zone}, for {schedule.window}{joins}"


def wrong(found: WarmSet) -> str:
    """How many nodes are kept from being warm by what."""
    ranked = sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {reason}" for reason, number in ranked)


def _show_one(client: Client, arguments: Namespace) -> int:
    found = client.get_set(arguments.name)
    nodes = list(client.set_nodes(arguments.name, () if arguments.all else COLD))
    lines = [found.name, *_facts(found)]
    if nodes:
        rows = [(each.node_name, each.state, each.reason or "", said(each)) for each in nodes]
        lines += ["", *table(("NODE", "STATE", "REASON", "WHY"), rows, status=1)]
    document = {**found.document, "nodeList": [each.document for each in nodes]}
    show(arguments.output, document, names=[each.node_name for each in nodes], lines=lines)
    return codes.COMPLETED


def _facts(found: WarmSet) -> list[str]:
    nodes = found.nodes
    return facts(
        {
            "state": state_of(found),
            "warm": f"{nodes.warm:,} of {count(nodes.total, 'node')} ({found.warm_percent:g}%)",
            "wrong": wrong(found),
            "conditions": [_condition(each) for each in found.conditions],
            "images": found.images,
            "schedule": _schedule(found),
            "pulls": window_of(found),
            "refresh": _looks(found),
            "drift": _drift(found),
            "repair": found.repair or "",
            "pinned": _pin(found),
            "webhook": found.webhook_url or "",
            "gate": "" if found.gate is None else _gate(found.gate),
            "created": stamp(found.created_at),
            "changed": stamp(found.updated_at) if found.generation > 1 else "",
            "by": found.created_by or "",
        }
    )


def _pin(found: WarmSet) -> str:
    if found.pin is None:
        return ""
    return "always" if found.pin.until is None else f"until {stamp(found.pin.until)}"


def _looks(found: WarmSet) -> str:
    looks = found.looks
    every = "" if found.refresh is None else f"every {found.refresh.tags}"
    if looks is None:
        return every
    last = "" if looks.at is None else f"last {stamp(looks.at)}"
    failed = f"{count(looks.failures, 'look')} failed" if looks.failures else ""
    return ", ".join(part for part in (every, last, failed) if part)


def _drift(found: WarmSet) -> list[str]:
    """Tags of which nodes have several digests."""
    return [
        f"{each.image}: "
        + ", ".join(
            f"{one.digest[:19]} on {count(one.nodes, 'node')}{' (newest)' * one.newest}"
            for one in each.digests
        )
        for each in found.drift or ()
        if len(each.digests) > 1
    ]


def _condition(condition: SetCondition) -> str:
    since = "" if condition.since is None else f" (since {stamp(condition.since)})"
    return f"{condition.type} {'yes' if condition.status else 'no'}: {said(condition)}{since}"


def _gate(gate: SetGate) -> str:
    kept = ["condition and label"] if gate.condition else []
    if gate.taint is not None:
        kept.append(f"taint {gate.taint}, opens after {gate.open_after}")
    return "; ".join(kept)


# ── ips apply ────────────────────────────────────────────────────────────────────────────────


def apply(arguments: Namespace) -> int:
    """Create and replace the sets of files."""
    from ips_client.command.set_files import read_sets  # noqa: PLC0415 -- imports yaml

    wanted = read_sets(arguments.files)
    if not wanted:
        raise ValueError("no set is in the files")
    with connect(arguments) as client:
        if arguments.dry_run:
            return _dry_run(client, arguments, wanted)
        lines, documents, code = list[str](), list[Any](), codes.COMPLETED
        for each in wanted:
            try:
                before = _known(client, each.name)
                found = client.send(set_requests.put_set(each.name, each.body), WarmSet)
            except IpsError as error:
                code = codes.worst([code, report(error, f"set/{each.name}")])
                continue
            documents.append(found.document)
            lines.append(f"set/{each.name} {_done(before, found)}")
    names = [f"set/{document['name']}" for document in documents]
    show(arguments.output, _as_listed(documents), names=names, lines=lines)
    return code


def _done(before: WarmSet | None, found: WarmSet) -> str:
    if before is None:
        return "created"
    return "unchanged" if before.generation == found.generation else "changed"


def _as_listed(documents: list[Any]) -> Any:
    return documents[0] if len(documents) == 1 else {"sets": documents}


def _known(client: Client, name: str) -> WarmSet | None:
    try:
        return client.get_set(name)
    except NotFound:
        return None


def _dry_run(client: Client, arguments: Namespace, wanted: Iterable[SetFile]) -> int:
    """Say what would be put, and send nothing."""
    nodes = list(client.nodes())
    lines, documents = list[str](), list[Any]()
    for each in wanted:
        before = _known(client, each.name)
        changes = difference(None if before is None else before.document, each.body)
        matching = sum(matches(each.body, node) for node in nodes)
        what = "would be created" if before is None else "would change"
        what = what if changes else "would stay as it is"
        lines.append(f"set/{each.name} {what}; {count(matching, 'node')} of {len(nodes):,} match")
        lines += [f"  {change}" for change in changes]
        documents.append({"name": each.name, "changes": changes, "nodes": matching})
    show(arguments.output, {"sets": documents}, names=[d["name"] for d in documents], lines=lines)
    return codes.COMPLETED


def difference(before: Mapping[str, Any] | None, body: Mapping[str, Any]) -> list[str]:
    """What a put changes, field by field; of a webhook only scheme and host can be compared."""
    after = {**_DEFAULTS, **{key: _filled(key, value) for key, value in body.items()}}
    known = {} if before is None else {key: before.get(key) for key in (*after, *_OPTIONAL)}
    lines: list[str] = []
    for key in sorted({*after, *known} if before is not None else body):
        old, new = known.get(key), after.get(key)
        if key == "webhookUrl" and old and isinstance(new, str) and _scheme_and_host(new) == old:
            continue
        if old == new or (key in _LISTS and not old and not new):  # none are left out
            continue
        lines.append(
            f"{key}: {_json(new)}" if old is None else f"{key}: {_json(old)} → {_json(new)}"
        )
    return lines


def _filled(key: str, value: Any) -> Any:
    return {**_DEFAULTS_WITHIN.get(key, {}), **value} if isinstance(value, dict) else value


def _scheme_and_host(url: str) -> str:
    """What the service shows of a webhook's address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _json(value: Any) -> str:
    return "(nothing)" if value is None else json.dumps(value, ensure_ascii=False)


def matches(body: Mapping[str, Any], node: Node) -> bool:
    """Whether a node is in a set by its labels; what is no selector the service refuses."""
    selector, expressions = body.get("nodeSelector") or {}, body.get("matchExpressions") or []
    return all(node.labels.get(key) == value for key, value in dict(selector).items()) and all(
        _satisfies(each, node.labels) for each in expressions
    )


def _satisfies(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression.get("key", "")), list(expression.get("values") or ())
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compares(operator, value, values)
        case _:
            return False


def _compares(operator: str, value: str | None, values: list[str]) -> bool:
    try:
        found, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError, TypeError):
        return False
    return found > bound if operator == "Gt" else found < bound


# ── ips refresh ──


def refresh(arguments: Namespace) -> int:
    """Have the tags of sets looked at again."""
    with connect(arguments) as client:
        outcomes = [_refresh(client, name) for name in arguments.names]
    done = [name for name, outcome in zip(arguments.names, outcomes, strict=True) if not outcome]
    lines = [f"set/{name}: its tags are looked at again" for name in done]
    names = [f"set/{name}" for name in done]
    show(arguments.output, {"refreshed": done}, names=names, lines=lines)
    return codes.worst(outcomes)


def _refresh(client: Client, name: str) -> int:
    try:
        client.refresh_set(name)
    except IpsError as error:
        return report(error, f"set/{name}")
    return codes.COMPLETED


# ── ips delete ───────────────────────────────────────────────────────────────────────────────


def delete(arguments: Namespace) -> int:
    """Delete sets; their images stay, or are purged, one set after the other."""
    with connect(arguments) as client:
        outcomes = [_delete(client, name, purge=arguments.purge) for name in arguments.names]
        done = [found for found in outcomes if isinstance(found, SetDeleted)]
        show(
            arguments.output,
            {"deleted": [each.name for each in done]},
            names=[f"set/{each.name}" for each in done],
            lines=[_deleted(each) for each in done],
        )
        worst = [outcome for outcome in outcomes if isinstance(outcome, int)]
        worst += [finished(client, arguments, each.purge) for each in done if each.purge]
    return codes.worst(worst)


def _deleted(found: SetDeleted) -> str:
    after = f"its images are being removed: {found.purge}" if found.purge else "its images stay"
    return f"set/{found.name} deleted; {after}"


def _delete(client: Client, name: str, *, purge: bool) -> SetDeleted | int:
    try:
        return client.delete_set(name, purge=purge)
    except IpsError as error:
        return report(error, f"set/{name}")
