"""The service's own programs as children: a coordinator and agents, to be killed and started anew.

They are started as a user starts them, ``python -m …`` with an environment, or forked from a
process that has imported them (see ``forked``), and talk over loopback.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from common.join_token import JoinKind
from coordinator.callout.join_tokens import new_join_token
from coordinator.callout.signing_key import SigningKey, kept_key
from sandbox.child import Child, Process
from sandbox.forked import Forked, Streams
from sandbox.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from typing import BinaryIO

PROJECT = Path(__file__).parent.parent
START_SECONDS = 120.0
"""How long a start may take; a busy machine may need most of a minute."""
_PROBE_SECONDS = 0.02


class ProgramError(Exception):
    """A program did not start; the text holds the end of what it said."""


class Program(Child):
    """``python -m <module> <words>`` with ``settings`` and nothing else that begins with ``IPS_``.

    ``forked`` starts it without its imports, where no process has to be looked at from outside.
    """

    def __init__(
        self,
        module: str,
        name: str,
        folder: Path,
        settings: Mapping[str, str],
        *,
        words: Sequence[str] = (),
        forked: bool = False,
    ) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("IPS_")}
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        env = {**inherited, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **settings}
        log = folder / f"{name}.log"
        super().__init__([sys.executable, "-m", module, *words], log, env=env)
        self._start = (module, Streams.to_one_log(log), env) if forked else None

    def _run(self, log: BinaryIO) -> Process:
        return Forked(*self._start) if self._start else super()._run(log)

    async def answers(
        self, url: str, *, within: float = START_SECONDS, saying: bytes = b""
    ) -> None:
        """Wait until a URL of the program answers 200, ``saying`` in it. Raises ProgramError."""
        try:
            async with asyncio.timeout(within), aiohttp.ClientSession() as http:
                while not await _is_ok(http, url, saying):
                    if self.pid is None:
                        raise ProgramError(
                            f"{self.name} ended ({self.exit_code}): {self.last_words}"
                        )
                    await asyncio.sleep(_PROBE_SECONDS)
        except TimeoutError:
            raise ProgramError(f"{self.name} is not ready: {self.last_words}") from None

    @property
    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.log[-2000:].strip()


async def _is_ok(http: aiohttp.ClientSession, url: str, saying: bytes) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == HTTPStatus.OK and saying in await answer.read()
    except aiohttp.ClientError:
        return False


class Coordinator(Program):
    """A coordinator with a NATS of its own, or on the one that ``settings`` name.

    ``host`` is where it is asked, and where its NATS listens unless told otherwise: an address of
    loopback as URLs write it.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        name: str = "coordinator",
        host: str = LOOPBACK,
        forked: bool = False,
    ) -> None:
        self.host = host
        self.port = port or free_port(host)
        self.nats_port = free_port(host)
        self.token = secrets.token_hex(16)
        own = {
            "SERVER_PORT": str(self.port),
            "IPS_DATA_DIR": str(folder / name),
            "IPS_NATS_LISTEN": f"{host}:{self.nats_port}",
            "IPS_NATS_TOKEN": self.token,
        }
        self._key = folder / f"{name}.callout-key"
        kept_key(self._key)
        if not (settings or {}).get("IPS_NATS_URL"):
            own["IPS_NATS_CALLOUT_KEY"] = str(self._key)
        super().__init__("coordinator", name, folder, {**own, **(settings or {})}, forked=forked)

    @property
    def url(self) -> str:
        """Where the API and the page are."""
        return f"http://{self.host}:{self.port}"

    async def ready(self, *, within: float = START_SECONDS) -> None:
        """Wait until it takes requests, writes too. Raises ProgramError."""
        await self.answers(f"{self.url}/readyz", within=within, saying=b'"takesWrites":true')

    def agent_settings(self, node: str) -> dict[str, str]:
        """What a node's agent must be told to reach this coordinator's NATS, as that node alone."""
        key = SigningKey.read(self._key)
        return {
            "IPS_NATS_URL": f"nats://{self.host}:{self.nats_port}",
            "IPS_NATS_TOKEN": str(new_join_token(key, JoinKind.NODE, node, time.time())),
        }

    def administrator_settings(self) -> dict[str, str]:
        """What is told to who may do everything on this coordinator's NATS."""
        return {**self.agent_settings("administrator"), "IPS_NATS_TOKEN": self.token}


class Agent(Program):
    """An agent for one node name; ``settings`` say where its NATS and its runtime are.

    ``host`` is where it is asked, an address of loopback as URLs write it.
    """

    def __init__(
        self,
        folder: Path,
        node: str,
        settings: Mapping[str, str],
        *,
        host: str = LOOPBACK,
        module: str = "agent",
        forked: bool = False,
    ) -> None:
        self.node = node
        self.host = host
        self.metrics_port = free_port(host)
        own = {
            "IPS_NODE_NAME": node,
            "IPS_DATA_DIR": str(folder / node),
            "IPS_AGENT_METRICS_PORT": str(self.metrics_port),
        }
        super().__init__(module, node, folder, {**own, **settings}, forked=forked)

    async def ready(self, *, within: float = START_SECONDS) -> None:
        """Wait until it is connected and its runtime answers. Raises ProgramError."""
        await self.answers(f"http://{self.host}:{self.metrics_port}/readyz", within=within)


async def post_task(http: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> str:
    """Create a task; its id. Raises aiohttp.ClientResponseError."""
    async with http.post(f"{url}/api/v1/tasks", json=body) as answer:
        answer.raise_for_status()
        return str((await answer.json())["taskId"])
