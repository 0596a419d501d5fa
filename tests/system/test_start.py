"""A start that cannot succeed ends with one line that names the cause; one that can wait, waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from sandbox.certificates import self_signed
from sandbox.programs import Coordinator
from tests.fixtures.fleet import Fleet
from tests.fixtures.nats import NatsServer, StartNats
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system


async def refused(coordinator: Coordinator) -> str:
    """Start it, wait for its end, and take its one line."""
    coordinator.start()
    await coordinator.exited()
    assert coordinator.exit_code not in {0, None}
    assert "Traceback" not in coordinator.log
    lines = [line for line in coordinator.log.splitlines() if not line.startswith("{")]
    (line,) = lines
    return line


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SERVER_PORT", "70000"),
        ("IPS_NATS_SERVER", "/nonexistent/nats-server"),
        ("IPS_NATS_TOKEN_FILE", "/nonexistent/token"),
        ("IPS_UNKNOWN", "1"),
    ],
)
async def test_a_bad_setting_stops_the_start_and_is_named(
    tmp_path: Path, setting: str, value: str
) -> None:
    """A value, a file, a name: it stands in the line. All values are tests/common's."""
    own = {"IPS_NATS_TOKEN": ""} if setting == "IPS_NATS_TOKEN_FILE" else {}
    assert setting in await refused(Coordinator(tmp_path, {**own, setting: value}, forked=True))


async def test_a_port_in_use_is_named(fleet: Fleet, tmp_path: Path) -> None:
    """The HTTP port, and the port of its own NATS."""
    first = await fleet.add_coordinator()
    second = Coordinator(tmp_path / "b", port=first.port, forked=True)
    assert f"port {first.port} is in use" in await refused(second)
    taken = {"IPS_NATS_LISTEN": f"127.0.0.1:{first.nats_port}"}
    third = Coordinator(tmp_path / "c", taken, forked=True)
    assert str(first.nats_port) in await refused(third)


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Even root cannot make a folder below a file."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    own = {"IPS_DATA_DIR": str(blocked / "data")}
    line = await refused(Coordinator(tmp_path / "logs", own, forked=True))
    assert str(blocked) in line
    assert "IPS_DATA_DIR" in line


async def test_a_nats_that_will_not_do_is_refused(tmp_path: Path, start_nats: StartNats) -> None:
    """A wrong token, and a server without JetStream."""
    closed = await start_nats(authorization={"token": "right"})
    wrong = {"IPS_NATS_URL": closed.url, "IPS_NATS_TOKEN": "wrong"}
    line = await refused(Coordinator(tmp_path / "a", wrong, forked=True))
    assert "IPS_NATS" in line or "token" in line
    assert "wrong" not in line.replace("wrong token", "").replace("wrong password", "")
    plain = await start_nats(jetstream=None)
    settings = {"IPS_NATS_URL": plain.url, "IPS_NATS_TOKEN": ""}
    assert "JetStream" in await refused(Coordinator(tmp_path / "b", settings, forked=True))


async def test_a_nats_that_is_not_there_yet_is_waited_for(
    fleet: Fleet, nats_server: NatsServer
) -> None:
    """Alive, not ready and saying why; ready as soon as it comes."""
    await nats_server.stop()
    fleet.nats_settings = {"IPS_NATS_URL": nats_server.url}
    coordinator = await fleet.add_coordinator(ready=False)
    await coordinator.answers(f"{coordinator.url}/healthz")
    async with fleet.http.get(f"{coordinator.url}/readyz") as answer:
        assert answer.status == 503
        assert "NATS" in (await answer.json())["detail"]
    await nats_server.start()
    await coordinator.ready()


async def test_a_store_without_the_room_that_is_set_aside_names_the_setting(fleet: Fleet) -> None:
    """Alive and not ready; what is said is for admins, who know none of the store's subjects."""
    coordinator = await fleet.add_coordinator({"IPS_EVENTS_MAX_BYTES": str(2**50)}, ready=False)
    await coordinator.answers(f"{coordinator.url}/healthz")
    async with asyncio.timeout(PATIENCE):
        while "IPS_EVENTS_MAX_BYTES" not in (why := await why_not_ready(fleet, coordinator)):
            await asyncio.sleep(0.1)
    assert "insufficient storage" in why
    assert "$" not in why


async def why_not_ready(fleet: Fleet, coordinator: Coordinator) -> str:
    """What the probe is told; "" where all is well."""
    async with fleet.http.get(f"{coordinator.url}/readyz") as answer:
        return "" if answer.status == 200 else str((await answer.json())["detail"])


async def test_a_stop_is_in_order_and_the_next_start_leads(fleet: Fleet) -> None:
    """Exit code 0, and the next start leads."""
    coordinator = await fleet.add_coordinator()
    await coordinator.terminate()
    assert coordinator.exit_code == 0
    coordinator.start()
    await coordinator.ready()


async def test_the_api_speaks_https_where_it_has_a_certificate(
    fleet: Fleet, tmp_path: Path
) -> None:
    """With its own certificate; half of what that needs is refused."""
    made = self_signed(tmp_path)
    half = {"IPS_TLS_CERT": str(made.certificate)}
    assert "one needs the other" in await refused(Coordinator(tmp_path / "half", half))
    settings = {**half, "IPS_TLS_KEY": str(made.key)}
    coordinator = await fleet.add_coordinator(settings, ready=False)
    url = f"https://127.0.0.1:{coordinator.port}/healthz"
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with fleet.http.get(url, ssl=made.client_context()) as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectorError:
                assert coordinator.pid is not None, coordinator.last_words
                await asyncio.sleep(0.05)
