"""The Secrets as the API server has them: read, made where they are missing, kept up.

Servers and agents get them from the kubelet and wait until they are there. The coordinator may
create Secrets, and read and patch those alone that are named to it. Several coordinators may be at
it at once: whoever comes second reads what the first has written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from common import texts
from common.logs import Log
from common.messages import NOT_DECODABLE
from common.text import Text
from coordinator.nats_secrets import contents
from coordinator.nats_secrets.authority import Pair
from coordinator.nats_secrets.contents import Contents, SecretData
from coordinator.nodes.api_server import ApiServer, ApiServerError, ExistsError, NotFoundError

AGAIN_SECONDS: Final = 2.0
_ROUNDS: Final = 5
"""How often others may come first before that is an error."""

log = Log(__name__)


class SecretNames(NamedTuple):
    """SecretNames of Secrets; what is None is not looked at."""

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


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Secret(msgspec.Struct):
    metadata: _Metadata = _Metadata()
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
        context: str | None,
        hosts: Collection[str],
        now: Callable[[], datetime],
    ) -> None:
        """``context`` chooses one of the kubeconfig's; ``hosts``: by which NATS is reached."""
        self._names = names
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._context = context
        self._hosts = hosts
        self._now = now

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
        """Everything, renewed where it ends soon; None where it can not be had now."""
        try:
            return await self._kept_up()
        except _TroubleError as why:
            log.warning("a Secret of NATS cannot be looked at", secret=why.secret, why=str(why))
            return None

    async def _kept_up(self) -> NatsSecrets:
        now, names = self._now(), self._names
        try:
            async with ApiServer.connected(self._context) as api:
                own = None
                if names.coordinators is not None:
                    tls = names.agents is not None
                    own = await self._keep(
                        api,
                        names.coordinators,
                        lambda held: contents.of_coordinators(held, now, tls=tls),
                    )
                served = await self._keep(
                    api,
                    names.servers,
                    lambda held: contents.of_servers(held, own, self._hosts, now),
                )
                if own is not None and names.agents is not None:
                    trusted = contents.of_agents(own)
                    await self._keep(api, names.agents, lambda _: trusted)
        except ApiServerError as why:
            raise _TroubleError(names.servers, why) from why
        return _found(own, served)

    async def _keep(
        self, api: ApiServer, name: str, fill: Callable[[SecretData], Contents]
    ) -> Contents:
        """Let a Secret hold what ``fill`` makes of what it holds. Raises _TroubleError."""
        for _ in range(_ROUNDS):
            try:
                return await self._kept_once(api, name, fill)
            except ExistsError:  # somebody else was here first
                continue
            except (ApiServerError, ValueError, *NOT_DECODABLE) as why:
                raise _TroubleError(name, why) from why
        raise _TroubleError(name, ApiServerError("others change it all the time"))

    async def _kept_once(
        self, api: ApiServer, name: str, fill: Callable[[SecretData], Contents]
    ) -> Contents:
        try:
            found = _read_secret(await api.get(f"{self._path}/{name}"))
        except NotFoundError:
            wanted = fill(SecretData(None))
            await self._create(api, name, wanted)
            return wanted
        held = SecretData(found.data)
        wanted = fill(held)
        if changed := contents.changes(held, wanted):
            version = {"resourceVersion": found.metadata.resource_version}
            body = {"metadata": version, "data": contents.encoded(changed)}
            await api.patch(f"{self._path}/{name}", body)
            log.info("a Secret of NATS is changed", secret=name, keys=sorted(changed))
        return wanted

    async def _create(self, api: ApiServer, name: str, wanted: Contents) -> None:
        await api.post(
            self._path,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "type": "Opaque",
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
