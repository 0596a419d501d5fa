"""Listening for both families, on real sockets."""

from __future__ import annotations

import errno
import random
import socket
from contextlib import suppress
from typing import Any

import pytest

from common.listening import (
    EVERY_IPV4_ADDRESS,
    LOCALHOST,
    listen_everywhere,
    listen_on,
    own_address,
    peer,
)
from tests.fixtures.patience import PATIENCE


def connects(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.fixture
def no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that makes no IPv6 socket."""
    real = socket.socket

    def make(family: int = -1, *rest: Any, **named: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **named)

    monkeypatch.setattr(socket, "socket", make)


def test_both_families_on_one_port() -> None:
    """Any free port is the same one for both."""
    with listen_everywhere(0) as listener:
        port = listener.getsockname()[1]
        assert connects("127.0.0.1", port)
        assert connects("::1", port)


@pytest.mark.parametrize("port", [0, None])
def test_this_machine_alone(port: int | None) -> None:
    """Both loopback addresses on one port, and no other address."""
    if port is None:
        with listen_everywhere(0) as free:
            port = free.getsockname()[1]
    listeners = listen_on(LOCALHOST, port)
    try:
        hosts = [each.getsockname()[:2] for each in listeners]
        assert [host for host, _ in hosts] == ["127.0.0.1", "::1"]
        assert len({found for _, found in hosts}) == 1
    finally:
        for each in listeners:
            each.close()


def _port_of_nobody() -> int:
    """One that is free, and that the system gives to no connection by itself."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


def test_a_port_of_which_one_half_is_taken_is_refused() -> None:
    """With the address that is; what was opened is closed again."""
    port = _port_of_nobody()
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        with pytest.raises(OSError, match="in use") as refused:
            listen_on(LOCALHOST, port)
        assert refused.value.filename == f"[::1]:{port}"
        with socket.create_server(("127.0.0.1", port)):
            pass  # nobody has it


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.2", "127.0.0.2"), ("[::1]", "::1"), ("[::]", "::")]
)
def test_one_address(address: str, host: str) -> None:
    """As it is written in URLs."""
    [listener] = listen_on(address, 0)
    with listener:
        assert listener.getsockname()[0] == host


@pytest.mark.usefixtures("no_ipv6")
def test_this_machine_alone_without_ipv6() -> None:
    """IPv4's loopback."""
    [listener] = listen_on(LOCALHOST, 0)
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.usefixtures("no_ipv6")
def test_a_host_without_ipv6() -> None:
    """IPv4 alone, as ever."""
    with listen_everywhere(0) as listener:
        assert listener.family == socket.AF_INET
        host, port = listener.getsockname()
        with pytest.raises(OSError, match="in use") as refused:
            listen_everywhere(port)
    assert host == EVERY_IPV4_ADDRESS
    assert refused.value.filename == f"{EVERY_IPV4_ADDRESS}:{port}"
    assert own_address("[::]") == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", EVERY_IPV4_ADDRESS, "::"])
def test_a_port_that_either_family_has_is_in_use(host: str) -> None:
    """Half of a port would be worse than none; the address is named."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as refused:
            listen_everywhere(port)
    assert (refused.value.errno, refused.value.filename) == (errno.EADDRINUSE, f"[::]:{port}")


def test_own_address() -> None:
    """Of the wildcard's own family."""
    assert own_address(EVERY_IPV4_ADDRESS) == "127.0.0.1"
    assert own_address("[::]") == "[::1]"


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        (None, None),
    ],
)
def test_peer(address: str | None, written: str | None) -> None:
    """An IPv4 peer is written as one, whatever kind of socket it came through."""
    assert peer(address) == written
