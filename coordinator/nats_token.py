"""The token of NATS in a Kubernetes Secret: read, and made where there is none.

Agents and NATS servers get it from the kubelet and wait until it is there. The coordinator may
create Secrets and read this one alone, so that one which is there already stays as it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from common import texts
from common.logs import Log
from common.messages import NOT_DECODABLE
from common.text import Text
from coordinator.nodes.api_server import ApiServer, ApiServerError, ExistsError, NotFoundError

AGAIN_SECONDS: Final = 2.0
KEY: Final = "token"

log = Log(__name__)


class _Secret(msgspec.Struct):
    data: Mapping[str, str] = {}


_read_secret = msgspec.json.Decoder(_Secret).decode


async def token_of(
    name: str, namespace: str, context: str | None, say: Callable[[Text], None]
) -> str:
    """The token that the Secret holds; waits for as long as it can be neither read nor made.

    ``context`` chooses one of the kubeconfig's, ``say`` is told what is waited for, and why.
    """
    path = f"/api/v1/namespaces/{namespace}/secrets"
    while True:
        try:
            async with ApiServer.connected(context) as api:
                return await _get_or_make(api, path, name)
        except (ApiServerError, ValueError, *NOT_DECODABLE) as why:
            text = texts.TOKEN_SECRET_AWAITED(secret=f"{namespace}/{name}", why=str(why))
            log.warning("the token of NATS is not there yet", secret=name, why=str(why))
            say(text)
        await asyncio.sleep(AGAIN_SECONDS)


async def _get_or_make(api: ApiServer, path: str, name: str) -> str:
    """Read it, and make it first where it is missing. Raises ApiServerError, ValueError."""
    try:
        return _token_in(await api.get(f"{path}/{name}"))
    except NotFoundError:
        pass
    try:
        await api.post(path, secret(name))
        log.info("token made", secret=name)
    except ExistsError:
        pass  # by another replica, a moment ago
    return _token_in(await api.get(f"{path}/{name}"))


def _token_in(body: bytes) -> str:
    """The token of a Secret as the API server gives it. Raises ValueError, MsgspecError."""
    try:
        token = base64.b64decode(_read_secret(body).data.get(KEY, ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"its key {KEY!r} holds no text") from None
    if not token.strip():
        raise ValueError(f"it has no key {KEY!r}")
    return token.strip()


def secret(name: str) -> dict[str, Any]:
    """A Secret with a random token. A letter comes first: to NATS 12e3… would be a number."""
    token = f"t{secrets.token_hex(24)}"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "data": {KEY: base64.b64encode(token.encode()).decode()},
    }
