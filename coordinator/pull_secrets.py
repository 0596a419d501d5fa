"""Reads the Secrets that tasks name. What is read is given to whoever asks, and not kept."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from common import credential_texts as texts
from common.clock import elapsed
from coordinator.access.api_server_asks import ApiServerAsks
from coordinator.access.known_answers import KnownAnswers
from coordinator.credentials.pull_secret import PullSecret, PullSecretError, decode_pull_secret
from coordinator.nodes.api_server import ForbiddenError, NotFoundError

ANSWER_SECONDS: Final = 10.0


class Gets(Protocol):
    """What is needed of a connection to the API server."""

    async def get(self, path: str) -> bytes:
        """Read something. Raises ApiServerError."""


class OpenGets(Protocol):
    """Opens a connection."""

    def __call__(self) -> AbstractAsyncContextManager[Gets]:
        """Open for as long as the block lasts. Raises ApiServerError."""


class KubernetesSecrets:
    """The Secrets of a cluster, as far as the coordinator may get them."""

    def __init__(self, connect: OpenGets) -> None:
        self._asks = ApiServerAsks(connect, ANSWER_SECONDS)
        # Nodes that begin together share one read; nothing of it is remembered.
        self._reads: KnownAnswers[PullSecret] = KnownAnswers(lambda _: 0.0, elapsed, most=0)

    async def read(self, name: str) -> PullSecret:
        """One of them, as it is now. Raises PullSecretError, AuthorityAwayError."""
        return await self._reads.get(name, lambda: self._read(name))

    async def _read(self, name: str) -> PullSecret:
        namespace, _, own = name.partition("/")
        async with self._asks.ask() as api:
            try:
                body = await api.get(f"/api/v1/namespaces/{namespace}/secrets/{own}")
            except NotFoundError:
                raise PullSecretError(texts.PULL_SECRET_GONE(name=name)) from None
            except ForbiddenError:
                raise PullSecretError(texts.PULL_SECRET_FORBIDDEN(name=name)) from None
            return decode_pull_secret(name, body)
