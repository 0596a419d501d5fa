"""NATS with certificates of the installation's own authority, renewed under its clients."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from common.bus import Bus, BusError, BusRefused, BusSettings, CoreNats, NotConnected
from common.bus.session import Session
from common.bus.settings import parse_server
from common.clock import elapsed
from common.setting_kinds import Listen
from coordinator import nats_certificates
from coordinator.callout.rights import SERVERS
from coordinator.callout.server_settings import SYSTEM_USER, USER
from coordinator.data_dir import DataDir
from coordinator.embedded_nats import EmbeddedNats, EmbeddedSettings
from coordinator.nats_certificates import Certificates
from coordinator.nats_secrets.authority import Authority
from tests.fixtures.nats import eventually
from tests.nats.callout_parts import TOKEN, asking_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fixtures.nats import StartNats
    from tests.nats.callout_parts import AskingNats

pytestmark = pytest.mark.nats

HOSTS = ("localhost", "127.0.0.1")


class Files:
    """An authority, and what a server is given of it; ``ca`` is whom clients trust."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.new(datetime.now(UTC))
        self.ca = folder / "ca.crt"
        self.certificate = (folder / "tls.crt", folder / "tls.key")
        self.trust(self.authority)
        self.renew(datetime.now(UTC))

    def trust(self, authority: Authority) -> None:
        """Write whom clients trust."""
        self.ca.write_text(authority.pair.certificate)

    def renew(self, now: datetime) -> None:
        """Write a certificate as if it were made at this time."""
        for file, text in zip(self.certificate, self.authority.issue(HOSTS, now), strict=True):
            file.write_text(text)

    @property
    def settings(self) -> dict[str, str]:
        """As a nats-server's configuration names them."""
        return {"cert_file": str(self.certificate[0]), "key_file": str(self.certificate[1])}


@pytest.fixture(autouse=True)
def _servers_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_certificates, "ANSWER_SECONDS", 0.3)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Of an installation."""
    return Files(tmp_path)


@pytest.fixture
async def nats(start_nats: StartNats, files: Files) -> AsyncIterator[AskingNats]:
    """A server with TLS, whom a coordinator answers."""
    async with asking_nats(start_nats, tls=files.settings, ca=files.ca, timeout=0.5) as nats:
        await nats.answer()
        yield nats


def of_coordinator(nats: AskingNats, files: Files) -> BusSettings:
    """How a coordinator connects."""
    return BusSettings(servers=(nats.server.url,), user=USER, token=TOKEN, ca=files.ca)


async def test_the_end_of_a_connection_is_no_warning(
    nats: AskingNats, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """But what we say of it ourselves."""
    agent = await nats.agent("node-1", ca=files.ca)
    await nats.server.kill()
    await eventually(lambda: not agent.connected)
    assert [each for each in caplog.records if each.name == "asyncio"] == []


async def test_whoever_has_the_authority_comes_in_and_nobody_without_tls(
    nats: AskingNats, files: Files
) -> None:
    """An agent that trusts another authority is told so, and tries on: it may get a new one."""
    assert (await nats.agent("node-1", ca=files.ca)).connected
    files.trust(Authority.new(datetime.now(UTC)))
    settings = BusSettings(servers=(nats.server.url,), token=nats.join_token("node-2"), ca=files.ca)
    with pytest.raises(NotConnected, match="IPS_NATS_CA"):
        await Session.dial(settings, parse_server(nats.server.url))
    files.trust(files.authority)
    session = await Session.dial(settings, parse_server(nats.server.url))
    await session.hang_up()


async def test_a_certificate_that_ends_soon_is_read_anew_and_clients_come_back(
    nats: AskingNats, files: Files
) -> None:
    """Each server once; agents are away for a moment, and trust what they trusted before."""
    started = datetime.now(UTC)
    certificates = Certificates(of_coordinator(nats, files), elapsed)
    states: list[tuple[bool, str]] = []
    agent = await CoreNats.connect(
        BusSettings(servers=(nats.server.url,), token=nats.join_token("a"), ca=files.ca),
        lambda *state: states.append(state),
    )
    await nats.run(agent)
    await certificates.look()
    assert "Reloaded" not in nats.server.log
    old = started - timedelta(days=70)  # of ninety
    files.renew(old)
    await nats.server.restart()
    await nats.bus.wait_connected()
    await eventually(lambda: agent.connected)
    files.renew(started)
    await certificates.look()
    await eventually(lambda: "Reloaded: tls" in nats.server.log)
    await nats.bus.wait_connected()
    await eventually(lambda: agent.connected)
    for _ in range(2):
        await certificates.look()
    assert nats.server.log.count("Reloaded: tls") == 1


async def test_one_whose_certificate_stays_old_is_told_again_half_a_day_later(
    nats: AskingNats, files: Files
) -> None:
    """And not at each look: clients are sent away each time."""
    clock = [0.0]
    later = datetime.now(UTC) + timedelta(days=80)
    certificates = Certificates(of_coordinator(nats, files), lambda: clock[0], lambda: later)

    async def look() -> int:
        with_reload = nats.server.log.count("Reloaded: tls")
        await certificates.look()
        await nats.bus.wait_connected()
        return nats.server.log.count("Reloaded: tls") - with_reload

    assert [await look(), await look()] == [1, 0]
    clock[0] = nats_certificates.AGAIN_SECONDS
    assert await look() == 1


async def test_a_coordinator_at_the_servers_themselves_may_do_that_and_nothing_else(
    nats: AskingNats, files: Files
) -> None:
    """An agent that calls itself so is its node as before; nobody's token is nobody's."""
    system = BusSettings(servers=(nats.server.url,), user=SYSTEM_USER, token=TOKEN, ca=files.ca)
    connection = await CoreNats.connect(system)
    await nats.run(connection)
    assert b"server_id" in await connection.call(SERVERS, b"{}", 5)
    heard: list[str] = []
    await nats.bus.subscribe("ips.v1.>", lambda got: heard.append(got.subject))
    connection.publish("ips.v1.command.node-1.x", b"{}")
    connection.publish("$SYS.REQ.SERVER.PING.CONNZ", b"{}", f"{connection.inbox}.x")
    await connection.session.heard(5)
    await nats.bus.ping(5)
    assert heard == []
    for token in (nats.join_token("node-1"), "mistaken"):
        wrong = BusSettings(servers=(nats.server.url,), user=SYSTEM_USER, token=token, ca=files.ca)
        if token == "mistaken":
            with pytest.raises(BusRefused):
                await CoreNats.connect(wrong)
            continue
        agent = await CoreNats.connect(wrong)
        await nats.run(agent)
        with pytest.raises(BusError):
            await agent.call(SERVERS, b"{}", 0.5)


async def test_the_coordinators_own_server_speaks_tls_alone(files: Files, tmp_path: Path) -> None:
    """With a certificate from its folder; who comes without TLS is told that it is wanted."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(await DataDir.claim(tmp_path / "coordinator"))
        settings = EmbeddedSettings(
            listen=Listen("127.0.0.1", 0), token=TOKEN, certificate=files.certificate
        )
        server = await EmbeddedNats.start(settings, folder)
        stack.push_async_callback(server.stop)
        bus = await Bus.connect(BusSettings(servers=(server.url,), token=TOKEN, ca=files.ca))
        await bus.close()
        with pytest.raises(BusRefused, match="TLS"):
            await Bus.connect(BusSettings(servers=(server.url,), token=TOKEN))
