"""The API's certificate, as clients meet it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from coordinator.api.app import make_app
from coordinator.api.certificate import CertificateError, ServedCertificate
from coordinator.event_feed import EventFeed
from sandbox.certificates import Certificate, self_signed
from tests.api.fake_engine import FakeEngine


class Served:
    """A server with the certificate of two files, and certificates to put there."""

    def __init__(self, folder: Path) -> None:
        self.files = Certificate(folder / "tls.crt", folder / "tls.key")
        self.made = [_made(folder / name) for name in ("first", "second")]
        self.port = 0

    def put(self, certificate: int, key: int) -> None:
        """Replace both files, as a renewal does."""
        shutil.copy(self.made[certificate].certificate, self.files.certificate)
        shutil.copy(self.made[key].key, self.files.key)

    async def shows(self, certificate: int) -> bool:
        """Whether a client that trusts one certificate alone is content."""
        context = self.made[certificate].client_context()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        except ssl.SSLError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


def _made(folder: Path) -> Certificate:
    folder.mkdir()
    return self_signed(folder)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server with the first certificate."""
    served = Served(tmp_path)
    served.put(0, 0)
    context = ServedCertificate(served.files.certificate, served.files.key).context

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    yield served
    server.close()
    await server.wait_closed()


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next(served: Served) -> None:
    """And the one before to nobody."""
    assert (await served.shows(0), await served.shows(1)) == (True, False)
    served.put(1, 1)
    assert (await served.shows(0), await served.shows(1)) == (False, True)


async def test_what_does_not_fit_leaves_the_last_good_one(served: Served) -> None:
    """A certificate that came before its key, and files that are no more."""
    served.put(1, 0)
    assert await served.shows(0)
    served.files.key.unlink()
    assert await served.shows(0)
    served.put(1, 1)
    assert await served.shows(1)


@pytest.mark.parametrize(
    ("host", "tls", "told"),
    [
        ("ips.example.com", True, "max-age=31536000"),
        ("ips.example.com", False, None),
        ("localhost", True, None),
    ],
)
async def test_browsers_are_told_to_come_by_tls_alone_where_there_is_some(
    engine: FakeEngine, feed: EventFeed, tmp_path: Path, host: str, tls: bool, told: str | None
) -> None:
    """Not of this machine's own name, which is also that of whatever else listens here."""
    made = self_signed(tmp_path)
    server = TestServer(make_app(engine, feed, CollectorRegistry()))
    await server.start_server(ssl=made.server_context() if tls else None)
    context = made.client_context()
    try:
        async with aiohttp.ClientSession() as http:
            url = f"http{'s' * tls}://127.0.0.1:{server.port}/healthz"
            async with http.get(url, ssl=context, headers={"Host": host}) as answer:
                assert answer.headers.get("Strict-Transport-Security") == told
    finally:
        await server.close()


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    """By its name, and without a question on the terminal."""
    served = Served(tmp_path)
    with pytest.raises(CertificateError, match=r"tls.crt.*No such file"):
        ServedCertificate(served.files.certificate, served.files.key)
    served.put(0, 1)
    with pytest.raises(CertificateError, match=r"tls.key"):
        ServedCertificate(served.files.certificate, served.files.key)
