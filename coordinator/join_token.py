"""``python -m coordinator join-token NODE`` and ``callout-key FILE``: who is who on NATS.

A token goes to stdout and nowhere else. Both read the same environment as the coordinator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common import subjects
from common.bus import Bus, BusError, BusSettings, KeyValue
from common.join_token import JoinKind
from common.lifecycle import StartupError
from common.subjects import is_node_name
from coordinator.callout.join_tokens import new_join_token, revocation_key
from coordinator.callout.server_settings import USER, authorization
from coordinator.callout.signing_key import kept_key
from coordinator.nats_access import NatsAccess, nats_access
from coordinator.settings import CoordinatorSettings

CONNECT_SECONDS: Final = 10.0
_PASSWORD: Final = "$NATS_TOKEN"  # noqa: S105 -- a variable of nats-server's configuration


def join_token(given: Sequence[str]) -> int:
    """Make a join token, or revoke all that were made; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m coordinator join-token",
        description="Makes the token by which one node's agent is known to NATS (IPS_NATS_TOKEN).",
    )
    parser.add_argument("name", help="the node's name")
    parser.add_argument(
        "--events", action="store_true", help="for a program that reads events, under any name"
    )
    parser.add_argument(
        "--revoke", action="store_true", help="let in nobody with a token of this name made so far"
    )
    asked = parser.parse_args(given)
    if not is_node_name(asked.name):
        parser.error(f"{asked.name!r} is no name as nodes have it")
    kind = JoinKind.EVENTS if asked.events else JoinKind.NODE
    try:
        settings = CoordinatorSettings.load(os.environ)
        if asked.revoke:
            asyncio.run(_revoke(settings, kind, asked.name))
        else:
            sys.stdout.write(f"{asyncio.run(_made(settings, kind, asked.name))}\n")
    except (StartupError, BusError, TimeoutError) as why:
        sys.stderr.write(f"{why or 'NATS does not answer in time'}\n")
        return 1
    return 0


async def _made(settings: CoordinatorSettings, kind: JoinKind, name: str) -> str:
    key = (await _access(settings)).key
    if key is None:
        raise StartupError("IPS_NATS_CALLOUT_KEY must be set where IPS_NATS_URL is")
    return str(new_join_token(key, kind, name, time.time()))


async def _revoke(settings: CoordinatorSettings, kind: JoinKind, name: str) -> None:
    settings_of_bus = _bus_settings(settings, await _access(settings))
    async with asyncio.timeout(CONNECT_SECONDS):
        bus = await Bus.connect(settings_of_bus)
        try:
            bucket, key = KeyValue(bus, subjects.KEYS_BUCKET), revocation_key(kind, name)
            upto = str(int(time.time() * 1000)).encode()
            known = await bucket.get(key)
            if known is None:
                await bucket.create(key, upto)
            else:
                await bucket.update(key, upto, known.revision)
        finally:
            await bus.close()


async def _access(settings: CoordinatorSettings) -> NatsAccess:
    """As the coordinator has it. Secrets that are lost are not this program's to make anew."""
    awaited: list[str] = []
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await nats_access(
                settings, lambda text: awaited.append(text.message), makes_secrets=False
            )
    except TimeoutError:
        raise StartupError(awaited[-1] if awaited else "Kubernetes does not answer") from None


def _bus_settings(settings: CoordinatorSettings, access: NatsAccess) -> BusSettings:
    own = settings.nats_servers is None
    listen = settings.nats_listen
    kept = settings.state_dir / "nats/token" if own and access.token is None else None
    return BusSettings(
        servers=settings.nats_servers or (f"nats://{listen.host}:{listen.port}",),
        user=USER if access.key else None,
        token=access.token,
        token_file=settings.nats_token_file or kept,
        creds=settings.nats_creds,
        ca=access.ca,
    )


def callout_key(given: Sequence[str]) -> int:
    """Make a key where there is none, and say what NATS must be told; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m coordinator callout-key",
        description="Makes the coordinators' key (IPS_NATS_CALLOUT_KEY), and prints what belongs "
        "into the configuration of each nats-server.",
    )
    parser.add_argument("file", type=Path, help="where the key is, or is to be")
    file: Path = parser.parse_args(given).file
    try:
        issuer = kept_key(file).issuer
    except (OSError, ValueError) as why:
        sys.stderr.write(f"{file}: {why}\n")
        return 1
    said = json.dumps(authorization(issuer, _PASSWORD), indent=2)
    sys.stdout.write(f"authorization {said.replace(json.dumps(_PASSWORD), _PASSWORD)}\n")
    return 0
