"""What is written: nothing that steers a terminal, nothing that its encoding lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ips_client.command.text import shown

from tests.client.between import Between
from tests.client.conftest import Ips
from tests.client.terminal import Terminal

PutBetween = Callable[..., Between]
EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202e\r\x08ä"
TASK = "task-20260101-000000-00000000"


def answer(document: object, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Write an answer of the service."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def listed(key: str, *items: object) -> bytes:
    """Write a list of one page."""
    return answer({key: items, "total": len(items), "limit": 100, "offset": 0})


NODE = {"name": EVIL, "labels": {EVIL: EVIL}, "schedulable": True, "connected": True}
NODE |= {"message": EVIL, "runtime": EVIL}
IMAGE = {"image": EVIL, "state": EVIL, "reason": EVIL, "message": EVIL}
TASK_NODE = {"nodeName": EVIL, "state": "failed", "batch": 1, "attempt": 1, "images": [IMAGE]}
PROGRESS = dict.fromkeys(
    ("totalNodes", "completedNodes", "failedNodes", "currentBatch", "totalBatches"), 1
)
TASK_DOCUMENT = {
    "taskId": EVIL,
    "status": "failed",
    "images": [EVIL],
    "priority": 5,
    "batchSize": 10,
    "maxRetries": 0,
    "retryCount": 0,
    "retryStrategy": EVIL,
    "createdAt": "2026-01-01T00:00:00Z",
    "progress": {**PROGRESS, "percentage": 0.0},
    "message": EVIL,
    "nodeSelector": {EVIL: EVIL},
    "failedNodeDetails": [{"nodeName": EVIL, "reason": EVIL, "message": EVIL}],
}
PROBLEM = {"title": EVIL, "detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}]}
EVENT = {"id": EVIL, "source": EVIL, "subject": EVIL, "type": EVIL, "time": "2026-01-01T00:00:00Z"}
STREAM = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    f"id: 1\nevent: node.failed\ndata: {json.dumps({**EVENT, 'data': TASK_NODE})}\n\n"
).encode()


@given(st.text())
def test_shown(text: str) -> None:
    """Whatever a text holds, what is shown of it is printable."""
    assert shown(text).isprintable()
    if text.isprintable():
        assert shown(text) == text


@pytest.mark.system
@pytest.mark.parametrize(
    ("says", "words"),
    [
        (listed("nodes", NODE), "nodes"),
        (listed("nodes", NODE), "nodes -o json"),
        (listed("nodes", NODE), "nodes -o yaml"),
        (listed("nodes", NODE), "nodes -o name"),
        (listed("tasks", TASK_DOCUMENT), "ls"),
        (answer(TASK_DOCUMENT), f"show {TASK}"),
        (answer(TASK_DOCUMENT), f"wait {TASK}"),
        (listed("nodes", TASK_NODE), f"show {TASK} --nodes"),
        (listed("nodes", TASK_NODE), f"show {TASK} --failed"),
        (answer({"taskId": EVIL, "status": EVIL}), f"cancel {TASK}"),
        (answer(PROBLEM, "400 B", "application/problem+json"), f"show {TASK}"),
        (answer(PROBLEM, "503 U", "application/problem+json"), "ls"),
        (STREAM, "events"),
        (STREAM, "events -o json"),
        (STREAM, "events -o name"),
        (b"HTTP/1.1 302 F\r\nLocation: \x1b[31m\x9b\r\nContent-Length: 0\r\n\r\n", "ls"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_and_messages_steer_no_terminal(between: PutBetween, says: bytes, words: str) -> None:
    """Whatever the server's names and messages hold: only our own colours and bars get through."""
    command = [*words.split(), "--patience", "0"]
    ips = Ips(between(says=says).url)
    terminal = Terminal(ips.command(*command), ips.environment(), columns=300)
    terminal.run()
    assert terminal.written
    plain = terminal.written
    for own in ("\x1b[31m", "\x1b[0m", "\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\x1b[2m"):
        plain = plain.replace(own, "")
    assert all(each.isprintable() for each in plain.replace("\r", "").split("\n")), plain
    assert "owned" not in plain or "]0;owned" in plain  # as text, if at all
    done = ips(*command)
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))
    if words == "nodes -o json":
        assert json.loads(done.stdout)["nodes"][0]["name"] == EVIL


@pytest.mark.system
def test_what_a_terminal_cannot_show(between: PutBetween) -> None:
    """Is replaced; data as JSON and YAML keep what they say, and the exit code stays."""
    node = {**NODE, "name": "节点-ä", "labels": {}, "message": "ё", "runtime": "…"}
    ips = Ips(between(says=listed("nodes", node)).url)

    def run(*words: str, encoding: str = "ascii") -> str:
        env = ips.environment({"PYTHONIOENCODING": encoding})
        done = subprocess.run(ips.command(*words), env=env, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode(encoding)

    assert run("nodes").splitlines()[1].startswith("??-?")
    for encoding in ("latin-1", "cp437"):
        assert run("nodes", encoding=encoding).splitlines()[1].startswith("??-ä")
    assert json.loads(run("nodes", "-o", "json"))["nodes"][0]["name"] == "节点-ä"
    assert "\\u8282" in run("nodes", "-o", "yaml")
    assert run("nodes", "-o", "name").startswith("??-")
    assert "exit codes:" in run("--help")
    refused = Ips(between(says=answer(PROBLEM, "404 N", "application/problem+json")).url)
    env = {**ips.environment({"PYTHONIOENCODING": "ascii"}), "IPS_SERVER": refused.server}
    assert subprocess.run(refused.command("show", TASK), env=env, check=False).returncode == 2


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], []])
def test_help_imports_little(words: list[str]) -> None:
    """Neither a transport nor rich."""
    script = (
        "import sys\nfrom ips_client.command.main import main\n"
        f"sys.argv = ['ips', *{words}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'aiohttp', 'urllib3', 'truststore', 'rich', 'asyncio', 'ssl', 'yaml', 'shtab'}\n"
        "print('heavy:', sorted(names & heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"
