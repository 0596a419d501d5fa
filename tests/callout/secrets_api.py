"""Secrets as an API server keeps them, in memory; a real one is in tests/kubernetes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from coordinator.nats_secrets.contents import encoded
from coordinator.nodes.api_server import ExistsError, NotFoundError

Json = dict[str, Any]


class SecretsInMemory:
    """Kept by name; ``before_write`` is called once, before something is changed."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}
        self.writes: list[str] = []
        self.before_write: Callable[[], None] | None = None
        self._version = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SecretsInMemory]:
        """Always there."""
        yield self

    def put(self, name: str, contents: Mapping[str, str], kind: str = "Opaque") -> None:
        """As somebody else writes it: what was there is gone."""
        self._version += 1
        metadata = {"name": name, "resourceVersion": str(self._version)}
        self.kept[name] = {"metadata": metadata, "type": kind, "data": encoded(contents)}

    async def get(self, path: str) -> bytes:
        """Read one."""
        return json.dumps(self._found(path)).encode()

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Make one."""
        assert path == "/api/v1/namespaces/ips-system/secrets"
        self._others_first()
        name = body["metadata"]["name"]
        if name in self.kept:
            raise ExistsError(f"409 secrets {name!r} already exists")
        self.writes.append(name)
        self.put(name, {})
        self.kept[name] |= {"type": body["type"], "data": dict(body["data"])}
        return b"{}"

    async def patch(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Change one that is as it was read."""
        self._others_first()
        found = self._found(path)
        name = found["metadata"]["name"]
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise ExistsError("409 the object has been modified")
        self.writes.append(name)
        data = {**found["data"], **body["data"]}
        self.put(name, {})
        self.kept[name]["data"] = data
        return b"{}"

    def _others_first(self) -> None:
        others, self.before_write = self.before_write, None
        if others is not None:
            others()

    def _found(self, path: str) -> Json:
        found = self.kept.get(path.rpartition("/")[2])
        if found is None:
            raise NotFoundError(f"404 {path}")
        return found
