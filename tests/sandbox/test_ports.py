"""A port for a program is that program's alone, whoever else looks for one."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from sandbox import ports

FEW = 30
FIRST = 9_900
"""Below all that is chosen otherwise."""
CHOOSE = f"""
from sandbox import ports
ports._FIRST, ports._last = {FIRST}, lambda: {FIRST + FEW}
print(*(ports.free_port() for _ in range({FEW // 2})), flush=True)
input()
"""


def test_nobody_is_given_the_port_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes share out a few ports although nobody listens yet."""
    monkeypatch.setattr(ports, "_FIRST", FIRST)
    monkeypatch.setattr(ports, "_last", lambda: FIRST + FEW)
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        own = [ports.free_port() for _ in range(FEW - len(theirs))]
        other.communicate("\n")
    assert sorted(own + theirs) == list(range(FIRST, FIRST + FEW))


def test_who_listens_keeps_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that asked nobody is not in the way of one that did."""
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_FIRST", port - 3)
        monkeypatch.setattr(ports, "_last", lambda: port + 4)
        assert port not in {ports.free_port() for _ in range(3)}
