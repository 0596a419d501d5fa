"""What a person sees while waiting."""

from __future__ import annotations

import re
import signal
import subprocess
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from ips_client import Client

from sandbox.certificates import self_signed
from tests.client.conftest import NODES, Held, Ips, Service, kill
from tests.client.images import unique
from tests.client.terminal import Terminal

pytestmark = pytest.mark.system


def create(service: Service, *, batch_size: int = 2) -> tuple[str, Held]:
    """Create a task of two batches that lasts until it is let go."""
    held = service.hold()
    with Client(service.url) as client:
        return client.create([held.image, unique("b")], batch_size=batch_size).task_id, held


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars(service: Service, ips: Ips, columns: int) -> None:
    """Bars that fit, redrawn in place, with a picture of each node at work; then the result."""
    task, held = create(service)
    terminal = Terminal(ips.command("wait", task), ips.environment(), columns=columns)
    terminal.run(until=r"bytes (?s:.*)node-1 (?s:.*)node-2 ")
    picture = terminal.screen
    held.let_go()
    assert terminal.run() == 0
    assert all(len(row) < columns for each in terminal.pictures[:-1] for row in each)
    assert picture[0].startswith(f"{task}  running"[: columns - 2])
    assert re.match(r"nodes +━+ 0/3", picture[1])
    assert re.match(r"bytes +[━╸╺]+ [0-9.]+ (KiB )?of ", picture[2])
    assert [row.split()[0] for row in picture[3:]] == ["node-1", "node-2"]
    assert len(terminal.screen) == 1
    assert terminal.screen[0].startswith(f"{task} completed in ")
    assert "\x1b[32m" in terminal.written
    assert terminal.written.rindex("\x1b[?25h") > terminal.written.rindex("\x1b[?25l")


def test_several_tasks(service: Service, ips: Ips) -> None:
    """A row each."""
    made = [create(service) for _ in range(3)]
    tasks = [task for task, _ in made]
    terminal = Terminal(ips.command("wait", *tasks), ips.environment(), columns=60)
    terminal.run(until="(?s:.*)".join(f"…{task[-8:]} ━+ 0/3" for task in tasks))
    for _, held in made:
        held.let_go()
    assert terminal.run() == 0
    assert [row.split()[0] for row in terminal.screen] == tasks


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_neither_bars_nor_colours(service: Service, ips: Ips, env: dict[str, str]) -> None:
    """Where they are not wanted."""
    task, held = create(service)
    terminal = Terminal(ips.command("wait", task), ips.environment(env), columns=200)
    terminal.run(until=f"{task} running 0/3 nodes")
    held.let_go()
    assert terminal.run() == 0
    assert "\x1b" not in terminal.written


def test_a_log(service: Service, ips: Ips) -> None:
    """Plain lines, each a change, no two within five seconds."""
    task, held = create(service, batch_size=1)
    with subprocess.Popen(
        ips.command("wait", task), env=ips.environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for number, line in enumerate(process.stderr, start=1):
            lines.append(line)
            held.let_go(f"node-{number}")
            if number == NODES:
                held.let_go()
    assert process.returncode == 0
    assert all(re.match(rf"\d\d:\d\d:\d\d[+-]\d\d:\d\d {task} ", line) for line in lines)
    assert len(lines) > 1
    assert len({line.partition(task)[2] for line in lines}) == len(lines)
    times = [datetime.strptime(line[:8], "%H:%M:%S") for line in lines]  # noqa: DTZ007
    gaps = [(late - early).seconds for early, late in pairwise(times)]
    assert min(gaps) >= 4  # of 5, cut to whole seconds


def test_a_restart_while_waiting(frail_service: Service) -> None:
    """The bars say so and go on, and the exit code is right."""
    task, held = create(frail_service)
    ips = Ips(frail_service.url)
    terminal = Terminal(ips.command("wait", task), ips.environment(), columns=100)
    terminal.run(until="node-1")
    kill(frail_service)
    terminal.run(until="does not answer: [a-z ]+; trying again")
    frail_service.coordinator.start()
    terminal.run(until="node-1")
    held.let_go()
    assert terminal.run() == 0
    assert f"{task} completed" in terminal.screen[-1]


def test_ctrl_c(service: Service, ips: Ips) -> None:
    """Leaves the task running and says how to come back or cancel."""
    task, _ = create(service)
    terminal = Terminal(ips.command("wait", task), ips.environment(), columns=100)
    terminal.run(until="node-1")
    terminal.press(b"\x03")
    assert terminal.run() == 130
    assert terminal.screen[-2].split() == ["watch", "again:", "ips", "wait", task]
    assert terminal.screen[-1].split() == ["cancel:", "ips", "cancel", task]
    assert "Traceback" not in terminal.written
    with Client(service.url) as client:
        assert client.get(task).status == "running"
        client.cancel(task)


def test_ctrl_c_in_a_log(service: Service, ips: Ips, tmp_path: Path) -> None:
    """The same words, with the server where it is not the usual one, and never the token."""
    task, _ = create(service)
    ca = self_signed(tmp_path).certificate.rename(tmp_path / "a b.pem")
    with subprocess.Popen(
        ips.command("wait", task, "--server", service.url, "--token", "s3cret", "--ca", str(ca)),
        env=ips.environment({"IPS_SERVER": ""}),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert f"ips wait {task} --server {service.url} --ca '{ca}'\n" in said
    assert "s3cret" not in said
    with Client(service.url) as client:
        client.cancel(task)


def test_colours(ips: Ips, client: Client, image: str) -> None:
    """A table is no wider than the terminal, and its status has a colour."""
    client.wait(client.create([image, unique("long" * 20)]).task_id)
    terminal = Terminal(ips.command("ls", "--limit", "3"), ips.environment(), columns=70)
    assert terminal.run() == 0
    assert "\x1b[32mcompleted\x1b[0m" in terminal.written
    assert all(len(row) <= 70 for row in terminal.screen)
