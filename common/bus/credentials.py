"""What a connection shows to prove who it is, read anew from its files each time."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from common.bus.errors import BusRefused

if TYPE_CHECKING:
    from pathlib import Path

    from common.bus.settings import BusSettings, Server

_CREDS_PARTS = ("-----BEGIN NATS USER JWT-----", "-----BEGIN USER NKEY SEED-----")


def credentials(settings: BusSettings, server: Server) -> dict[str, Any]:
    """Build the options of nats-py's ``connect`` for authentication and TLS.

    The first that is set: creds file, user and password of the URL, token of the URL, token,
    token file. Raises BusRefused, naming the setting, when a file cannot be used.
    """
    options: dict[str, Any] = {}
    if server.tls or settings.ca is not None:
        options["tls"] = _tls(settings.ca)
    if settings.creds is not None:
        options["user_credentials"] = _checked_creds(settings.creds)
    elif server.password is not None:
        options |= {"user": server.user, "password": server.password}
    elif token := _token(settings, server):
        options |= {"user": settings.user, "password": token} if settings.user else {"token": token}
    return options


def _token(settings: BusSettings, server: Server) -> str | None:
    if settings.token_file is None or server.token or settings.token:
        return server.token or settings.token
    return _read("IPS_NATS_TOKEN_FILE", settings.token_file)


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise BusRefused(f"IPS_NATS_CA: no certificate can be read from {ca}: {error}") from error


def _checked_creds(creds: Path) -> str:
    """Check what nats-py would loop over for ever (a file without its parts)."""
    text = _read("IPS_NATS_CREDS", creds)
    if not all(part in text for part in _CREDS_PARTS):
        raise BusRefused(f"IPS_NATS_CREDS: {creds} is no credentials file of NATS")
    if find_spec("nkeys") is None:
        raise BusRefused(
            "IPS_NATS_CREDS needs the Python package nkeys: "
            "pip install 'image-prewarm-service[creds]'"
        )
    return str(creds)


def _read(setting: str, file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BusRefused(f"{setting}: {file} cannot be read: {error}") from error
