"""What is logged about the servers' certificates; real servers are in tests/nats/test_tls.py."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from common.bus import BusSettings, Received
from coordinator import nats_certificates
from coordinator.callout.rights import SERVERS, read_anew
from coordinator.callout.server_settings import SYSTEM_USER
from coordinator.nats_certificates import Certificates

if TYPE_CHECKING:
    from common.bus import Handler

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SERVER = "N" + "A" * 55


class Subscribed:
    """As the bus gives it back."""

    def close(self) -> None:
        """Hear no more."""


class OneServer:
    """Says when its certificate ends, and what is to be said when it is told to read it anew."""

    inbox = "_INBOX.x"
    left = timedelta(days=20)
    answer = b"{}"

    def __init__(self, settings: BusSettings) -> None:
        assert settings.user == SYSTEM_USER
        self._heard: list[Handler] = []

    async def establish(self) -> None:
        """Be there."""

    async def subscribe(self, _: str, handler: Handler) -> Subscribed:
        """Remember who hears."""
        self._heard.append(handler)
        return Subscribed()

    def publish(self, subject: str, _: bytes, reply: str) -> None:
        """Answer."""
        assert subject == SERVERS
        state = {"tls_cert_not_after": (NOW + self.left).isoformat()}
        data = json.dumps({"server": {"id": SERVER, "name": "ips-nats-0"}, "data": state})
        for handler in self._heard:
            handler(Received(reply, data.encode(), ""))

    async def call(self, subject: str, _: bytes, within: float) -> bytes:
        """Do as told, or not."""
        assert (subject, within) == (read_anew(SERVER), nats_certificates.ANSWER_SECONDS)
        return self.answer

    async def close(self) -> None:
        """End the connection."""


@pytest.mark.parametrize(
    ("answer", "left", "said"),
    [
        (b"{}", 20, ""),
        (b'{"server": {}, "data": null}', 20, ""),
        (b"{}", 13, "ends soon"),
        (b'{"error": {"code": 500, "description": "no such file"}}', 20, "500 no such file"),
        (b"rubbish", 20, "cannot be understood"),
    ],
)
async def test_a_server_that_cannot_read_its_certificate_anew_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    left: int,
    said: str,
) -> None:
    """And one that finds no other for so long that it soon has none."""
    monkeypatch.setattr(nats_certificates, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(nats_certificates, "CoreNats", OneServer)
    monkeypatch.setattr(OneServer, "answer", answer)
    monkeypatch.setattr(OneServer, "left", timedelta(days=left))
    settings = BusSettings(servers=("tls://nats:4222",))
    await Certificates(settings, lambda: 0.0, lambda: NOW).look()
    warned = [str(vars(each)) for each in caplog.records if each.levelname == "WARNING"]
    assert len(warned) == bool(said)
    assert said in "".join(warned)
