"""A NATS that knows its users by signed JWTs, and a user's credentials file.

The forms are those of https://github.com/nats-io/jwt (version 2): each token is signed by the key
of the one above it, operator, account, user.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

import nkeys


@dataclass(frozen=True, slots=True)
class OperatorMode:
    """What a server is told, and the credentials file of one user of its one account."""

    settings: dict[str, Any]
    creds: str


def operator_mode() -> OperatorMode:
    """Make keys and tokens; the account may use JetStream without limits."""
    operator, account, system, user = (
        nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))
        for kind in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
        )
    )
    free = dict.fromkeys(["subs", "data", "payload", "imports", "exports", "conn", "leaf"], -1)
    stored = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    accounts = {
        _name(account): _token(operator, account, "account", limits=free | stored),
        _name(system): _token(operator, system, "account", limits=free),
    }
    settings = {
        "operator": _token(operator, operator, "operator", system_account=_name(system)),
        "system_account": _name(system),
        "resolver": "MEMORY",
        "resolver_preload": accounts,
    }
    token = _token(account, user, "user", subs=-1, data=-1, payload=-1)
    seed = bytes(user.seed).decode()
    creds = (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return OperatorMode(settings, creds)


def _name(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode()


def _token(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, kind: str, **claims: Any) -> str:
    body = {
        "iat": 1_700_000_000,
        "iss": _name(issuer),
        "name": kind,
        "sub": _name(subject),
        "nats": {**claims, "type": kind, "version": 2},
    }
    body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode()
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    return f"{signed}.{_base64(issuer.sign(signed.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
