"""The ledger finds each breach: one is made in what a sound run has left, and is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.chaos.deeds import Deed, DeedKind, deeds_in_log, read_deeds
from sandbox.chaos.fleet import Fleet
from sandbox.chaos.ledger import Answers, breaches
from sandbox.chaos.listeners import EventClient, Receiver, Told
from sandbox.chaos.load import Submitted, Users
from sandbox.chaos.proxy import Way

TASK = "task-1"


@dataclass
class Run:
    """What is left of a run with one task on two nodes."""

    users: Users
    deeds: list[Deed]
    client: EventClient
    receiver: Receiver
    one: Answers
    two: Answers

    def breaches(self) -> list[str]:
        """What the ledger finds."""
        answers = {"one": self.one, "two": self.two}
        return breaches(self.users, self.deeds, [self.client], self.receiver, answers)


def answers() -> Answers:
    """Two nodes, both warm."""
    progress = {"totalNodes": 2, "completedNodes": 2, "failedNodes": 0}
    task = {"taskId": TASK, "status": "completed", "startedAt": 1, "progress": progress}
    nodes = [{"nodeName": name, "state": "succeeded", "attempt": 1} for name in ("a", "b")]
    return Answers({TASK: task}, {TASK: nodes}, {})


def sound() -> Run:
    """Nothing is wrong with it."""
    users = Users(cast("Fleet", _NoFleet()), 1, lambda: 0.0, "")
    users.tasks[TASK] = Submitted(TASK, 1.0, 2, 2, has_webhook=True)
    deeds = [
        Deed(node, kind, TASK, 1)
        for node in ("a", "b")
        for kind in (DeedKind.ACCEPTED, DeedKind.DONE, DeedKind.SETTLED)
    ]
    client = EventClient("client", [])
    client.told = [
        Told(1, f"{TASK}/task.created", "task.created", TASK),
        Told(2, f"{TASK}/task.completed", "task.completed", TASK),
    ]
    receiver = Receiver()
    receiver.deliveries[TASK] = [(f"{TASK}/task.completed", "completed")] * 2
    return Run(users, deeds, client, receiver, answers(), answers())


class _NoFleet:
    class Size:
        containerds = 0

    size = Size


def test_a_sound_run_breaks_nothing() -> None:
    """A webhook may come twice."""
    assert sound().breaches() == []


def _lost(run: Run) -> None:
    run.one.tasks.clear()
    run.two.tasks.clear()


def _cancelled(run: Run) -> None:
    run.users.tasks[TASK].is_cancelled = True


def _a_third_node(run: Run) -> None:
    for each in (run.one, run.two):
        each.nodes[TASK].append({"nodeName": "b", "state": "succeeded", "attempt": 1})


def _another_count(run: Run) -> None:
    for each in (run.one, run.two):
        each.tasks[TASK]["progress"]["completedNodes"] = 3


def _a_failed_node(run: Run) -> None:
    for each in (run.one, run.two):
        each.nodes[TASK][0]["state"] = "failed"


def _told_late(run: Run) -> None:
    run.client.told.append(Told(3, f"{TASK}/node.succeeded/a/1", "node.succeeded", TASK))


BROKEN: dict[str, Callable[[Run], Any]] = {
    "is lost": _lost,
    "one key made two tasks": lambda run: run.users.tasks.clear(),
    "nothing is shown": lambda run: run.users.tasks.clear(),
    "differ in status": lambda run: run.two.tasks[TASK].update(status="failed"),
    "was said to be cancelled": _cancelled,
    "is for 2 nodes and has 3": _a_third_node,
    "counts (2, 3, 0)": _another_count,
    "its agent has not done it": lambda run: run.deeds.clear(),
    "stored, and is failed": _a_failed_node,
    "was asked for attempt 3": lambda run: run.deeds.append(Deed("a", DeedKind.ACCEPTED, TASK, 3)),
    "its receiver got []": lambda run: run.receiver.deliveries.clear(),
    "its receiver got [('task-1/other'": lambda run: run.receiver.deliveries[TASK].append(
        ("task-1/other", "completed")
    ),
    "behind the end": _told_late,
    "2 times": lambda run: run.client.told.append(replace(run.client.told[0], position=9)),
    "twice or out of order": lambda run: run.client.told.append(run.client.told[0]),
    "got the ends []": lambda run: run.client.told.pop(),
    "cannot go on where it was": lambda run: setattr(run.client, "resets", 1),
    "is answered 500": lambda run: run.users.wrong.append("POST is answered 500"),
    "were put, and there are": lambda run: run.users.sets.update(web={}),
}


@pytest.mark.parametrize("named", BROKEN)
def test_each_breach_is_named(named: str) -> None:
    """By its own sentence."""
    run = sound()
    BROKEN[named](run)
    assert any(named in breach for breach in run.breaches()), run.breaches()


def test_a_line_that_a_death_has_cut_short_is_no_deed(tmp_path: Path) -> None:
    """The lines before it are."""
    journal = tmp_path / "deeds"
    line = b'{"node":"a","kind":"done","task":"t","attempt":1}\n'
    journal.write_bytes(line + line[:20])
    assert list(read_deeds(journal)) == [Deed("a", DeedKind.DONE, "t", 1)]
    assert list(read_deeds(tmp_path / "none")) == []


def test_deeds_are_read_from_the_log_of_the_agent_program() -> None:
    """Among all that it says, and what is no JSON."""
    log = (
        "Traceback\n"
        '{"message":"assignment accepted","task":"t","attempt":2}\n'
        '{"message":"attempt over","task":"t","attempt":2,"failed":1}\n'
        '{"message":"attempt over","task":"t","attempt":3,"failed":0}\n'
        '{"message":"other"}\n'
    )
    kinds = [(deed.kind, deed.attempt) for deed in deeds_in_log("a", log)]
    assert kinds == [(DeedKind.ACCEPTED, 2), (DeedKind.FAILED, 2), (DeedKind.DONE, 3)]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


def test_a_way_that_is_cut_lets_through_when_mended() -> None:
    """What was under way, in order; and one that is reset ends the connection."""

    async def run() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        way = Way(server.sockets[0].getsockname()[1])
        await way.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", way.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        way.cut()
        writer.write(b"two")
        answer = asyncio.ensure_future(reader.readexactly(3))
        other, second = await asyncio.open_connection("127.0.0.1", way.port)
        await asyncio.sleep(0.05)
        assert not answer.done()
        way.mend()
        assert await answer == b"two"
        way.reset()
        assert await reader.read() == b""
        assert await other.read() == b""
        await way.close()
        for each in (writer, second):
            each.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())
