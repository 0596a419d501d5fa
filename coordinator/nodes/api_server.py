"""Requests to the Kubernetes API server, with JSON that is left as it comes.

The official client finds the server and proves who asks (in-cluster first, then kubeconfig). Its
models are not used: making them of 5,000 Nodes blocks the event loop for seconds, and importing
them costs 23 MiB.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from common.messages import NOT_DECODABLE
from coordinator.nodes.node_object import read_failure

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
"""Longest wait for the next bytes of an answer that is due at once."""
_CHUNK: Final = 64 * 1024
LINE_BYTES: Final = 16 * 1024 * 1024
"""Of a line: no object of Kubernetes has a tenth of it."""
_AUTHENTICATION: Final = ["BearerToken"]


class PatchKind(StrEnum):
    """How a patch is meant; the values are media types."""

    MERGE = "application/merge-patch+json"
    """What is named is replaced, ``None`` takes it away; a list is one value."""
    STRATEGIC = "application/strategic-merge-patch+json"
    """As above; but entries of some lists, as conditions, are merged by their key."""
    JSON = "application/json-patch+json"
    """Operations on paths (RFC 6902), all or none."""


class ApiServerError(Exception):
    """The API server cannot be asked or refuses; the text says why, in a few words."""


class ExpiredError(ApiServerError):
    """The version asked for is no longer kept (410): list anew."""


class NotFoundError(ApiServerError):
    """Nothing of that name is there (404)."""


class ExistsError(ApiServerError):
    """Something of that name is there already, or is not what it was (409)."""


class ForbiddenError(ApiServerError):
    """A right is missing, or a policy of the cluster refuses (403)."""


class UnfitError(ApiServerError):
    """What is asked for does not fit what is there, as after a test that failed (422)."""


class ApiServer:
    """Requests over one configuration, which is read anew for each ``connected``.

    Tokens, certificates and authorities are rotated on disk while the program runs.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connected(cls, context: str | None = None) -> AsyncIterator[ApiServer]:
        """Open connections for as long as the block lasts. Raises ApiServerError.

        ``context`` chooses one of the kubeconfig's; in a pod the ServiceAccount is what counts.
        """
        try:
            configuration = await _configuration(context)
            client = ApiClient(configuration)
        except (config.ConfigException, OSError, ValueError) as why:
            raise ApiServerError(f"no way to the API server is configured: {why}") from why
        async with client:
            yield cls(client)

    async def get(self, path: str, **query: str) -> bytes:
        """The whole body of an answer. Raises ApiServerError, ExpiredError, NotFoundError."""
        async with self._answer("GET", path, query, silence=ANSWER_SECONDS) as answer:
            return await answer.read()

    async def post(
        self, path: str, body: Mapping[str, Any], silence: float = ANSWER_SECONDS
    ) -> bytes:
        """Create something; what it is then, as JSON. Raises ApiServerError, ExistsError."""
        async with self._answer("POST", path, {}, silence=silence, body=body) as answer:
            return await answer.read()

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        kind: PatchKind = PatchKind.MERGE,
    ) -> bytes:
        """Change what ``body`` names; what it is then, as JSON.

        Raises ApiServerError, NotFoundError, ForbiddenError, UnfitError, and ExistsError where a
        ``resourceVersion`` in it is not that of the object any more.
        """
        async with self._answer(
            "PATCH", path, {}, silence=ANSWER_SECONDS, body=body, kind=kind
        ) as answer:
            return await answer.read()

    @asynccontextmanager
    async def streamed(
        self, path: str, silence: float, **query: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of an answer that goes on until the server ends it; entered once it begins.

        Raises ApiServerError, also after ``silence`` seconds without a byte, and ExpiredError.
        """
        async with self._answer("GET", path, query, silence=silence) as answer:
            yield _lines(answer.content)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        silence: float,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        kind: PatchKind | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=silence, connect=silence
        )
        try:
            request = await self._client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(query.items()),
                header_params=None if kind is None else {"Content-Type": str(kind)},
                body=body,
                auth_settings=_AUTHENTICATION,
            )
            answer = (await self._client.call_api(*request, _request_timeout=timeout)).response
            async with answer:
                if answer.status >= HTTPStatus.BAD_REQUEST:
                    raise _refusal(answer.status, await answer.read())
                yield answer
        except (aiohttp.ClientError, OSError) as why:
            raise ApiServerError(f"{type(why).__name__}: {why}".rstrip(": ")) from why


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Cut into lines: aiohttp's own reader gives up on long ones, and Nodes are long.

    Of one that is longer than ``LINE_BYTES`` comes its beginning, which nobody understands.
    """
    line = bytearray()
    async for chunk in content.iter_chunked(_CHUNK):
        first, *others = chunk.split(b"\n")
        if len(line) <= LINE_BYTES:
            line += first
        for start in others:
            yield bytes(line)
            line = bytearray(start)


async def _configuration(context: str | None) -> Configuration:
    found = Configuration()
    try:
        config.load_incluster_config(found)
    except config.ConfigException:
        await config.load_kube_config(context=context, client_configuration=found)
    return found


def _refusal(status: int, body: bytes) -> ApiServerError:
    try:
        message = read_failure(body).message
    except NOT_DECODABLE:
        message = body[:200].decode(errors="replace")
    return failure(status, message)


_BY_STATUS: Final[Mapping[int, type[ApiServerError]]] = {
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.CONFLICT: ExistsError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.UNPROCESSABLE_ENTITY: UnfitError,
}


def failure(status: int, message: str) -> ApiServerError:
    """What an HTTP status means, whether it came as such or inside a watch."""
    return _BY_STATUS.get(status, ApiServerError)(f"{status} {message}".rstrip())
