"""Asks the API server who somebody is: so many at once, and never longer than anybody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Generic, TypeVar

from common import texts
from common.messages import NOT_DECODABLE
from coordinator.access.callers import AuthorityAwayError
from coordinator.nodes.api_server import ApiServerError

TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - no password
AT_ONCE: Final = 16
"""Asks under way at the same time: strangers' tokens are not to be the API server's burden."""
MOST_WAITING: Final = 1024
"""Those under way and those that wait; whoever comes then is sent away at once."""

A_co = TypeVar("A_co", covariant=True)


class ApiServerAsks(Generic[A_co]):
    """Opens connections to the API server, each for one ask."""

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[A_co]], seconds: float
    ) -> None:
        """``connect`` raises ApiServerError; ``seconds``: how long an ask may take, all in all."""
        self._connect = connect
        self._seconds = seconds
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def ask(self) -> AsyncIterator[A_co]:
        """Have a connection within the block, which ends in time, the wait for a place included.

        Raises AuthorityAwayError for what the API server does, or answers, wrong in the block.
        """
        if self._waiting >= MOST_WAITING:
            raise _away("too much is to be asked at once")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds), self._places, self._connect() as api:
                yield api
        except (ApiServerError, TimeoutError, *NOT_DECODABLE) as why:
            raise _away(str(why) or "no answer in time") from why
        finally:
            self._waiting -= 1


def token_review(token: str, audiences: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """The question whose a token is, for one of these audiences; for the API server's own."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token} | ({"audiences": list(audiences)} if audiences else {}),
    }


def _away(why: str) -> AuthorityAwayError:
    return AuthorityAwayError(texts.ACCESS_AUTHORITY_AWAY(authority="Kubernetes", why=why))
