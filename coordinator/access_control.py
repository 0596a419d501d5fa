"""Who is asked who callers are, put together from the settings."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp

from common import texts
from common.clock import elapsed
from common.lifecycle import StartupError
from common.listening import LOCALHOST
from common.logs import Log
from coordinator.access.callers import Way
from coordinator.access.gatekeeper import Authorities, Gatekeeper, Reviews
from coordinator.access.oidc import ANSWER_SECONDS, Issuer, OidcSettings, read_secret
from coordinator.access.origins import origin_of
from coordinator.access.policy import Policy, read_policy
from coordinator.access.rate_limit import RateLimit
from coordinator.access.receivers import Receivers
from coordinator.access.sealing import Seal
from coordinator.access.session_keys import StoredKeys, keys_of_file
from coordinator.access.token_file import TokenFile
from coordinator.access.watched_file import FileError, WatchedFile
from coordinator.api.guard import Door, Entrance
from coordinator.credentials.key_file import read_secretbox_keys
from coordinator.credentials.pull_secret import PullSecrets
from coordinator.credentials.table import CredentialTable
from coordinator.engine.webhook_signatures import read_keys
from coordinator.settings import CoordinatorSettings, NodeSourceName

LOOPBACK: Final = frozenset({LOCALHOST, "127.0.0.1", "[::1]"})

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class AccessControl:
    """What the settings come to."""

    entrance: Entrance
    receivers: Receivers
    """Which addresses webhooks may reach."""
    signing_keys: WatchedFile[Sequence[bytes]] | None
    credentials: CredentialTable
    """Credentials of registries, which callers have stored."""
    pull_secrets: PullSecrets | None
    """Secrets of Kubernetes with such; None where that is not worked with."""
    stored_keys: StoredKeys | None
    """Keys of sessions that have yet to be read from the store; None where a file has them."""


@asynccontextmanager
async def access_control(settings: CoordinatorSettings) -> AsyncIterator[AccessControl]:
    """Open what is needed to ask, for as long as the block lasts. Raises StartupError."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        connector=aiohttp.TCPConnector(ssl=_trust(settings)),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as http:
        authorities = Authorities(
            tokens=_tokens(settings),
            issuer=_issuer(settings, http),
            kubernetes=_kubernetes(settings),
            groups=settings.roles,
        )
        keys, stored = _keys(settings, authorities)
        seal = Seal(keys, time.time)
        keeper = Gatekeeper(
            authorities,
            seal,
            clock=elapsed,
            wall=time.time,
            session_seconds=settings.session_hours * 3600,
        )
        is_open = authorities.is_open and settings.listen not in LOOPBACK
        if is_open:
            log.warning("nobody is asked who they are: whoever reaches the API can do everything")
        receivers = Receivers(
            networks=settings.webhook_networks or (),
            private=settings.webhook_private,
            loopback=settings.listen in LOOPBACK,
        )
        entrance = Entrance(
            keeper,
            seal,
            Door(
                origin=settings.public_url and origin_of(settings.public_url),
                metrics=settings.metrics_auth,
            ),
            warning=texts.ACCESS_OPEN() if is_open else None,
            policy=_policy(settings),
            receivers=receivers,
            requests=RateLimit(settings.requests_per_minute, elapsed),
            failures=RateLimit(settings.failed_logins_per_minute, elapsed),
        )
        credentials = CredentialTable(_credential_keys(settings))
        yield AccessControl(
            entrance,
            receivers,
            _signing_keys(settings),
            credentials,
            _pull_secrets(settings),
            stored,
        )


def _tokens(settings: CoordinatorSettings) -> TokenFile | None:
    if Way.TOKENS not in settings.ways:
        return None
    if settings.auth_tokens is None:
        raise StartupError("IPS_AUTH names tokens: IPS_AUTH_TOKENS must name a file of them")
    try:
        return TokenFile(settings.auth_tokens)
    except FileError as why:
        raise StartupError(f"IPS_AUTH_TOKENS: {why}") from why


