"""What becomes of a message that an agent receives, on a bus of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.events import CommandReceived
from agent.inbox import Inbox
from agent.notices import MessageRejected, Notice, ReplyDropped
from common import subjects
from common.bus import NotConnected, Received, Subscription
from common.messages import Assign, AssignedImage, Cancel, Command, Reply, Report
from common.subjects import AgentAddress

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pure

ADDRESS = AgentAddress("node-1", "0123456789abcdef")
COMMANDS = subjects.command(*ADDRESS)
TASK = "task-20260116-151234-00000001"
ASSIGN = Assign(epoch=1, task=TASK, attempt=1, images=[AssignedImage(name="a", reference="r/a")])
POISON = [b"", b"\xff", b"[]", b"{}", b'{"kind":"dance"}', b'{"kind":"assign","epoch":"x"}']


class HandBus:
    """A bus whose messages the test delivers by hand."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[tuple[str, Reply]] = []
        self._handlers: dict[str, Callable[[Received], None]] = {}

    def publish(self, subject: str, payload: bytes) -> None:
        """Keep a reply."""
        if not self.connected:
            raise NotConnected("away")
        self.sent.append((subject, msgspec.json.decode(payload, type=Reply)))

    async def subscribe(self, subject: str, handler: Callable[[Received], None]) -> Subscription:
        """Keep a handler until it is closed."""
        self._handlers[subject] = handler
        return Subscription(subject, handler, lambda: self._handlers.__delitem__(subject))

    @property
    def subjects(self) -> set[str]:
        """What is subscribed to."""
        return set(self._handlers)

    def deliver(self, subject: str, data: bytes, reply: str = "") -> None:
        """Bring a message to whoever subscribed to its subject."""
        self._handlers[subject](Received(subject, data, reply))


class Bench:
    """An inbox, what it emits, and what it notices."""

    def __init__(self) -> None:
        self.bus = HandBus()
        self.events: list[CommandReceived] = []
        self.notices: list[Notice] = []
        self.inbox = Inbox(
            bus=self.bus, address=ADDRESS, emit=self.events.append, notify=self.notices.append
        )


@pytest.fixture
async def bench() -> Bench:
    """An inbox that is open."""
    made = Bench()
    await made.inbox.open()
    return made


@pytest.mark.parametrize("command", [ASSIGN, Cancel(epoch=2, task=TASK), Report(epoch=3)])
async def test_command(bench: Bench, command: Command) -> None:
    """A command becomes an event that knows where its answer goes."""
    bench.bus.deliver(COMMANDS, msgspec.json.encode(command), "reply-here")
    assert bench.events == [CommandReceived(command, "reply-here")]
    assert bench.notices == []


async def test_report_to_all(bench: Bench) -> None:
    """What is asked of all agents is answered by a heartbeat, not by a reply."""
    bench.bus.deliver(subjects.REPORT, msgspec.json.encode(Report(epoch=3)), "reply-here")
    assert bench.events == [CommandReceived(Report(epoch=3))]


@pytest.mark.parametrize("data", POISON)
@pytest.mark.parametrize(
    ("kind", "subject"), [("command", COMMANDS), ("broadcast", subjects.REPORT)]
)
async def test_rejected(bench: Bench, kind: str, subject: str, data: bytes) -> None:
    """A message that cannot be decoded is noticed, refused, and emits nothing."""
    bench.bus.deliver(subject, data, "reply-here")
    assert bench.events == []
    (notice,) = bench.notices
    assert isinstance(notice, MessageRejected)
    assert (notice.kind, notice.subject) == (kind, subject)
    ((to, reply),) = bench.bus.sent
    assert to == "reply-here"
    assert not reply.accepted
    assert "does not understand" in reply.refusal


async def test_rejected_in_silence(bench: Bench) -> None:
    """Where no answer is wanted none is sent."""
    bench.bus.deliver(COMMANDS, b"?")
    assert bench.bus.sent == []
    assert len(bench.notices) == 1


@pytest.mark.parametrize("command", [ASSIGN, Cancel(epoch=2, task=TASK)])
async def test_only_reports_are_broadcast(bench: Bench, command: Command) -> None:
    """Work is for one instance: sent to all, it is rejected."""
    bench.bus.deliver(subjects.REPORT, msgspec.json.encode(command))
    assert bench.events == []
    assert bench.notices == [
        MessageRejected("broadcast", subjects.REPORT, "only a report may be broadcast")
    ]


async def test_reply(bench: Bench) -> None:
    """A reply goes where the command said; without a connection it is dropped and noticed."""
    bench.inbox.reply("there", Reply(accepted=True))
    bench.bus.connected = False
    bench.inbox.reply("there", Reply(accepted=True))
    assert bench.bus.sent == [("there", Reply(accepted=True))]
    assert bench.notices == [ReplyDropped("there")]


async def test_open_and_close() -> None:
    """Only between the two is anything received."""
    bench = Bench()
    assert bench.bus.subjects == set()
    await bench.inbox.open()
    assert bench.bus.subjects == {COMMANDS, subjects.REPORT}
    bench.inbox.close()
    assert bench.bus.subjects == set()
