"""Webhooks reach nothing that they should not, and are signed. No packet leaves loopback."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import time
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec.structs import replace

from common.text import Text
from coordinator.access.receivers import Receivers, parse_networks
from coordinator.access.watched_file import WatchedFile
from coordinator.core.task import TaskHead
from coordinator.engine.webhook_signatures import Signer, read_keys
from coordinator.engine.webhooks import Webhooks, new_http_session
from coordinator.snapshots import Snapshot
from tests.core.stage import spec
from tests.engine.stored import failed
from tests.fixtures.patience import PATIENCE

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"y" * 32).decode()


class Names(AbstractResolver):
    """Resolves every name to the same addresses, and counts."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of the test."""
        del family
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def over(address: str) -> TaskHead:
    """A task that has just ended, with a webhook."""
    ended = replace(failed(), spec=spec(webhook_url=address), counts=None)
    return replace(ended, finished_at=int(time.time() * 1000))


async def told(
    address: str, names: Names, receivers: Receivers, signer: Signer | None = None
) -> Text | None:
    """Deliver once; why it was refused."""
    head = over(address)

    async def look() -> Snapshot:
        return Snapshot(head, head.finished_at or 0)

    async with asyncio.timeout(PATIENCE), new_http_session(receivers, names) as http:
        webhooks = Webhooks(http, time.time, random.Random(1), receivers=receivers, signer=signer)
        return await webhooks.deliver(head, look)


@pytest.mark.parametrize(
    ("address", "resolved", "kind"),
    [
        ("http://hooks.example/", ["169.254.169.254"], "link-local"),
        ("http://hooks.example/", ["127.0.0.1", "::1"], "loopback"),
        ("http://hooks.example/", ["::ffff:169.254.169.254"], "link-local"),
        ("https://hooks.example/", ["0.0.0.0"], "unspecified"),  # noqa: S104 - to be refused
        ("http://169.254.169.254/latest/meta-data", [], "link-local"),
        ("http://[::1]:1/", [], "loopback"),
        ("http://[::ffff:127.0.0.1]:1/", [], "loopback"),
        ("http://127.1/", [], "loopback"),
        ("http://2130706433/", [], "loopback"),
    ],
)
async def test_a_refused_address_is_told_by_its_kind(
    address: str, resolved: list[str], kind: str
) -> None:
    """At once, without a second try; neither the address nor the name is repeated."""
    names = Names(*resolved)
    refused = await told(address, names, Receivers())
    assert refused is not None
    assert refused.params == {"kind": kind}
    assert len(names.asked) == (1 if resolved else 0)


class Receiver:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.answer = web.Response()
        self.port = 0

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take one."""
        self.taken.append((dict(request.headers), await request.read()))
        return self.answer


@pytest.fixture
async def receiver(aiohttp_server: object) -> Receiver:
    """A receiver on loopback."""
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    server = await aiohttp_server(app)  # type: ignore[operator]  # pytest-aiohttp's factory
    made.port = server.port
    return made


async def test_what_was_looked_at_is_connected_to(receiver: Receiver) -> None:
    """A name is resolved once; of its addresses only those that may be reached are tried."""
    names = Names("169.254.169.254", "127.0.0.1")
    allowed = Receivers(networks=parse_networks("127.0.0.1/32"))
    assert await told(f"http://hooks.example:{receiver.port}/hook", names, allowed) is None
    [(headers, _)] = receiver.taken
    assert headers["Host"] == f"hooks.example:{receiver.port}"
    assert names.asked == ["hooks.example"]
    assert "webhook-signature" not in headers


async def test_a_delivery_is_signed_with_every_key(receiver: Receiver, tmp_path: Path) -> None:
    """So that a receiver which has either one takes it, also while they are being changed."""
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n{OTHER}\n")
    signer = Signer(WatchedFile(file, read_keys))
    names, here = Names("127.0.0.1"), Receivers(loopback=True)
    assert await told(f"http://h:{receiver.port}/hook", names, here, signer) is None
    [(headers, body)] = receiver.taken
    delivery, seconds = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert "." not in delivery
    assert abs(seconds - time.time()) < 60
    expected = [
        Signer(partial(read_keys, key)).headers(delivery, seconds, body)["webhook-signature"]
        for key in (KEY, OTHER)
    ]
    assert headers["webhook-signature"].split(" ") == expected


def test_a_signature_is_as_the_scheme_has_it() -> None:
    """The example that its libraries are tested with."""
    headers = Signer(lambda: read_keys(KEY)).headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    "text", ["", "hunter2", "whsec_", "whsec_?", "whsec_c2hvcnQ=", f"{KEY}\n{KEY}\n{KEY}"]
)
def test_a_bad_key_is_not_repeated(text: str) -> None:
    """Only its line is named."""
    with pytest.raises(ValueError, match=r"line 1 is no key|one key or two") as refused:
        read_keys(text)
    assert "hunter2" not in str(refused.value)