def _signing_keys(settings: CoordinatorSettings) -> WatchedFile[Sequence[bytes]] | None:
    if settings.webhook_secret_file is None:
        return None
    try:
        return WatchedFile(settings.webhook_secret_file, read_keys)
    except FileError as why:
        raise StartupError(f"IPS_WEBHOOK_SECRET_FILE: {why}") from why


def _credential_keys(settings: CoordinatorSettings) -> WatchedFile[Sequence[bytes]] | None:
    if settings.credentials_key_file is None:
        return None
    try:
        return WatchedFile(settings.credentials_key_file, read_secretbox_keys)
    except FileError as why:
        raise StartupError(f"IPS_CREDENTIALS_KEY_FILE: {why}") from why


def _policy(settings: CoordinatorSettings) -> WatchedFile[Policy] | None:
    if settings.policy is None:
        return None
    try:
        return WatchedFile(settings.policy, read_policy)
    except FileError as why:
        raise StartupError(f"IPS_POLICY: {why}") from why


def _issuer(settings: CoordinatorSettings, http: aiohttp.ClientSession) -> Issuer | None:
    if Way.OIDC not in settings.ways:
        return None
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        raise StartupError("IPS_AUTH names oidc: IPS_OIDC_ISSUER and IPS_OIDC_AUDIENCE must be set")
    secret = settings.oidc_client_secret_file
    try:
        client_secret = None if secret is None else read_secret(secret)
    except (OSError, ValueError) as why:
        raise StartupError(f"IPS_OIDC_CLIENT_SECRET_FILE: {why}") from why
    known = OidcSettings(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        client_id=settings.oidc_client_id or settings.oidc_audience,
        client_secret=client_secret,
        user_claim=settings.oidc_user_claim,
        groups_claim=settings.oidc_groups_claim,
        scopes=settings.oidc_scopes,
    )
    return Issuer(known, http, elapsed)


def _trust(settings: CoordinatorSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.oidc_ca)
    except OSError as why:
        raise StartupError(f"IPS_OIDC_CA: {why}") from why


def _kubernetes(settings: CoordinatorSettings) -> Reviews | None:
    if Way.KUBERNETES not in settings.ways:
        return None
    with _kubernetes_client("IPS_AUTH=kubernetes"):
        from coordinator.access.kubernetes_reviews import KubernetesReviews  # noqa: PLC0415
        from coordinator.nodes.api_server import ApiServer  # noqa: PLC0415
    connect = partial(ApiServer.connected, settings.kube_context)
    return KubernetesReviews(connect, settings.namespace)


def _pull_secrets(settings: CoordinatorSettings) -> PullSecrets | None:
    is_source = settings.node_source is NodeSourceName.KUBERNETES
    if not is_source and Way.KUBERNETES not in settings.ways:
        return None
    with _kubernetes_client("IPS_NODE_SOURCE=kubernetes" if is_source else "IPS_AUTH=kubernetes"):
        from coordinator.nodes.api_server import ApiServer  # noqa: PLC0415
        from coordinator.pull_secrets import KubernetesSecrets  # noqa: PLC0415
    return KubernetesSecrets(partial(ApiServer.connected, settings.kube_context))


@contextmanager
def _kubernetes_client(setting: str) -> Iterator[None]:
    """Import what needs it within: who has no Kubernetes does not need its client's 20 MiB."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StartupError(
            f"{setting} needs the package {error.name}: "
            "pip install 'image-prewarm-service[coordinator,kubernetes]'"
        ) from error


def _keys(
    settings: CoordinatorSettings, authorities: Authorities
) -> tuple[Callable[[], Sequence[bytes]], StoredKeys | None]:
    if settings.session_keys_file is None:
        stored = StoredKeys(time.time)
        return stored, None if authorities.is_open else stored
    try:
        keys = keys_of_file(settings.session_keys_file)
    except (OSError, ValueError) as why:
        raise StartupError(f"IPS_SESSION_KEYS_FILE: {why}") from why
    return lambda: keys, None
