"""Both faces of the client, so that one test proves the same of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from ips_client import AsyncClient, Client


class Face(Protocol):
    """Calls methods of a client of either kind."""

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method returns."""

    def some(
        self,
        method: str,
        *arguments: Any,
        most: int | None = None,
        on_value: Callable[[Any], object] = lambda _: None,
        **options: Any,
    ) -> list[Any]:
        """What an iterator yields, up to so many; each is told as it comes."""


class SyncFace:
    """The synchronous client."""

    def __init__(self, server: str, **options: Any) -> None:
        self._server = server
        self._options = options

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See ``Face``."""
        with Client(self._server, **self._options) as client:
            return getattr(client, method)(*arguments, **options)

    def some(
        self,
        method: str,
        *arguments: Any,
        most: int | None = None,
        on_value: Callable[[Any], object] = lambda _: None,
        **options: Any,
    ) -> list[Any]:
        """See ``Face``."""
        found = []
        with Client(self._server, **self._options) as client:
            values = getattr(client, method)(*arguments, **options)
            for value in islice(values, most):
                found.append(value)
                on_value(value)
            values.close()
        return found


class AsyncFace:
    """The asynchronous client."""

    def __init__(self, server: str, **options: Any) -> None:
        self._server = server
        self._options = options

    def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        """See ``Face``."""

        async def call() -> Any:
            async with AsyncClient(self._server, **self._options) as client:
                return await getattr(client, method)(*arguments, **options)

        return asyncio.run(call())

    def some(
        self,
        method: str,
        *arguments: Any,
        most: int | None = None,
        on_value: Callable[[Any], object] = lambda _: None,
        **options: Any,
    ) -> list[Any]:
        """See ``Face``."""
        found: list[Any] = []

        async def collect() -> None:
            async with AsyncClient(self._server, **self._options) as client:
                values = getattr(client, method)(*arguments, **options)
                while most is None or len(found) < most:
                    try:
                        found.append(await anext(values))
                    except StopAsyncIteration:
                        break
                    on_value(found[-1])
                await values.aclose()

        asyncio.run(collect())
        return found


FACES: dict[str, type[SyncFace | AsyncFace]] = {"sync": SyncFace, "async": AsyncFace}
MakeFace = Callable[..., Face]
"""Takes a server's address and a client's options."""
