"""Commands to agents: what is sent, and what each answer, or its absence, comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from common import subjects
from common.bus import BusError, NoResponders, NotConnected, TimedOut
from common.credential_texts import CREDENTIAL_GONE
from common.messages import Assign as AssignMessage
from common.messages import AssignedImage, Cancel, Command, Reply, Report
from common.subjects import AttemptKey
from common.text import Text
from coordinator.access.callers import AuthorityAwayError
from coordinator.core.commands import AskAgent, Assign, CancelWork
from coordinator.core.events import (
    AssignmentAccepted,
    AssignmentRefused,
    AssignmentUnanswered,
    Event,
)
from coordinator.core.task import PullPolicy
from coordinator.engine.dispatcher import ANSWER_SECONDS, Dispatcher
from coordinator.engine.task_credentials import CannotBeGivenError, SealedWork
from coordinator.port import StoreAway
from sandbox.virtual.time import virtual
from tests.core.stage import spec

pytestmark = pytest.mark.pure

EPOCH = 7
KEY = AttemptKey("task-20260101-000000-00000001", "n1.example", 2)
INSTANCE = "0123456789abcdef"
WANTED = spec("a", "b", image_pull_policy=PullPolicy.ALWAYS, pull_timeout_seconds=60)
ASSIGN = Assign(KEY, INSTANCE, WANTED.work, WANTED)
TO_AGENT = subjects.command(KEY.node, INSTANCE)


class Wire:
    """A bus that keeps what is sent; ``connected`` says whether it takes anything."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[tuple[str, Command]] = []
        self.within: list[float] = []
        self.answer: Callable[[bytes | BusError], None]

    def publish(self, subject: str, payload: bytes) -> None:
        """Keep it."""
        if not self.connected:
            raise NotConnected("not connected")
        self.sent.append((subject, msgspec.json.decode(payload, type=Command)))

    def ask(
        self,
        subject: str,
        payload: bytes,
        within: float,
        on_answer: Callable[[bytes | BusError], None],
    ) -> None:
        """Keep it, and who wants the answer."""
        self.publish(subject, payload)
        self.within.append(within)
        self.answer = on_answer


class Sending:
    """A dispatcher on such a bus."""

    def __init__(self, in_flight: int = 0) -> None:
        self.wire = Wire()
        self.fed: list[Event] = []
        self.deposed: list[int] = []
        self.now = 100.0
        self.waits: list[float] = []
        self.jobs: list[Coroutine[Any, Any, None]] = []
        self.sealed: SealedWork | Exception = SealedWork()
        self.dispatcher = Dispatcher(
            self.wire,
            EPOCH,
            self.fed.append,
            range(in_flight),
            self.deposed.append,
            lambda: self.now,
            self.waits.append,
            self,
            self.jobs.append,
        )

    async def seal(self, command: Assign) -> SealedWork:
        """What the test has named."""
        assert command.key == KEY
        if isinstance(self.sealed, Exception):
            raise self.sealed
        return self.sealed

    def answered(self, answer: Reply | bytes | BusError) -> list[Event]:
        """An assignment is sent and answered; what the core is told."""
        self.dispatcher.assign(ASSIGN)
        said = msgspec.json.encode(answer) if isinstance(answer, Reply) else answer
        self.wire.answer(said)
        return self.fed


def test_an_assignment_says_all_that_an_agent_needs() -> None:
    """To one instance of one agent, with the leader's epoch and a time limit for the answer."""
    sending = Sending()
    sending.dispatcher.assign(ASSIGN)
    images = [AssignedImage(name=name, reference=f"ref/{name}") for name in "ab"]
    wanted = AssignMessage(
        epoch=EPOCH,
        task=KEY.task,
        attempt=KEY.attempt,
        images=images,
        always_pull=True,
        pull_timeout_seconds=60,
        progress_seconds=1.0,
    )
    assert sending.wire.sent == [(TO_AGENT, wanted)]
    assert sending.wire.within == [ANSWER_SECONDS]
    assert sending.fed == []


