"""The URLs of NATS servers, as people write them."""

from __future__ import annotations

import pytest

from common.bus.settings import Server, parse_server

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("nats", Server("nats://nats:4222", tls=False)),
        ("nats://192.0.2.1:1", Server("nats://192.0.2.1:1", tls=False)),
        ("tls://me:s3%40cret@nats", Server("tls://nats:4222", True, "me", "s3@cret")),
        ("[::1]", Server("nats://[::1]:4222", tls=False)),
        ("[::1]:4223", Server("nats://[::1]:4223", tls=False)),
        ("nats://[::1]:4222", Server("nats://[::1]:4222", tls=False)),
        ("tls://[2001:DB8::1]", Server("tls://[2001:db8::1]:4222", tls=True)),
        ("nats://me:s3cret@[::1]:1", Server("nats://[::1]:1", False, "me", "s3cret")),
        ("nats://token@[::1]", Server("nats://[::1]:4222", tls=False, token="token")),
        ("nats://[::ffff:192.0.2.1]", Server("nats://[::ffff:192.0.2.1]:4222", tls=False)),
        ("nats://[fe80::1%eth0]:1", Server("nats://[fe80::1%eth0]:1", tls=False)),
        ("nats://[fe80::1%25eth0]:1", Server("nats://[fe80::1%eth0]:1", tls=False)),
    ],
)
def test_servers(text: str, server: Server) -> None:
    """A name, an IPv4 address, or an IPv6 address in brackets; what logs in stands apart."""
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://nats",
        "nats://nats:x",
        "nats://nats/path",
        "::1",
        "::1:4222",
        "nats://2001:db8::1",
        "nats://[::1",
        "nats://[]:1",
        "nats://[:::]:1",
        "nats://[192.0.2.1]",
        "nats://[v1.a]",
        "nats://x[::1]:1",
        "nats://[::1]x:1",
        "nats://[::1]1",
        "nats://[::1%]:1",
    ],
)
def test_what_is_no_server(text: str) -> None:
    """An IPv6 address without brackets is none, nor is anything else around them."""
    with pytest.raises(ValueError, match=r"NATS URL|brackets"):
        parse_server(text)
