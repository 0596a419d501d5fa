"""What somebody can do who has stolen one agent's credential: nothing to any other node.

On a real nats-server with a coordinator's answers. Each attack is made over the protocol itself, so
that no courtesy of our own client stands in between. The server handles what one connection says in
order: its PONG says that an attack is over.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pytest

from common import subjects
from common.messages import Outcome, Report
from coordinator.store import Store
from tests.fixtures.patience import PATIENCE
from tests.nats.callout_parts import AskingNats, asking_nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.bus import Received
    from tests.fixtures.nats import StartNats

pytestmark = pytest.mark.nats

MINE, VICTIM = "node-1", "node-2"
TASK = "task-20260101-000000-00000001"
INSTANCE = "0123456789abcdef"
RESULT = subjects.result(TASK, VICTIM, 1)
HEAD = f"$KV.{subjects.TASKS_BUCKET}.{TASK}"
COMMAND = subjects.command(VICTIM, INSTANCE)
WITNESS = "_INBOX.coordinator.1"


class Thief:
    """A connection with a stolen token, over a bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.said = b""
        """All that the server has said."""

    @classmethod
    async def enter(cls, nats: AskingNats, node: str = MINE) -> Thief:
        """Connect with a node's token."""
        port = int(nats.server.url.rpartition(":")[2])
        thief = cls(*await asyncio.open_connection("127.0.0.1", port))
        options = {"auth_token": nats.join_token(node), "verbose": False, "headers": True}
        options |= {"no_responders": True, "protocol": 1}
        await thief.say(f"CONNECT {json.dumps(options)}\r\n".encode())
        return thief

    async def say(self, words: bytes) -> bytes:
        """Send, and wait until the server has taken it in; all that it said meanwhile."""
        self._writer.write(words + b"PING\r\n")
        answer = b""
        async with asyncio.timeout(PATIENCE):
            while b"PONG\r\n" not in answer:
                chunk = await self._reader.read(65536)
                assert chunk, answer
                answer += chunk
        self.said += answer
        return answer

    async def publish(self, subject: str, payload: bytes = b"x", reply: str = "") -> bytes:
        """Publish, with any reply subject."""
        return await self.say(
            b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(payload), payload)
        )

    async def leave(self) -> None:
        """Close the socket."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@pytest.fixture
async def nats(start_nats: StartNats) -> AsyncIterator[AskingNats]:
    """A server with a task's head in its store."""
    async with asking_nats(start_nats) as nats:
        await nats.answer()
        await nats.bus.store(HEAD, b"the head, with an address and its signature", expect_last=0)
        yield nats


@pytest.fixture
async def thief(nats: AskingNats) -> AsyncIterator[Thief]:
    """Whoever has the token of one agent."""
    thief = await Thief.enter(nats)
    yield thief
    await thief.leave()


