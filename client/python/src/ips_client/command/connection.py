"""The client that a command uses."""

from __future__ import annotations

import os
import warnings
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ips_client.client import Client
from ips_client.server import DEFAULT_SERVER, Server, Token

if TYPE_CHECKING:
    from ssl import SSLContext


def settings(arguments: Namespace) -> dict[str, Any]:
    """What the options say about the connection, as ``Client`` and ``AsyncClient`` take it."""
    found: dict[str, Any] = {
        "server": arguments.server or DEFAULT_SERVER,
        "token": _token(arguments),
        "ssl_context": _ssl_context(arguments),
    }
    if arguments.patience is not None:
        found |= {"patience": arguments.patience, "follow_patience": arguments.patience}
    return found


def connect(arguments: Namespace) -> Client:
    """A client for the server that the options name.

    Raises ValueError for a wrong address, a file that cannot be used, and credentials twice.
    """
    return Client(**settings(arguments))


def as_options(arguments: Namespace) -> Sequence[str]:
    """The options that lead to the same server again, in the same shell; never the token."""
    context = getattr(arguments, "of_context", None)
    words = _named(arguments) if context is None else _named_context(arguments)
    for name in ("ca", "cert", "key"):
        value = getattr(arguments, name)
        if value and value != getattr(context, name, None):
            words += [f"--{name}", value]
    trusts_anyway = context is not None and context.insecure
    return [*words, "--insecure"] if arguments.insecure and not trusts_anyway else words


def _named(arguments: Namespace) -> list[str]:
    if not arguments.server or arguments.server == os.environ.get("IPS_SERVER"):
        return []
    return ["--server", Server.parse(arguments.server).url]


def _named_context(arguments: Namespace) -> list[str]:
    name = arguments.context or os.environ.get("IPS_CONTEXT")
    return ["--context", name] if name else []


def _token(arguments: Namespace) -> Token | None:
    if arguments.token:
        return str(arguments.token)
    if (context := getattr(arguments, "of_context", None)) is not None:
        # The environment's token is meant for another server: it does not go to this one.
        return partial(_read_token, context.token_file) if context.token_file else None
    text, file = os.environ.get("IPS_TOKEN"), os.environ.get("IPS_TOKEN_FILE")
    if text and file:
        raise ValueError("IPS_TOKEN and IPS_TOKEN_FILE are both set: leave one of them out")
    return partial(_read_token, file) if file else text or None


def _read_token(file: str) -> str:
    name = f"IPS_TOKEN_FILE={file}" if os.environ.get("IPS_TOKEN_FILE") == file else file
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except OSError as why:
        raise ValueError(f"{name}: {why.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: no text") from None
    if not token:
        raise ValueError(f"{name}: the file is empty")
    return token


def _ssl_context(arguments: Namespace) -> SSLContext | None:
    """None where the client's own will do."""
    files = (arguments.ca, arguments.cert, arguments.key)
    if not any(files) and not arguments.insecure:
        return None
    from ips_client import tls  # noqa: PLC0415 -- most servers are asked without any of these

    if arguments.insecure:  # the command has warned already
        warnings.filterwarnings("ignore", "Unverified HTTPS request")
    return tls.context(*files, insecure=arguments.insecure)
