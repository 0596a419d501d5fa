"""By what this coordinator is known to NATS and answers it: settings, files, Secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlsplit

from common.bus.settings import parse_server
from common.lifecycle import StartupError
from common.text import Text
from coordinator.callout.signing_key import SigningKey, kept_key
from coordinator.data_dir import write_private
from coordinator.settings import CoordinatorSettings

if TYPE_CHECKING:
    from coordinator.nats_secrets.store import NatsSecrets, SecretStore

OWN_KEY: Final = "nats/callout-key"
"""In the coordinator's folder, beside the store of its own NATS."""
TRUSTED: Final = "nats-ca.crt"
CERTIFICATE: Final = ("nats-tls.crt", "nats-tls.key")
"""In the coordinator's folder, as the Secrets have them."""
LOOK_SECONDS: Final = 3600.0
"""How often it is seen whether a certificate ends soon."""


class NatsAccess:
    """What is needed to connect, to answer, and to start a server of our own."""

    def __init__(self, settings: CoordinatorSettings, key: SigningKey | None) -> None:
        self.key = key
        """None for a NATS that does not ask."""
        self.token = settings.nats_token
        self.ca = settings.nats_ca
        self.certificate: tuple[Path, Path] | None = None
        """For a server of our own, with its private key."""
        self._folder = settings.state_dir
        self._has_own_server = settings.nats_servers is None
        self._store: SecretStore | None = None

    async def keep_up(self) -> NoReturn:
        """Renew what ends soon, for ever; whoever uses the files reads them anew."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._store is not None and (found := await self._store.looked_at()) is not None:
                self._write(found)

    def take(self, store: SecretStore, found: NatsSecrets) -> None:
        """Take what the Secrets hold. Raises OSError, ValueError."""
        self._store = store
        self.token = found.token
        if found.seed is not None:
            self.key = SigningKey(found.seed)
        if found.trusted is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(found)
            self.ca = self._folder / TRUSTED
            if self._has_own_server:
                self.certificate = (self._folder / CERTIFICATE[0], self._folder / CERTIFICATE[1])

    def _write(self, found: NatsSecrets) -> None:
        if found.trusted is None or found.certificate is None:
            return
        files = {TRUSTED: found.trusted}
        if self._has_own_server:  # nobody else here needs the servers' private key
            files |= zip(CERTIFICATE, found.certificate, strict=True)
        for name, text in files.items():
            file = self._folder / name
            if not file.exists() or file.read_text() != text:
                write_private(file, text)


async def nats_access(
    settings: CoordinatorSettings, say: Callable[[Text], None], *, makes_secrets: bool = True
) -> NatsAccess:
    """Everything, once it is there; ``say`` is told what is waited for. Raises StartupError."""
    access = NatsAccess(settings, signing_key(settings))
    store = _store(settings, makes_secrets=makes_secrets)
    if store is not None:
        found = await store.awaited(say)
        try:
            access.take(store, found)
        except OSError as why:
            raise StartupError(f"what is in the Secrets cannot be written: {why}") from why
    return access


def signing_key(settings: CoordinatorSettings) -> SigningKey | None:
    """The key in a file; None where that is a Secret, or NATS does not ask. Raises StartupError."""
    given = settings.nats_callout_key
    if given is None and (settings.nats_servers or settings.nats_callout_secret):
        return None
    try:
        return SigningKey.read(given) if given else kept_key(settings.state_dir / OWN_KEY)
    except (OSError, ValueError) as why:
        file = given or settings.state_dir / OWN_KEY
        raise StartupError(f"IPS_NATS_CALLOUT_KEY: {file}: {why}") from why


def _store(settings: CoordinatorSettings, *, makes_secrets: bool) -> SecretStore | None:
    """The Secrets, where the settings name any. Raises StartupError."""
    servers, own = settings.nats_token_secret, settings.nats_callout_secret
    if servers is None or settings.nats_token or settings.nats_token_file:
        if own or settings.nats_ca_secret:
            raise StartupError(
                "IPS_NATS_CALLOUT_SECRET and IPS_NATS_CA_SECRET go with IPS_NATS_TOKEN_SECRET"
            )
        return None
    if settings.nats_ca_secret and own is None:
        raise StartupError("IPS_NATS_CA_SECRET goes with IPS_NATS_CALLOUT_SECRET")
    try:
        # Not at the top: who has no Kubernetes does not need the client, nor its 20 MiB.
        from coordinator.nats_secrets.store import SecretNames, SecretStore  # noqa: PLC0415
        from coordinator.nodes.api_server import ApiServer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartupError(
            f"IPS_NATS_TOKEN_SECRET needs the package {error.name}: "
            "pip install 'image-prewarm-service[coordinator,kubernetes]'"
        ) from error
    return SecretStore(
        SecretNames(servers, own, settings.nats_ca_secret),
        settings.namespace,
        partial(ApiServer.connected, settings.kube_context),
        _hosts(settings, servers),
        lambda: datetime.now(UTC),
        writes=makes_secrets,
    )


def _hosts(settings: CoordinatorSettings, service: str) -> tuple[str, ...]:
    """By which names NATS is reached: its Service has the name of its Secret."""
    peers, namespace = f"*.{service}-peers", settings.namespace
    urls = (parse_server(text).url for text in settings.nats_servers or ())
    given = (urlsplit(url).hostname for url in urls)
    found = (
        *(service, f"{service}.{namespace}", f"{service}.{namespace}.svc"),
        *(peers, f"{peers}.{namespace}.svc"),
        *("localhost", "127.0.0.1", "::1"),
        *(host for host in given if host),
    )
    return tuple(dict.fromkeys(found))
