"""What a replica makes of requests to store outcomes, whatever the store says and how many come."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from common import subjects
from common.bus import (
    BusError,
    Conflict,
    Electing,
    OnStored,
    Received,
    StoreRefused,
    StoreUnavailable,
)
from common.messages import Outcome, OutcomeAnswer, OutcomeRequest, OutcomeResult
from common.subjects import AgentAddress, AttemptKey
from coordinator.core.run import TaskRun
from coordinator.core.task import TaskStatus
from coordinator.engine import outcome_requests
from coordinator.engine.lookups import Lookups
from coordinator.engine.outcome_requests import MOST_AT_ONCE, OutcomeRequests
from coordinator.faults import Faults
from sandbox.virtual.time import virtual
from tests.core.stage import head, pulled
from tests.engine.stored import TASK
from tests.engine.test_submissions import Desk, desk

ME = AgentAddress("n1", "0123456789abcdef")
PAUSED = b'{"id":"' + TASK.encode() + b'","status":"paused"}'
"""A head as a version to come may write it."""


class Inbox:
    """A bus on which only answers are sent."""

    def __init__(self) -> None:
        self.answers: list[OutcomeAnswer] = []

    def publish(self, _subject: str, payload: bytes) -> None:
        """As ``Bus.publish``."""
        self.answers.append(msgspec.json.decode(payload, type=OutcomeAnswer))


async def ask(it: Desk, task: str = TASK) -> OutcomeAnswer:
    """What an agent is told that asks to have an outcome stored."""
    inbox = Inbox()
    requests = OutcomeRequests(
        bus=inbox,
        store=it.store,
        tasks=it.tasks,
        runs=it.core.runs,
        lookups=Lookups(it.store, it.tasks, it.core, it.spawn),
        spawn=it.spawn,
        failed=it.failures.append,
        on_poison=lambda _: None,
        faults=Faults(),
    )
    said = OutcomeRequest(task=task, attempt=1, outcome=replace(pulled(), instance=ME.instance))
    reply = f"{subjects.agent_inbox(*ME)}.1"
    requests.on_request(Received(subjects.outcome(*ME), msgspec.json.encode(said), reply))
    await asyncio.gather(*it.jobs)
    (answer,) = inbox.answers
    return answer


@virtual
async def test_a_task_that_is_nowhere_is_unknown_for_good() -> None:
    """Nobody asks for it again."""
    async with desk() as it:
        answer = await ask(it)
        assert (answer.message_code, answer.again) == ("task.unknown", False)


@pytest.mark.parametrize("is_known", [False, True])
@virtual
async def test_a_head_that_cannot_be_read_is_no_unknown_task(is_known: bool) -> None:
    """A newer version has written it: the outcome is kept, also where the task waited before."""
    async with desk() as it:
        task = (await it.create()).id if is_known else TASK
        if is_known:
            answer = await ask(it, task)
            assert (answer.message_code, answer.again) == ("outcome.tooEarly", False)
        await it.store.bus.store(f"$KV.{subjects.TASKS_BUCKET}.{task}", PAUSED, expect_last=None)
        answer = await ask(it, task)
        assert answer.result is OutcomeResult.REFUSED
        assert (answer.message_code, answer.again) == ("task.unreadable", True)


# ── many at once, and what the store answers ──

NODES = [f"n{number}" for number in range(MOST_AT_ONCE + 100)]


class SlowStore:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: dict[str, OnStored] = {}
        """By node, who waits for the answer."""
        self.patient: list[str] = []
        """Nodes whose outcomes were stored with patience."""
        self.fault: Exception | None = None
        """Raised instead of being asked."""

    def decide_soon(self, key: AttemptKey, _outcome: Outcome, on_decided: OnStored) -> None:
        """As ``Store``."""
        if self.fault is not None:
            raise self.fault
        self.asked[key.node] = on_decided

    async def store_outcome(self, key: AttemptKey, _outcome: Outcome) -> None:
        """As ``Store``."""
        self.patient.append(key.node)

    async def is_decided(self, _key: AttemptKey) -> bool:
        """As ``Store``."""
        return False

    async def head_revision(self, _task: str) -> int:
        """As ``Store``."""
        return 0

    def answer(self, stored: int | BusError = 1, node: str = "") -> None:
        """Answer the one who asked first, or a node."""
        node = node or next(iter(self.asked))
        self.asked.pop(node)(stored)


class ManyNodes:
    """One task on many nodes, at a store that is slow."""

    def __init__(self, it: Desk) -> None:
        run = TaskRun(head(TASK, status=TaskStatus.RUNNING), NODES)
        self.inbox, self.store, self.faults = Inbox(), SlowStore(), list[str]()
        self.failures: list[BusError] = []
        self.requests = OutcomeRequests(
            bus=self.inbox,
            store=self.store,
            tasks=it.tasks,
            runs={TASK: run},
            lookups=Lookups(it.store, it.tasks, it.core, it.spawn),
            spawn=it.spawn,
            failed=self.failures.append,
            on_poison=lambda _: None,
            faults=Faults(self.faults.append),
        )

    def ask(self, node: str, *, attempt: int = 1, data: bytes = b"") -> None:
        """Ask as the agent of a node."""
        outcome = replace(pulled(), instance=ME.instance)
        said = msgspec.json.encode(OutcomeRequest(task=TASK, attempt=attempt, outcome=outcome))
        reply = f"{subjects.agent_inbox(node, ME.instance)}.1"
        subject = subjects.outcome(node, ME.instance)
        self.requests.on_request(Received(subject, data or said, reply))

    @property
    def told(self) -> list[str]:
        """What was answered, in order."""
        return [answer.message_code or answer.result.value for answer in self.inbox.answers]


@virtual
async def test_who_comes_when_all_places_are_taken_waits_for_its_turn() -> None:
    """In order; nobody is sent away."""
    async with desk() as it:
        counter = ManyNodes(it)
        for node in NODES:
            counter.ask(node)
        assert list(counter.store.asked) == NODES[:MOST_AT_ONCE]
        counter.store.answer()
        assert list(counter.store.asked) == NODES[1 : MOST_AT_ONCE + 1]
        while counter.store.asked:
            counter.store.answer()
        assert counter.told == ["stored"] * len(NODES)


@pytest.mark.parametrize(("most", "bound"), [("MOST_WAITING", 2), ("MOST_WAITING_BYTES", 1024)])
@virtual
async def test_the_queue_has_an_end(most: str, bound: int) -> None:
    """In requests and in bytes: who comes later is to ask again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome_requests, "MOST_AT_ONCE", 1)
        patch.setattr(outcome_requests, most, bound)
        async with desk() as it:
            counter = ManyNodes(it)
            for node in NODES[:20]:
                counter.ask(node)
            refused = counter.inbox.answers
            assert 0 < len(refused) < 20
            assert {(answer.message_code, answer.again) for answer in refused} == {
                ("outcome.tooMany", True)
            }
            while counter.store.asked:
                counter.store.answer()
            assert counter.told.count("stored") == 20 - counter.told.count("outcome.tooMany")