@pytest.mark.parametrize(("in_flight", "seconds"), [(0, 1.0), (1000, 1.0), (5000, 5.0)])
def test_many_nodes_report_more_seldom(in_flight: int, seconds: float) -> None:
    """A thousand reports a second are enough for one leader."""
    sending = Sending(in_flight)
    sending.dispatcher.assign(ASSIGN)
    ((_, sent),) = sending.wire.sent
    assert isinstance(sent, AssignMessage)
    assert sent.progress_seconds == seconds


def test_an_accepted_assignment() -> None:
    """The agent has the work."""
    sending = Sending()
    assert sending.answered(Reply(accepted=True, epoch=EPOCH)) == [
        AssignmentAccepted(KEY, INSTANCE)
    ]
    assert sending.deposed == []


def test_how_long_agents_take_to_accept_is_told() -> None:
    """Of those that accept; how many do not is counted elsewhere."""
    accepting, refusing = Sending(), Sending()
    for sending, accepted in ((accepting, True), (refusing, False)):
        sending.dispatcher.assign(ASSIGN)
        sending.now += 0.25
        sending.wire.answer(msgspec.json.encode(Reply(accepted=accepted)))
    assert (accepting.waits, refusing.waits) == ([0.25], [])


@pytest.mark.parametrize("epoch", [0, EPOCH - 1, EPOCH])
def test_a_refusal_by_an_agent_that_knows_no_newer_leader(epoch: int) -> None:
    """It is asked again later; this leader leads on."""
    sending = Sending()
    refusal = Reply(accepted=False, refusal="busy", epoch=epoch)
    assert sending.answered(refusal) == [AssignmentRefused(KEY, INSTANCE)]
    assert sending.deposed == []


def test_an_agent_that_knows_a_newer_leader_deposes_this_one() -> None:
    """And the core is answered all the same."""
    sending = Sending()
    refusal = Reply(accepted=False, refusal="old", epoch=EPOCH + 1)
    assert sending.answered(refusal) == [AssignmentRefused(KEY, INSTANCE)]
    assert sending.deposed == [EPOCH + 1]


@pytest.mark.parametrize(
    "answer", [b"", b"{", b'{"accepted": 1}', b"\xff", b'{"accepted": "\xff"}']
)
def test_an_answer_that_cannot_be_decoded_is_none(answer: bytes) -> None:
    """The agent may have the work or not: it is asked again."""
    sending = Sending()
    assert sending.answered(answer) == [AssignmentUnanswered(KEY, INSTANCE)]
    assert sending.deposed == []


@pytest.mark.parametrize(
    ("error", "absent"),
    [(TimedOut("no answer"), False), (NotConnected("lost"), False), (NoResponders("none"), True)],
)
def test_no_answer(error: BusError, absent: bool) -> None:
    """It is another thing when nobody even listens there."""
    unanswered = AssignmentUnanswered(KEY, INSTANCE, absent=absent)
    assert Sending().answered(error) == [unanswered]


def test_without_a_connection_an_assignment_is_unanswered_at_once() -> None:
    """Nothing was sent, and nobody is absent."""
    sending = Sending()
    sending.wire.connected = False
    sending.dispatcher.assign(ASSIGN)
    assert sending.fed == [AssignmentUnanswered(KEY, INSTANCE)]


@pytest.mark.parametrize("attempt", [None, 2])
def test_a_cancel_is_sent_to_the_instance(attempt: int | None) -> None:
    """For one attempt, or for all of a task."""
    sending = Sending()
    sending.dispatcher.cancel(CancelWork(KEY.node, INSTANCE, KEY.task, attempt))
    assert sending.wire.sent == [(TO_AGENT, Cancel(epoch=EPOCH, task=KEY.task, attempt=attempt))]
    assert sending.fed == []


def test_reports_are_asked_for() -> None:
    """Of all agents, or of one."""
    sending = Sending()
    sending.dispatcher.report()
    sending.dispatcher.ask(AskAgent(KEY.node, INSTANCE))
    report = Report(epoch=EPOCH)
    assert sending.wire.sent == [(subjects.REPORT, report), (TO_AGENT, report)]


