"""What a script pays for each start, and a terminal for watching ten thousand nodes."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time

import pytest
from ips_client.command.board import Board
from ips_client.decoding import decode
from ips_client.documents import Task
from ips_client.picture import NodesAtWork, Picture, Progress
from ips_client.sse import Parser

from tests.client.conftest import Ips

PAIRS = 11


def cpu_seconds(command: list[str], env: dict[str, str]) -> float:
    """CPU time of a program, start to end; unlike wall time it is no measure of the neighbours."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    process = os.posix_spawn(command[0], command, env, file_actions=null)
    _, status, used = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return used.ru_utime + used.ru_stime


@pytest.mark.system
@pytest.mark.parametrize(("words", "limit"), [(["--version"], 2.5), (["ls"], 15.0)])
def test_start(ips: Ips, words: list[str], limit: float) -> None:
    """In multiples of ``python -c pass``, as the median of paired runs."""
    nothing, env = [sys.executable, "-c", "pass"], ips.environment()
    program = os.path.join(os.path.dirname(sys.executable), "ips")  # noqa: PTH118, PTH120
    ratios = [cpu_seconds([program, *words], env) / cpu_seconds(nothing, env) for _ in range(PAIRS)]
    assert statistics.median(ratios) <= limit


@pytest.mark.pure
def test_a_second_of_ten_thousand_nodes() -> None:
    """The largest live frame, a progress event and two pictures cost less than 5 % of a second."""
    images = [
        {"image": f"registry.test/{n}:1", "state": "pulling", "bytes": 10**6, "totalBytes": 10**7}
        for n in range(2)
    ]
    nodes = [
        {"nodeName": f"node-{n:05}", "state": "pulling", "attempt": 1, "images": images}
        for n in range(10_000)
    ]
    progress = dict.fromkeys(
        ("totalNodes", "completedNodes", "failedNodes", "currentBatch", "totalBatches"), 0
    )
    task = {
        "taskId": "t",
        "status": "running",
        "images": ["a"],
        "priority": 5,
        "batchSize": 10,
        "maxRetries": 0,
        "retryCount": 0,
        "retryStrategy": "linear",
        "createdAt": "2026-01-16T15:12:34Z",
        "progress": {**progress, "percentage": 0.0},
    }
    live = json.dumps({"nodes": nodes[:1000]})
    second = (
        f"event: nodes\ndata: {live}\n\nevent: task.progress\nid: 1\n"
        f"data: {json.dumps({'data': task})}\n\n"
    ).encode()
    picture, board, parser = Picture(), Board(["t"]), Parser()
    picture.take_frames(
        Parser().feed(f"event: nodes\ndata: {json.dumps({'nodes': nodes})}\n\n".encode())
    )

    def pass_a_second() -> float:
        before = time.process_time()
        for start in range(0, len(second), 65536):
            picture.take_frames(parser.feed(second[start : start + 65536]))
        at_work = NodesAtWork(picture.nodes.copy())
        board.note(Progress(decode(Task, task), at_work))
        assert len(board.rows(79, 23)) > 8
        board.rows(79, 23)
        return time.process_time() - before

    assert min(pass_a_second() for _ in range(5)) < 0.05
