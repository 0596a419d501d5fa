"""What commands about several tasks write, without a service."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from ips_client import Client
from ips_client.command import pausing, tasks
from ips_client.command.arguments import parse
from ips_client.decoding import decode
from ips_client.documents import Cancelled, Task

pytestmark = pytest.mark.pure

IDS = [f"task-20260101-000000-0000000{number}" for number in range(2)]


def task_of(_: Client, task_id: str) -> Task:
    """A task as the service tells it."""
    counts = ("totalNodes", "completedNodes", "failedNodes", "percentage", "currentBatch")
    document: dict[str, Any] = {
        "taskId": task_id,
        "status": "running",
        "images": ["a"],
        "retryStrategy": "linear",
    }
    document |= dict.fromkeys(("priority", "batchSize", "maxRetries", "retryCount"), 1)
    document |= {
        "createdAt": "2026-01-01T00:00:00Z",
        "progress": {**dict.fromkeys(counts, 1), "totalBatches": 1},
    }
    return decode(Task, document)


@pytest.mark.parametrize(
    ("home", "command"), [(pausing, "pause"), (pausing, "resume"), (tasks, "cancel")]
)
def test_several_tasks_are_one_document(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Any,
    command: str,
) -> None:
    """As the service lists tasks; one is its own."""

    def cancelled(client: Client, task_id: str) -> Cancelled:
        return decode(Cancelled, dict(task_of(client, task_id).document))

    change: Callable[[Client, str], Any] = cancelled if command == "cancel" else task_of
    monkeypatch.setattr(Client, command, change)
    monkeypatch.setattr(home, "connect", lambda _: nullcontext(Client()))

    def said(*ids: str) -> Any:
        arguments = parse([command, *ids, "-o", "json"])
        assert arguments.handler()(arguments) == 0
        return json.loads(capsys.readouterr().out)

    assert [each["taskId"] for each in said(*IDS)["tasks"]] == IDS
    assert said(IDS[0])["taskId"] == IDS[0]
