"""The Secrets as the API server has them: read, made where they are missing, kept up.

Servers and agents get them from the kubelet and wait until they are there. The coordinator may
create Secrets, and read and patch those alone that are named to it. Several coordinators may be at
it at once: whoever comes second reads what the first has written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from common import texts
from common.logs import Log
from common.messages import NOT_DECODABLE
from common.text import Text
from coordinator.nats_secrets import contents
from coordinator.nats_secrets.authority import SERVER_LEFT, Pair
from coordinator.nats_secrets.contents import Contents, LostError, SecretData
from coordinator.nodes.api_server import ApiServerError, ExistsError, NotFoundError

AGAIN_SECONDS: Final = 2.0
_ROUNDS: Final = 5
"""How often others may come first before that is an error."""
_TYPE: Final = "Opaque"

log = Log(__name__)


class SecretNames(NamedTuple):
    """How the Secrets are called; what is None is not looked at."""

    servers: str
    coordinators: str | None = None
    agents: str | None = None
    """With it there is TLS."""


class NatsSecrets(NamedTuple):
    """What a coordinator needs of them. ``seed``: of its key; ``trusted``: PEM of the authority."""

    token: str
    seed: str | None = None
    certificate: Pair | None = None
    trusted: str | None = None


class SecretsApi(Protocol):
    """What is needed of a connection to the API server. Each raises ApiServerError."""

    async def get(self, path: str) -> bytes:
        """Read something. Raises NotFoundError."""

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Create something. Raises ExistsError."""

    async def patch(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Change something. Raises NotFoundError, ExistsError."""


class OpenSecretsApi(Protocol):
    """Opens a connection."""

    def __call__(self) -> AbstractAsyncContextManager[SecretsApi]:
        """Open for as long as the block lasts. Raises ApiServerError."""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Secret(msgspec.Struct):
    metadata: _Metadata = _Metadata()
    type: str = _TYPE
    data: dict[str, str] = {}


_read_secret = msgspec.json.Decoder(_Secret).decode


class _TroubleError(Exception):
    """What is the matter with which Secret."""

    def __init__(self, secret: str, why: Exception) -> None:
        super().__init__(str(why))
        self.secret = secret


class SecretStore:
    """The Secrets of one installation."""

    def __init__(
        self,
        names: SecretNames,
        namespace: str,
        connect: OpenSecretsApi,
        hosts: Collection[str],
        now: Callable[[], datetime],
        *,
        writes: bool = True,
    ) -> None:
        """``connect`` opens a connection to the API server; ``hosts``: by which NATS is reached.

        Who does not write waits for a coordinator that does.
        """
        self._names = names
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._connect = connect
        self._hosts = hosts
        self._now = now
        self._writes = writes
        self._taken: dict[str, Contents] = {}
        """By Secret, what this process was started with: servers that run know it by that."""

    async def awaited(self, say: Callable[[Text], None]) -> NatsSecrets:
        """Everything, as it is to be; waits for as long as it can be neither read nor made.

        ``say`` is told what is waited for, and why.
        """
        while True:
            try:
                return await self._kept_up()
            except _TroubleError as why:
                secret = f"{self._namespace}/{why.secret}"
                say(texts.TOKEN_SECRET_AWAITED(secret=secret, why=str(why)))
                log.warning("a Secret of NATS is not there yet", secret=secret, why=str(why))
            await asyncio.sleep(AGAIN_SECONDS)

    async def looked_at(self) -> NatsSecrets | None:
        """Everything, renewed where it ends soon; None where it can not be had now.

        Nothing is made anew that servers which run would not know.
        """
        try:
            return await self._kept_up()
        except _TroubleError as why:
            if isinstance(why.__cause__, LostError):
                self._tell_lost(why)
            else:
                log.warning("a Secret of NATS cannot be looked at", secret=why.secret, why=str(why))
            return None

    def _tell_lost(self, why: _TroubleError) -> None:
        log.error(
            "a Secret of NATS does not hold what servers and coordinators were started with; "
            "nothing is written to it",
            secret=f"{self._namespace}/{why.secret}",
            why=str(why),
            cure="put back what it held; or have everything made anew, as for other secrets: "
            f"kubectl -n {self._namespace} delete secret {self._names.servers}; restart the "
            f"coordinators; then all pods of NATS at once: {self._delete_pods}; then the agents",
        )

    @property
    def _delete_pods(self) -> str:
        return f"kubectl -n {self._namespace} delete pod -l app.kubernetes.io/name=ips-nats"

    async def _kept_up(self) -> NatsSecrets:
        for _ in range(_ROUNDS):
            with suppress(ExistsError):  # somebody else was here first: all is read again
                return await self._kept_once()
        raise _TroubleError(self._names.servers, ApiServerError("others change it all the time"))

    async def _kept_once(self) -> NatsSecrets:
        try:
            async with self._connect() as api:
                taken = await self._all_kept(api)
        except ExistsError:
            raise
        except ApiServerError as why:
            raise _TroubleError(self._names.servers, why) from why
        self._taken = self._taken or taken
        own = None if self._names.coordinators is None else taken[self._names.coordinators]
        return _found(own, taken[self._names.servers])

    async def _all_kept(self, api: SecretsApi) -> dict[str, Contents]:
        """What each Secret of servers and coordinators holds then."""
        now, names, kept = self._now(), self._names, dict[str, Contents]()
        own = None
        if names.coordinators is not None:
            tls = names.agents is not None
            # Told of in time while it runs; a start goes on with what is good until then.
            left = SERVER_LEFT if self._taken else timedelta()
            own = kept[names.coordinators] = await self._keep(
                api,
                names.coordinators,
                lambda held: contents.of_coordinators(held, now, tls=tls, left=left),
                contents.KNOWN_BY_COORDINATORS,
            )
        kept[names.servers] = await self._keep(
            api,
            names.servers,
            lambda held: self._of_servers(held, own, now),
            contents.KNOWN_BY_SERVERS,
        )
        if own is not None and names.agents is not None:
            trusted = contents.of_agents(own)
            await self._keep(api, names.agents, lambda _: trusted)
        return kept

    def _of_servers(self, held: SecretData, own: Contents | None, now: datetime) -> Contents:
        wanted = contents.of_servers(held, own, self._hosts, now)
        if contents.is_of_others(held, wanted):
            log.error(
                "the coordinators' key or the authority is a new one: servers of NATS that run do "
                "not take it, and ALL pods of NATS must be restarted, at once",
                secret=f"{self._namespace}/{self._names.servers}",
                cure=f"{self._delete_pods}; then restart the agents",
            )
        return wanted

    async def _keep(
        self,
        api: SecretsApi,
        name: str,
        fill: Callable[[SecretData], Contents],
        known_by: Collection[str] = (),
    ) -> Contents:
        """Let a Secret hold what ``fill`` makes of what it holds.

        ``known_by``: keys that stay what they were when this process took them. Raises
        _TroubleError, and ExistsError where it changes meanwhile.
        """
        try:
            found = await self._read(api, name)
            held = SecretData(None if found is None else found.data)
            contents.check_kept(held, known_by, self._taken.get(name, {}))
            wanted = fill(held)
            if not self._writes:
                contents.check_kept(held, known_by, wanted)
            elif found is None:
                await self._create(api, name, wanted)
            elif changed := contents.changes(held, wanted):
                await self._change(api, name, found.metadata.resource_version, changed)
        except ExistsError:
            raise
        except (ApiServerError, ValueError, *NOT_DECODABLE) as why:
            raise _TroubleError(name, why) from why
        return wanted

    async def _read(self, api: SecretsApi, name: str) -> _Secret | None:
        try:
            found = _read_secret(await api.get(f"{self._path}/{name}"))
        except NotFoundError:
            return None
        if found.type != _TYPE:  # a ServiceAccount's token, say: nothing for servers and agents
            raise ValueError(f"it is of the type {found.type!r} and not {_TYPE!r}")
        return found

    async def _change(self, api: SecretsApi, name: str, version: str, changed: Contents) -> None:
        body = {"metadata": {"resourceVersion": version}, "data": contents.encoded(changed)}
        await api.patch(f"{self._path}/{name}", body)
        log.info("a Secret of NATS is changed", secret=name, keys=sorted(changed))

    async def _create(self, api: SecretsApi, name: str, wanted: Contents) -> None:
        await api.post(
            self._path,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "type": _TYPE,
                "data": contents.encoded(wanted),
            },
        )
        log.info("a Secret of NATS is made", secret=name)


def _found(own: Contents | None, served: Contents) -> NatsSecrets:
    seed = None if own is None else own[contents.CALLOUT_KEY]
    if contents.TRUSTED not in served:
        return NatsSecrets(served[contents.TOKEN], seed)
    pair = Pair(*(served[key] for key in contents.CERTIFICATE))
    return NatsSecrets(served[contents.TOKEN], seed, pair, served[contents.TRUSTED])
