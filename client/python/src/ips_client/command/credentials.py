"""``ips credentials``. A secret comes from a file or standard input, not from the command line."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from getpass import getpass
from pathlib import Path

from ips_client import credential_requests
from ips_client.client import Client
from ips_client.command import codes
from ips_client.command.connection import connect
from ips_client.command.output import show, table
from ips_client.command.pages import all_pages
from ips_client.command.program import report
from ips_client.command.text import stamp
from ips_client.credential_documents import RegistryCredential, RegistryCredentialDeleted
from ips_client.errors import IpsError


def credentials(arguments: Namespace) -> int:
    """List credentials, store one, or delete some."""
    actions: dict[str, Callable[[Namespace], int]] = {
        "list": _list,
        "set": _set,
        "delete": _delete,
    }
    return actions[arguments.action](arguments)


def _list(arguments: Namespace) -> int:
    if arguments.names:
        raise ValueError("list takes no NAME")
    with connect(arguments) as client:
        document, known = all_pages(
            client,
            RegistryCredential,
            credential_requests.list_credentials,
            key="credentials",
            largest=credential_requests.LARGEST_CREDENTIAL_PAGE,
        )
    head = ("NAME", "REGISTRY", "KIND", "USER", "CHANGED", "BY")
    rows = [_row(each) for each in known]
    lines = table(head, rows, none="no credentials")
    show(arguments.output, document, names=[each.name for each in known], lines=lines)
    return codes.COMPLETED


def _row(found: RegistryCredential) -> tuple[str, ...]:
    changed, by = stamp(found.updated_at), found.updated_by or ""
    return (found.name, found.registry, found.kind, found.username or "", changed, by)


def _set(arguments: Namespace) -> int:
    if len(arguments.names) != 1 or not arguments.registry:
        raise ValueError("set takes one NAME, and --registry")
    if bool(arguments.username) == arguments.is_token:
        raise ValueError("set takes either --username or --identity-token")
    secret = _read(arguments.secret_file)
    request = credential_requests.put_credential(
        arguments.names[0],
        arguments.registry,
        username=arguments.username,
        password=None if arguments.is_token else secret,
        token=secret if arguments.is_token else None,
    )
    with connect(arguments) as client:
        found = client.send(request, RegistryCredential)
    lines = [f"credentials/{found.name} stored"]
    show(arguments.output, found.document, names=[found.name], lines=lines)
    return codes.COMPLETED


def _read(name: str) -> str:
    """A secret, without the end of its line. Raises ValueError, which repeats nothing of it."""
    try:
        if name == "-" and sys.stdin.isatty():
            secret = getpass("password or token: ")
        else:
            content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            secret = content.decode().rstrip("\r\n")
    except OSError as why:
        raise ValueError(f"{name}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: no text") from None
    if not secret:
        raise ValueError(f"{'standard input' if name == '-' else name}: no password or token")
    return secret


def _delete(arguments: Namespace) -> int:
    if not arguments.names:
        raise ValueError("delete takes a NAME")
    with connect(arguments) as client:
        outcomes = [_delete_one(client, name) for name in arguments.names]
    done = [n for n, outcome in zip(arguments.names, outcomes, strict=True) if not outcome]
    lines = [f"credentials/{name} deleted" for name in done]
    show(arguments.output, {"deleted": done}, names=done, lines=lines)
    return codes.worst(outcomes)


def _delete_one(client: Client, name: str) -> int:
    try:
        client.send(credential_requests.delete_credential(name), RegistryCredentialDeleted)
    except IpsError as error:
        return report(error, f"credentials/{name}")
    return codes.COMPLETED
