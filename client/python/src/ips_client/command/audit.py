"""``ips audit``."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone

from ips_client import requests
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.output import show, table
from ips_client.command.text import stamp
from ips_client.documents import AuditEntries, AuditEntry


def audit(arguments: Namespace) -> int:
    """List who changed what, and who was refused."""
    with connect(arguments) as client:
        since = None
        if arguments.since is not None:
            since = datetime.now(timezone.utc) - timedelta(seconds=arguments.since)
        request = requests.list_audit(arguments.user, since, limit=arguments.limit)
        found = client.send(request, AuditEntries)
    head = ("TIME", "USER", "FROM", "ACTION", "ANSWER", "TASK", "IMAGES")
    rows = [_row(entry) for entry in found.entries]
    lines = table(head, rows, whole=arguments.output == "wide", none="nothing")
    names = [entry.task_id for entry in found.entries if entry.task_id]
    show(arguments.output, found.document, names=names, lines=lines)
    return codes.COMPLETED


def _row(entry: AuditEntry) -> tuple[str, ...]:
    return (
        stamp(entry.time),
        entry.user or "(nobody)",
        entry.address or "",
        entry.action,
        f"{entry.status} {entry.reason}" if entry.reason else str(entry.status),
        entry.task_id or "",
        ", ".join(entry.images),
    )
