"""Waiting for warm sets, in virtual time: for how long a server that is away is waited for."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from ips_client import ServerUnreachable, SetTimeLimit, WarmSet, set_service
from ips_client.answers import Answer
from ips_client.command import set_waiting
from ips_client.decoding import decode
from ips_client.server import Server, Session
from ips_client.talk import Clock, Course, Emit, LinkFailure, Pause, Send, Talk

pytestmark = pytest.mark.pure

SESSION = Session(Server.parse("http://ips.test"))


def document(warm: int) -> dict[str, Any]:
    """A set of three nodes."""
    nodes = {"total": 3, "warm": warm, "pulling": 3 - warm, "waiting": 0, "failed": 0, "blocked": 0}
    times = dict.fromkeys(("createdAt", "updatedAt"), "2026-01-16T15:12:34Z")
    counts = {"generation": 1, "observedGeneration": 1, "warmPercent": warm / 3}
    lists: dict[str, Any] = {"images": ["a"], "reasons": {}, "conditions": []}
    return {"name": "web", "nodes": nodes, "paused": False, **times, **counts, **lists}


class Carried:
    """Carries a conversation out: pauses and silence cost no time but the clock's own."""

    def __init__(self, warm_at: Callable[[float], int | None]) -> None:
        self.now = 1000.0
        self.told: list[int] = []
        self._warm_at = warm_at

    def out(self, talk: Talk[WarmSet]) -> WarmSet:
        """What a wait comes to."""
        course = Course(talk)
        while (instruction := course.step()) is not None:
            match instruction:
                case Emit(value):
                    self.told.append(value.nodes.warm)
                case Clock():
                    course.answer = self.now
                case Pause(seconds):
                    self.now += seconds
                case Send(_, within):
                    self._answer(course, within)
        return course.result

    def _answer(self, course: Course[WarmSet], within: float) -> None:
        warm = self._warm_at(self.now - 1000)
        if warm is None:
            self.now += min(within, 0.5)
            course.failure = LinkFailure("nobody listens")
            return
        head = {"content-type": "application/json"}
        course.answer = Answer("", 200, head, json.dumps(document(warm)).encode())


def wait(limit: float | None = None) -> Talk[WarmSet]:
    """A wait for all of its nodes."""
    return set_service.wait(SESSION, "web", 100.0, limit)


def test_a_server_that_is_away_is_waited_for_as_with_tasks() -> None:
    """Four minutes before its first answer, and four again: that is the patience of following."""
    carried = Carried(lambda at: 1 if 240 < at < 300 else 3 if at > 540 else None)
    assert carried.out(wait()).nodes.warm == 3
    assert carried.told == [1, 3]


@pytest.mark.parametrize("begins", [-1.0, 30.0])
def test_patience_ends(begins: float) -> None:
    """After five minutes, counted from when it was last there."""
    carried = Carried(lambda at: None if at > begins else 1)
    with pytest.raises(ServerUnreachable):
        carried.out(wait())
    assert 290 < carried.now - 1000 - max(begins, 0.0) < 305


@pytest.mark.parametrize("warm", [None, 1])
def test_the_time_limit_counts_more_than_patience(warm: int | None) -> None:
    """Also while the server is away."""
    carried = Carried(lambda _: warm)
    with pytest.raises(SetTimeLimit) as late:
        carried.out(wait(20.0))
    assert carried.now - 1000 == pytest.approx(20.0, abs=0.6)
    assert (late.value.set is None) == (warm is None)


def test_a_set_that_is_warm_is_that_without_any_time() -> None:
    """What is left for it may be nothing."""
    assert Carried(lambda _: 3).out(wait(0.0)).nodes.warm == 3


def test_all_sets_have_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one takes the next has no more."""
    limits: list[float | None] = []
    times: Iterator[float] = iter([100.0, 100.0, 107.0, 131.0])

    def wait_set(_: str, *, time_limit: float | None, **__: object) -> WarmSet:
        limits.append(time_limit)
        return decode(WarmSet, document(3))

    told = nullcontext(Namespace(wait_set=wait_set))
    monkeypatch.setattr(set_waiting, "connect", lambda _: told)
    monkeypatch.setattr(set_waiting, "monotonic", lambda: next(times))
    arguments = Namespace(timeout=30.0, at_least=100.0, output="name")
    assert set_waiting.wait_sets(arguments, ["a", "b", "c"]) == 0
    assert limits == [30.0, 23.0, 0.0]
