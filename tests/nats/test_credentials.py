from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.bus import (
    BusRefused,
)
from sandbox.certificates import self_signed
from tests.fixtures.nats import NatsServer, OpenBus, StartNats, eventually
from tests.fixtures.scripted_nats import Peer, scripted_nats
from tests.nats.operator_mode import operator_mode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nats


async def test_token_token_file_and_password_of_the_url_let_us_in(
    start_nats: StartNats, open_bus: OpenBus, tmp_path: Path
) -> None:
    """Every way to prove who we are, with characters that a URL must escape."""
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    by_token = await start_nats(authorization={"token": "s3cret"})
    assert (await open_bus(by_token, token="s3cret")).connected
    assert (await open_bus(by_token, token_file=file)).connected
    assert (await open_bus(by_token.url.replace("//", "//s3cret@"))).connected
    by_password = await start_nats(authorization={"user": "u", "password": "p/@"})
    bus = await open_bus(by_password.url.replace("//", "//u:p%2F%40@"))
    assert bus.connected
    assert "p/@" not in bus.state_text


async def test_a_token_file_is_read_anew_at_each_connection(
    start_nats: StartNats, open_bus: OpenBus, tmp_path: Path
) -> None:
    """A rotated token lets us in again, without a restart of the program."""
    file = tmp_path / "token"
    file.write_text("old")
    server = await start_nats(authorization={"token": "old"})
    bus = await open_bus(server, token_file=file)
    server.reconfigure(authorization={"token": "new"})
    await server.restart()
    await eventually(lambda: "does not accept" in bus.state_text)
    file.write_text("new")
    await eventually(lambda: bus.connected)


@pytest.mark.parametrize("setting", ["token_file", "creds", "ca"])
async def test_a_file_that_is_not_there_is_named(
    nats_server: NatsServer, open_bus: OpenBus, tmp_path: Path, setting: str
) -> None:
    """The setting and the file stand in the line."""
    with pytest.raises(BusRefused, match=f"IPS_NATS_{setting.upper()}.*{tmp_path}/none"):
        await open_bus(nats_server, None, **{setting: tmp_path / "none"})


async def test_a_creds_file_lets_us_in_over_restarts(
    start_nats: StartNats, open_bus: OpenBus, tmp_path: Path
) -> None:
    """A server of the operator mode: user and seed in one file, as `nsc` writes it."""
    made = operator_mode()
    (tmp_path / "creds").write_text(made.creds)
    server = await start_nats(**made.settings)
    bus = await open_bus(server, creds=tmp_path / "creds")
    assert await bus.ping(2) < 2
    await server.restart()
    await eventually(lambda: bus.connected)


async def test_a_creds_file_of_another_operator_is_refused(
    start_nats: StartNats, open_bus: OpenBus, tmp_path: Path
) -> None:
    """Its signatures are right, and not those that this server trusts."""
    (tmp_path / "creds").write_text(operator_mode().creds)
    server = await start_nats(**operator_mode().settings)
    with pytest.raises(BusRefused, match="does not accept"):
        await open_bus(server, creds=tmp_path / "creds")


async def test_a_creds_file_that_is_none_is_named(
    nats_server: NatsServer, open_bus: OpenBus, tmp_path: Path
) -> None:
    """nats-py would read on behind the end of the file for ever."""
    (tmp_path / "creds").write_text("nothing of use\n")
    with pytest.raises(BusRefused, match="no credentials file"):
        await open_bus(nats_server, creds=tmp_path / "creds")


@pytest.fixture
async def tls_server(start_nats: StartNats, tmp_path: Path) -> NatsServer:
    """A server that demands TLS, with a certificate of its own making."""
    made = self_signed(tmp_path)
    return await start_nats(tls={"cert_file": str(made.certificate), "key_file": str(made.key)})


async def test_the_ca_of_the_settings_is_trusted(
    tls_server: NatsServer, open_bus: OpenBus, tmp_path: Path
) -> None:
    """A certificate of one's own is good where IPS_NATS_CA says so, over restarts."""
    bus = await open_bus(tls_server, ca=tmp_path / "certificate.pem")
    assert await bus.ping(2) < 2
    await tls_server.restart()
    await eventually(lambda: bus.connected)


@pytest.mark.filterwarnings("ignore:.*SSL.*:ResourceWarning")
async def test_an_unknown_certificate_is_refused_at_once(
    tls_server: NatsServer, open_bus: OpenBus
) -> None:
    """nats-py alone hangs (#718)."""
    with pytest.raises(BusRefused, match=r"TLS.*IPS_NATS_CA"):
        await open_bus(tls_server)


async def test_where_tls_is_demanded_nothing_secret_goes_out_without_it(open_bus: OpenBus) -> None:
    """A server that offers no TLS is refused before CONNECT, which would carry the token."""
    async with scripted_nats(Peer.welcome) as (url, peers):
        with pytest.raises(BusRefused, match="speaks no TLS"):
            await open_bus(url.replace("nats://", "tls://"), token="s3cret")
        await eventually(lambda: bool(peers))
        assert peers[0].lines == []