@pytest.mark.parametrize(
    ("stored", "told", "failures"),
    [
        (7, "stored", 0),
        (Conflict("it is there"), "decided", 0),
        (StoreUnavailable("no answer within 5 s"), "store.unusable", 1),
        (StoreRefused("no space left"), "store.unusable", 1),
    ],
)
@virtual
async def test_what_the_store_answers_is_told(
    stored: int | BusError, told: str, failures: int
) -> None:
    """And what it fails to do is noted; its place is free again."""
    async with desk() as it:
        counter = ManyNodes(it)
        for node in NODES:
            counter.ask(node)
        counter.store.answer(stored)
        assert counter.told == [told]
        assert len(counter.failures) == failures
        assert len(counter.store.asked) == MOST_AT_ONCE


@virtual
async def test_while_nobody_leads_an_outcome_waits_for_who_will() -> None:
    """It is stored with patience, as everything else is."""
    async with desk() as it:
        counter = ManyNodes(it)
        counter.ask("n1")
        counter.store.answer(Electing("nobody leads"))
        assert counter.told == []
        await asyncio.gather(*it.jobs)
        assert (counter.told, counter.store.patient) == (["stored"], ["n1"])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (StoreUnavailable("not connected"), ["store.unusable"]),
        (ValueError("too long"), ["outcome.notUnderstood"]),
        (RuntimeError("unforeseen"), []),
    ],
)
@virtual
async def test_what_cannot_be_sent_holds_no_place(fault: Exception, told: list[str]) -> None:
    """Whatever it is; of a fault of the program the agent hears nothing, and asks again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome_requests, "MOST_AT_ONCE", 1)
        async with desk() as it:
            counter = ManyNodes(it)
            counter.store.fault = fault
            counter.ask("n1")
            assert (counter.told, len(counter.faults)) == (told, 0 if told else 1)
            counter.store.fault = None
            counter.ask("n1")
            assert list(counter.store.asked) == ["n1"]


@virtual
async def test_a_replica_that_ends_begins_with_nothing_more() -> None:
    """What it has begun is answered; the others ask again."""
    async with desk() as it:
        counter = ManyNodes(it)
        for node in NODES:
            counter.ask(node)
        counter.requests.close()
        while counter.store.asked:
            counter.store.answer()
        assert len(counter.told) == MOST_AT_ONCE
