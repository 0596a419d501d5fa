"""Join tokens: made and known again with the coordinators' key alone, and revoked by their age."""

from __future__ import annotations

import base64
import hmac

from common.join_token import JoinKind, JoinToken, parse_join_token
from common.subjects import is_node_name, node_key
from coordinator.callout.signing_key import SigningKey


def new_join_token(key: SigningKey, kind: JoinKind, name: str, now: float) -> JoinToken:
    """A token made ``now``, in seconds since 1970. Raises ValueError for no node's name."""
    if not is_node_name(name):
        raise ValueError(f"not a name as nodes have it: {name!r}")
    token = JoinToken(kind, name, int(now * 1000), "")
    return token._replace(mac=_mac(key, token))


def real_join_token(key: SigningKey, text: str) -> JoinToken | None:
    """What a token says that was made with this key; None for anything else."""
    token = parse_join_token(text)
    if token is None or not hmac.compare_digest(_mac(key, token), token.mac):
        return None
    return token


def revocation_key(kind: JoinKind, name: str) -> str:
    """Under which is kept up to which serial the tokens of somebody are revoked."""
    return f"revoked.{kind}.{node_key(name)}"


def _mac(key: SigningKey, token: JoinToken) -> str:
    return base64.urlsafe_b64encode(key.mac(token.signed)).rstrip(b"=").decode()