def test_without_a_connection_what_is_said_again_anyway_is_dropped() -> None:
    """Heartbeats bring it up again; only a starting leader is told, who has others to ask."""
    sending = Sending()
    sending.wire.connected = False
    sending.dispatcher.cancel(CancelWork(KEY.node, INSTANCE, KEY.task))
    sending.dispatcher.ask(AskAgent(KEY.node, INSTANCE))
    with pytest.raises(NotConnected):
        sending.dispatcher.report()
    assert (sending.wire.sent, sending.fed) == ([], [])


AWAY = Text("away")
GONE = CREDENTIAL_GONE(name="shop")
SECRET = replace(ASSIGN, spec=msgspec.structs.replace(ASSIGN.spec, credentials=("shop",)))


async def test_credentials_go_along() -> None:
    """Sealed, with the images that they are for; an answer is awaited from the look-up on."""
    sending = Sending()
    sending.sealed = SealedWork("sealed text", {"ref/b": "k1"})
    sending.dispatcher.assign(SECRET)
    assert sending.wire.sent == []
    await sending.jobs.pop()
    [(subject, message)] = sending.wire.sent
    assert isinstance(message, AssignMessage)
    assert (subject, message.sealed) == (TO_AGENT, "sealed text")
    assert [image.credentials for image in message.images] == ["", "k1"]
    handing_over = asyncio.ensure_future(sending.dispatcher.answered())
    await asyncio.sleep(0)
    assert not handing_over.done()
    sending.wire.answer(msgspec.json.encode(Reply(accepted=True)))
    await handing_over
    assert sending.fed == [AssignmentAccepted(KEY, INSTANCE)]


@pytest.mark.parametrize(
    ("attempt", "instance", "is_sent"),
    [(None, INSTANCE, False), (2, INSTANCE, False), (1, INSTANCE, True), (2, "f" * 16, True)],
)
async def test_what_is_cancelled_while_it_is_sealed(
    monkeypatch: pytest.MonkeyPatch, attempt: int | None, instance: str, is_sent: bool
) -> None:
    """It is not sent behind its cancel; the core hears that nobody has it."""
    sending = Sending()
    sealing = asyncio.Event()

    async def seal(_command: Assign) -> SealedWork:
        await sealing.wait()
        return SealedWork()

    monkeypatch.setattr(sending, "seal", seal)
    sending.dispatcher.assign(SECRET)
    job = asyncio.ensure_future(sending.jobs.pop())
    await asyncio.sleep(0)
    sending.dispatcher.cancel(CancelWork(KEY.node, instance, KEY.task, attempt))
    sealing.set()
    await job
    kinds = [type(message) for _, message in sending.wire.sent]
    assert kinds == ([Cancel, AssignMessage] if is_sent else [Cancel])
    assert sending.fed == ([] if is_sent else [AssignmentUnanswered(KEY, INSTANCE)])


@virtual
async def test_sealing_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked for it, and however often."""
    sending = Sending()

    async def seal(command: Assign) -> SealedWork:
        await asyncio.get_running_loop().create_future()
        raise AssertionError(command)

    monkeypatch.setattr(sending, "seal", seal)
    sending.dispatcher.assign(SECRET)
    await sending.jobs.pop()
    assert sending.fed == [AssignmentUnanswered(KEY, INSTANCE)]


@pytest.mark.parametrize(
    ("raised", "event"),
    [
        (CannotBeGivenError(GONE), AssignmentRefused(KEY, INSTANCE, never=GONE)),
        (StoreAway(AWAY), AssignmentUnanswered(KEY, INSTANCE, why=AWAY)),
        (AuthorityAwayError(AWAY), AssignmentUnanswered(KEY, INSTANCE, why=AWAY)),
        (KeyError("a fault of ours"), AssignmentUnanswered(KEY, INSTANCE)),
    ],
)
async def test_credentials_that_cannot_be_given(raised: Exception, event: Event) -> None:
    """Nothing is sent: for good where they are missing, for now where nobody can be asked."""
    sending = Sending()
    sending.sealed = raised
    sending.dispatcher.assign(SECRET)
    await sending.jobs.pop()
    await sending.dispatcher.answered()
    assert (sending.wire.sent, sending.fed) == ([], [event])
