"""The port for probes and metrics, asked over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Counter

from agent import health
from agent.health import HealthServer
from common.lifecycle import StartupError
from tests.fixtures.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET; blocks."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _hang() -> str:
    time.sleep(0.5)
    return ""


class Served:
    """A port, and what it is told."""

    def __init__(self) -> None:
        self.why_not_ready = ""
        self.registry = CollectorRegistry()
        self.port = HealthServer(0, self.registry, lambda: self.why_not_ready)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        return await asyncio.to_thread(get, self.port.port, path)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A port that is served."""
    served = Served()
    with served.port:
        yield served


async def test_ready(served: Served) -> None:
    """It is ready unless something says why not."""
    assert await served.get("/readyz") == (200, "ok\n")
    served.why_not_ready = "NATS is away"
    assert await served.get("/readyz") == (503, "NATS is away\n")
    assert await served.get("/healthz") == (200, "ok\n")


async def test_metrics(served: Served) -> None:
    """It shows the metrics of its registry."""
    Counter("tries", "Tries.", registry=served.registry).inc(3)
    status, text = await served.get("/metrics")
    assert status == 200
    assert "tries_total 3.0" in text


async def test_elsewhere(served: Served) -> None:
    """Other paths are not there, and say what is."""
    status, text = await served.get("/")
    assert (status, "/metrics" in text) == (404, True)


async def test_loop_hangs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop that does not turn is no life, and the probe hears so."""
    monkeypatch.setattr(health, "LOOP_SECONDS", 0.1)
    with HealthServer(0, served.registry, _hang) as port:
        status, text = await asyncio.to_thread(get, port.port, "/readyz")
    assert (status, text) == (503, "the event loop has not turned for 0.1 s\n")


async def test_silent_client(served: Served) -> None:
    """A client that connects and says nothing holds up nobody."""
    with socket.create_connection(("127.0.0.1", served.port.port)):
        assert await served.get("/readyz") == (200, "ok\n")


async def test_client_is_gone(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that is gone before it is served blocks nothing."""
    for _ in range(3):  # few enough to wait in the queue of the socket until the loop turns
        with socket.create_connection(("127.0.0.1", served.port.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    assert await served.get("/readyz") == (200, "ok\n")
    assert capfd.readouterr().err == ""


async def test_port_in_use(served: Served) -> None:
    """A port in use is one line that says what to do."""
    with pytest.raises(StartupError, match="set IPS_AGENT_METRICS_PORT") as refusal:
        HealthServer(served.port.port, served.registry, lambda: "").__enter__()
    assert "\n" not in str(refusal.value)
