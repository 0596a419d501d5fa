"""Who says to NATS who its clients are, put together from the settings."""

from __future__ import annotations

import time
from functools import partial

from common import subjects
from common.bus import Bus, BusSettings, KeyValue
from common.clock import elapsed
from common.lifecycle import StartupError
from coordinator.callout.callout import Callout
from coordinator.callout.identities import Identities, KnowsPods
from coordinator.callout.revocations import Revocations
from coordinator.callout.signing_key import SigningKey
from coordinator.settings import CoordinatorSettings


class NatsIdentities:
    """Answers NATS. ``answer`` from the first moment of a connection, ``follow`` with a store."""

    def __init__(self, settings: CoordinatorSettings, key: SigningKey, own: BusSettings) -> None:
        """``own``: how this coordinator itself proves who it is. Raises StartupError."""
        self._key = key
        self._revocations = Revocations()
        self._identities = Identities(
            key=key,
            own_token=partial(_token, own),
            revoked=self._revocations,
            pods=_pods(settings),
            clock=elapsed,
            wall=time.time,
        )

    async def answer(self, bus: Bus) -> None:
        """Answer questions, for ever."""
        await Callout(
            bus=bus, key=self._key, identities=self._identities, clock=elapsed, wall=time.time
        ).run()

    async def follow(self, bus: Bus) -> None:
        """Keep up with what is revoked, for ever."""
        await self._revocations.run(KeyValue(bus, subjects.KEYS_BUCKET))


def _token(own: BusSettings) -> str | None:
    """The token of NATS, as its file has it now."""
    if own.token is not None or own.token_file is None:
        return own.token
    try:
        return own.token_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _pods(settings: CoordinatorSettings) -> KnowsPods | None:
    if settings.agent_service_account is None:
        return None
    try:
        # Not at the top: who has no Kubernetes does not need the client, nor its 20 MiB.
        from coordinator.callout.service_accounts import ServiceAccounts  # noqa: PLC0415
        from coordinator.nodes.api_server import ApiServer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError(
            f"IPS_AGENT_SERVICE_ACCOUNT needs the package {error.name}: "
            "pip install 'image-prewarm-service[coordinator,kubernetes]'"
        ) from error
    connect = partial(ApiServer.connected, settings.kube_context)
    return ServiceAccounts(connect, settings.namespace, settings.agent_service_account)