OUTCOME = msgspec.json.encode(Outcome(images=[], seconds=1.0, instance=INSTANCE))
SAID = {
    "success or failure for another node": (RESULT, OUTCOME),
    "all retries decided in advance": (subjects.result(TASK, VICTIM, 99), OUTCOME),
    "an outcome of its own, past the coordinators": (subjects.result(TASK, MINE, 1), OUTCOME),
    "a request for another node's outcome": (subjects.outcome(VICTIM, INSTANCE), b"{}"),
    "a heartbeat under another name": (subjects.heartbeat(VICTIM, INSTANCE), b"{}"),
    "a phantom node": (subjects.heartbeat("phantom", INSTANCE), b"{}"),
    "another node's progress": (subjects.progress(VICTIM, INSTANCE), b"{}"),
    "an assignment to another node": (COMMAND, b'{"kind": "assign"}'),
    "a report of an epoch that never ends": (
        subjects.REPORT,
        msgspec.json.encode(Report(epoch=2**53)),
    ),
    "a word of the leader's": (subjects.BRIEFING, b"{}"),
    "a head": (HEAD, b"{}"),
    "an idempotency key": (f"$KV.{subjects.KEYS_BUCKET}.idem.{'0' * 64}", b"{}"),
    "a revocation": (f"$KV.{subjects.KEYS_BUCKET}.revoked.node.{VICTIM}", b"9" * 16),
    "the lease": (f"$KV.{subjects.LEASE_BUCKET}.leader", b"{}"),
    "an event": (subjects.event("task.completed", TASK), b"{}"),
    "an entry of the audit": (subjects.audit("ann"), b"{}"),
    "a stream's end": (f"$JS.API.STREAM.DELETE.KV_{subjects.TASKS_BUCKET}", b""),
    "a purge": (f"$JS.API.STREAM.PURGE.KV_{subjects.TASKS_BUCKET}", b""),
    "a message's end": (f"$JS.API.STREAM.MSG.DELETE.KV_{subjects.TASKS_BUCKET}", b'{"seq": 1}'),
    "a look at a head": (
        f"$JS.API.STREAM.MSG.GET.KV_{subjects.TASKS_BUCKET}",
        b'{"seq": 1}',
    ),
    "a look at a head, directly": (f"$JS.API.DIRECT.GET.KV_{subjects.TASKS_BUCKET}", b'{"seq": 1}'),
    "a consumer that delivers anywhere": (
        f"$JS.API.CONSUMER.CREATE.KV_{subjects.TASKS_BUCKET}",
        b'{"stream_name": "KV_IPS_TASKS", "config": {"deliver_subject": "_INBOX.agent.node-1.x"}}',
    ),
    "who has an account here": ("$JS.API.INFO", b""),
    "the answer about somebody who connects": ("$SYS._INBOX.a.b", b"{}"),
    "a question about somebody who connects": ("$SYS.REQ.USER.AUTH", b"{}"),
    "an answer to somebody else's question": (f"{subjects.inboxes_of(VICTIM)}.{INSTANCE}.1", b""),
    "an answer to a coordinator's question": (WITNESS, b""),
    "a message to itself, to launder a reply": (f"{subjects.inboxes_of(MINE)}.{INSTANCE}.1", b""),
    "a byte that is no text": ("ips.v1.heartbeat.node-2.\xff", b""),
}


@pytest.mark.parametrize("what", SAID)
async def test_what_it_may_not_say(nats: AskingNats, thief: Thief, what: str) -> None:
    """Nobody hears it, and nothing is stored, changed or answered."""
    heard: list[Received] = []
    await nats.bus.subscribe(">", heard.append)
    subject, payload = SAID[what]
    before = await stored(nats)
    heard.clear()
    answer = await thief.publish(subject, payload, reply=f"{subjects.inboxes_of(MINE)}.x.1")
    assert b"Permissions Violation for Publish" in answer
    assert b"\nMSG " not in answer
    await nats.bus.ping(PATIENCE)
    assert [got for got in heard if got.data == payload and got.subject == subject] == []
    assert await stored(nats) == before


async def stored(nats: AskingNats) -> list[int]:
    """The last sequence and the count of each stream."""
    streams = [subjects.RESULTS, subjects.EVENTS, subjects.AUDIT]
    buckets = (subjects.TASKS_BUCKET, subjects.KEYS_BUCKET, subjects.LEASE_BUCKET)
    streams += [f"KV_{bucket}" for bucket in buckets]
    states = [await nats.bus.stream_state(stream) for stream in streams]
    return [number for state in states for number in (state.last_seq, state.messages)]


HEARD = {
    "everything": ">",
    "heads": "$KV.>",
    "commands of others": COMMAND,
    "commands of all": "ips.v1.command.>",
    "its own and others' by one wildcard": "ips.v1.command.*.*",
    "answers to others": f"{subjects.inboxes_of(VICTIM)}.>",
    "answers to all": "_INBOX.>",
    "outcomes that others ask to be stored": subjects.ALL_OUTCOMES,
    "heartbeats of others": subjects.ALL_HEARTBEATS,
    "its own heartbeats, to launder a reply": f"ips.v1.heartbeat.{MINE}.*",
    "what the leader tells the others": subjects.BRIEFING,
    "events": subjects.ALL_EVENTS,
    "the audit": subjects.ALL_AUDIT,
    "who connects, with their tokens": "$SYS.REQ.USER.AUTH",
    "the server's own": "$SYS.>",
    "JetStream's": "$JS.>",
}


