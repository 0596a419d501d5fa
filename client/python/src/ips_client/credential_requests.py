"""What is sent about stored registry credentials; as ``requests`` in all else."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from ips_client.requests import Request

LARGEST_CREDENTIAL_PAGE: Final = 1000
"""The service stores no more."""


def put_credential(
    name: str, registry: str, *, username: str | None, password: str | None, token: str | None
) -> Request:
    """``PUT /api/v1/credentials/{name}``: sent twice it is one credential."""
    given = {"username": username, "password": password, "token": token}
    body = {"registry": registry, **{key: value for key, value in given.items() if value}}
    return Request("PUT", _credential(name), body=body)


def get_credential(name: str) -> Request:
    """``GET /api/v1/credentials/{name}``."""
    return Request("GET", _credential(name))


def delete_credential(name: str) -> Request:
    """``DELETE /api/v1/credentials/{name}``."""
    return Request("DELETE", _credential(name))


def list_credentials(limit: int = LARGEST_CREDENTIAL_PAGE, offset: int = 0) -> Request:
    """``GET /api/v1/credentials``."""
    return Request("GET", "/credentials", {"limit": str(limit), "offset": str(offset)})


def _credential(name: str) -> str:
    return f"/credentials/{quote(name, safe='')}"
