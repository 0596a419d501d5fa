"""Outcomes of tasks whose heads a replica cannot read: asked for again, and not lost."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from common import subjects
from common.bus import Received
from common.messages import OutcomeAnswer, OutcomeRequest, OutcomeResult
from common.subjects import AgentAddress
from coordinator.engine.lookups import Lookups
from coordinator.engine.outcome_requests import OutcomeRequests
from coordinator.faults import Faults
from sandbox.virtual.time import virtual
from tests.core.stage import pulled
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
