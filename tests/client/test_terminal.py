"""What a person sees while waiting."""

from __future__ import annotations

import re
import signal
import subprocess

import pytest
from ips_client import Client

from tests.client.conftest import Ips, Service, restart
from tests.client.images import unique
from tests.client.terminal import Terminal

pytestmark = pytest.mark.system


@pytest.fixture
def slow_ips(slow_service: Service) -> Ips:
    """Have the command, against the slow service."""
    return Ips(slow_service.url)


def create(service: Service) -> str:
    """Create a task of two batches."""
    with Client(service.url) as client:
        return client.create([unique("a"), unique("b")], batch_size=2).task_id


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars(slow_service: Service, slow_ips: Ips, columns: int) -> None:
    """Bars that fit, redrawn in place, with a picture of each node at work; then the result."""
    task = create(slow_service)
    terminal = Terminal(slow_ips.command("wait", task), slow_ips.environment(), columns=columns)
    assert terminal.run() == 0
    assert all(len(row) < columns for picture in terminal.pictures[:-1] for row in picture)
    busiest = max(terminal.pictures, key=len)
    assert busiest[0].startswith(task)
    assert re.match(r"nodes +[━─]+ 0/3", busiest[1])
    assert re.match(r"bytes +[━─]+ [0-9.]+ (MiB )?of ", busiest[2])
    assert {row.split()[0] for row in busiest[3:]} <= {"node-1", "node-2", "node-3"}
    assert len(busiest) > 3
    assert len(terminal.screen) == 1
    assert terminal.screen[0].startswith(f"{task} completed in ")
    assert "\x1b[32m" in terminal.written


def test_several_tasks(slow_service: Service, slow_ips: Ips) -> None:
    """A row each."""
    tasks = [create(slow_service) for _ in range(3)]
    terminal = Terminal(slow_ips.command("wait", *tasks), slow_ips.environment(), columns=60)
    assert terminal.run() == 0
    rows = [picture for picture in terminal.pictures if len(picture) == 3]
    assert {row.split()[0] for picture in rows for row in picture if "━" in row or "─" in row} == {
        f"…{task[-8:]}" for task in tasks
    }
    assert [row.split()[0] for row in terminal.screen] == tasks


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_neither_bars_nor_colours(
    slow_service: Service, slow_ips: Ips, env: dict[str, str]
) -> None:
    """Where they are not wanted."""
    task = create(slow_service)
    terminal = Terminal(slow_ips.command("wait", task), slow_ips.environment(env))
    assert terminal.run() == 0
    assert "\x1b" not in terminal.written
    assert f"{task} running 0/3 nodes" in terminal.written


def test_a_log(slow_service: Service, slow_ips: Ips) -> None:
    """Plain lines, each a change, at most one in five seconds."""
    task = create(slow_service)
    done = slow_ips("wait", task)
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 3
    assert all(re.match(rf"\d\d:\d\d:\d\d {task} ", line) for line in lines)
    times = [line.split()[0] for line in lines]
    assert times == sorted(set(times))


def test_a_restart_while_waiting(slow_service: Service, slow_ips: Ips) -> None:
    """The bars say so and go on, and the exit code is right."""
    task = create(slow_service)
    terminal = Terminal(slow_ips.command("wait", task), slow_ips.environment(), columns=100)
    terminal.run(until="node-1")
    restart(slow_service)
    assert terminal.run(within=55) == 0
    assert "does not answer" in terminal.written
    assert f"{task} completed" in terminal.screen[-1]


def test_ctrl_c(slow_service: Service, slow_ips: Ips) -> None:
    """Leaves the task running and says how to come back or cancel."""
    task = create(slow_service)
    terminal = Terminal(slow_ips.command("wait", task), slow_ips.environment(), columns=100)
    terminal.run(until="node-1")
    terminal.press(b"\x03")
    assert terminal.run() == 130
    assert terminal.screen[-2].split() == ["watch", "again:", "ips", "wait", task]
    assert terminal.screen[-1].split() == ["cancel:", "ips", "cancel", task]
    assert "Traceback" not in terminal.written
    with Client(slow_service.url) as client:
        assert client.get(task).status == "running"
        client.cancel(task)


def test_ctrl_c_in_a_log(slow_service: Service, slow_ips: Ips) -> None:
    """The same words, with the server where it is not the usual one."""
    task = create(slow_service)
    with subprocess.Popen(
        slow_ips.command("wait", task, "--server", slow_service.url),
        env=slow_ips.environment({"IPS_SERVER": ""}),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert f"ips wait {task} --server {slow_service.url}\n" in said
    with Client(slow_service.url) as client:
        client.cancel(task)


def test_colours(ips: Ips, client: Client, image: str) -> None:
    """A table is no wider than the terminal, and its status has a colour."""
    client.wait(client.create([image, unique("long" * 20)]).task_id)
    terminal = Terminal(ips.command("ls", "--limit", "3"), ips.environment(), columns=60)
    assert terminal.run() == 0
    assert "\x1b[32mcompleted\x1b[0m" in terminal.written
    assert all(len(row) <= 60 for row in terminal.screen)