@pytest.mark.parametrize("queue", ["", subjects.COORDINATORS])
@pytest.mark.parametrize("what", HEARD)
async def test_what_it_may_not_hear(nats: AskingNats, thief: Thief, what: str, queue: str) -> None:
    """Alone, or in the queue of the coordinators, from whom it would take messages away."""
    answer = await thief.say(f"SUB {HEARD[what]} {queue} 7\r\n".encode())
    assert b"Permissions Violation for Subscription" in answer
    for subject in (COMMAND, HEAD, WITNESS, subjects.event("task.started", TASK)):
        nats.bus.publish(subject, b"not for it")
    nats.bus.publish(subjects.outcome(VICTIM, INSTANCE), b"not for it")
    await nats.bus.ping(PATIENCE)
    assert b"not for it" not in await thief.say(b"")


async def test_a_reply_right_is_for_who_asked_alone(nats: AskingNats, thief: Thief) -> None:
    """It answers a command once, where it was asked to, and nowhere else."""
    heard: list[bytes] = []
    await nats.bus.subscribe("_INBOX.coordinator.*", lambda got: heard.append(got.data))
    await thief.say(f"SUB ips.v1.command.{MINE}.* 7\r\n".encode())
    nats.bus.publish(f"ips.v1.command.{MINE}.x", b"do", reply=WITNESS)
    await nats.bus.ping(PATIENCE)
    assert b"do" in await thief.say(b"")
    assert b"Violation" not in await thief.publish(WITNESS, b"once")
    assert b"Violation" in await thief.publish(WITNESS, b"twice")
    assert b"Violation" in await thief.publish("_INBOX.coordinator.2", b"elsewhere")
    await nats.bus.ping(PATIENCE)
    assert heard == [b"once"]


WEAPONS = [HEAD, COMMAND, subjects.REPORT, f"$KV.{subjects.LEASE_BUCKET}.leader"]


@pytest.mark.parametrize("reply", WEAPONS)
async def test_no_acknowledgement_goes_where_it_points(
    nats: AskingNats, thief: Thief, reply: str
) -> None:
    """JetStream answers to any reply subject: so nothing that it may say is a stream's."""
    heard: list[Received] = []
    await nats.bus.subscribe(">", heard.append)
    for subject in (subjects.heartbeat(MINE, INSTANCE), subjects.outcome(MINE, INSTANCE)):
        assert b"Violation" not in await thief.publish(subject, b"mine", reply)
    await nats.bus.ping(PATIENCE)
    assert {got.subject for got in heard if got.data == b"mine"} == {
        subjects.heartbeat(MINE, INSTANCE),
        subjects.outcome(MINE, INSTANCE),
    }
    assert [got for got in heard if got.subject == reply] == []


async def test_what_floods_ends_with_its_own_connection(nats: AskingNats, thief: Thief) -> None:
    """A message beyond what the server takes is the end of who sends it, and of nobody else."""
    agent = await nats.agent(VICTIM)
    heard: list[bytes] = []
    await agent.subscribe(f"ips.v1.command.{VICTIM}.*", lambda got: heard.append(got.data))
    with pytest.raises((AssertionError, OSError)):
        await thief.publish(subjects.heartbeat(MINE, INSTANCE), b"x" * (2 << 20))
    nats.bus.publish(COMMAND, b"on")
    await nats.bus.ping(PATIENCE)
    await agent.subscribe(f"{subjects.inboxes_of(VICTIM)}.x", lambda _: None)
    assert heard == [b"on"]
    assert await Store(nats.bus).is_decided(subjects.AttemptKey(TASK, VICTIM, 1)) is False
