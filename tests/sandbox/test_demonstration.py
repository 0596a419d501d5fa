"""``make run``, as far as it needs no containerd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sandbox.ports import free_port

pytestmark = pytest.mark.system


def run(port: int) -> subprocess.CompletedProcess[str]:
    """The demonstration on simulated nodes, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sandbox", "--once", "--simulated"],
        env={**os.environ, "SERVER_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_once_shows_its_first_task_and_ends() -> None:
    """Exit code 0, the task's end as ``ips wait`` tells it, and a port that is free again."""
    port = free_port()
    shown = run(port)
    assert shown.returncode == 0, shown.stderr
    assert "completed in" in shown.stdout
    assert "3 images on 3 of 3 nodes" in shown.stdout
    assert "nothing is left running" in shown.stdout
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_named() -> None:
    """Whatever answers there must not be taken for the coordinator of this demonstration."""
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = run(port)
    assert refused.returncode == 1
    assert f"port {port}: Address already in use" in refused.stderr
    assert "Traceback" not in refused.stderr
