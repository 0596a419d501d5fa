"""A program: the bus work of a coordinator, and nobody who thinks. The ceiling for a real one.

It hears heartbeats, sends assignments, takes the answers, stores outcomes that it is asked to store
and answers, reads the stored ones back, stores an event of each in batches, and reads those, too:
each message decoded and encoded as the real one does. ``bare.run`` asks it for a task on all nodes.
``python -m bench.bare`` with ``BENCH_URL``, ``BENCH_TOKEN`` and ``BENCH_ROLE`` (``leader`` or
``follower``, which hears and stores with it as a second replica does) in the environment.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

from common import subjects
from common.bus import Bus, BusError, BusSettings, Draft, Received
from common.messages import (
    Assign,
    AssignedImage,
    Heartbeat,
    Outcome,
    OutcomeAnswer,
    OutcomeRequest,
    OutcomeResult,
    Reply,
)
from coordinator.streams import definitions

RUN = "bare.run"
"""Answered, when the task is done, with the seconds that it took."""
KNOWN = "bare.known"
"""Answered with how many nodes have been heard."""
IMAGES = ["shop/web:1", "shop/api:1"]
AT_ONCE = 10_000
"""Nodes in flight."""
BATCH = 200
_EVENT = msgspec.json.encode(
    {"id": "x" * 60, "data": {"images": [{"image": "y" * 100, "digest": "z" * 71}] * 2}}
)

_encode = msgspec.json.Encoder().encode
_STORED = _encode(OutcomeAnswer(result=OutcomeResult.STORED))


class BareReplica:
    """Hears, stores and reads."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.instances: dict[str, str] = {}
        """By node, who speaks for it."""
        self._jobs: set[asyncio.Future[Any]] = set()
        self._decode_heartbeat = msgspec.json.Decoder(Heartbeat).decode
        self._decode_request = msgspec.json.Decoder(OutcomeRequest).decode
        self._decode_outcome = msgspec.json.Decoder(Outcome).decode

    def spawn(self, job: Coroutine[Any, Any, Any]) -> None:
        """Have something done."""
        task = asyncio.ensure_future(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def open(self) -> None:
        """Hear, store and read from now on."""
        bus = self.bus
        await bus.subscribe(subjects.ALL_HEARTBEATS, self._on_heartbeat)
        await bus.subscribe(subjects.ALL_OUTCOMES, self._on_request, subjects.COORDINATORS)
        self.spawn(self._read(subjects.RESULTS, self.outcome_read))
        self.spawn(self._read(subjects.EVENTS, self.event_read))

    def _on_heartbeat(self, received: Received) -> None:
        address = subjects.parse_heartbeat(received.subject)
        assert address is not None
        self._decode_heartbeat(received.data)
        self.instances[address.node] = address.instance

    def _on_request(self, received: Received) -> None:
        address = subjects.parse_outcome(received.subject)
        assert address is not None
        request = self._decode_request(received.data)
        subject = subjects.result(request.task, address.node, request.attempt)
        stored = partial(self._stored, received.reply)
        self.bus.store_soon(subject, _encode(request.outcome), expect_last=0, on_stored=stored)

    def _stored(self, reply: str, seq: int | BusError) -> None:
        if isinstance(seq, int):  # else the node asks again
            self.bus.publish(reply, _STORED)

    async def _read(self, stream: str, take: Any) -> None:
        start = (await self.bus.stream_state(stream)).last_seq + 1
        async with aclosing(self.bus.follow(stream, start=start)) as following:
            async for records in following:
                for record in records:
                    take(record.subject, record.data)

    def outcome_read(self, subject: str, data: bytes) -> None:
        """An outcome was stored."""
        subjects.parse_result(subject)
        self._decode_outcome(data)

    def event_read(self, subject: str, _data: bytes) -> None:
        """An event was stored."""
        subjects.parse_event(subject)


class BareLeader(BareReplica):
    """Assigns and tells, too."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self._task = ""
        self._left: list[str] = []
        self._untold: list[Draft] = []
        self._unread = 0
        self._more = asyncio.Event()
        self._done = asyncio.Event()
        self._decode_reply = msgspec.json.Decoder(Reply).decode

    async def open(self) -> None:
        """As above; and take orders."""
        await super().open()
        self.spawn(self._tell())
        await self.bus.subscribe(RUN, lambda got: self.spawn(self._run(got.reply)))
        await self.bus.subscribe(
            KNOWN, lambda got: self.bus.publish(got.reply, b"%d" % len(self.instances))
        )

    async def _run(self, reply: str) -> None:
        began = time.monotonic()
        self._task = f"task-20260101-000000-{secrets.token_hex(4)}"
        self._left, self._unread = sorted(self.instances, reverse=True), len(self.instances)
        self._done.clear()
        for number in range(min(AT_ONCE, len(self._left))):
            self._assign_next()
            if number % BATCH == 0:
                await asyncio.sleep(0)
        await self._done.wait()
        self.bus.publish(reply, _encode(time.monotonic() - began))
        await self.bus.purge(subjects.RESULTS, subjects.results_of(self._task))

    def _assign_next(self) -> None:
        if self._left:
            node = self._left.pop()
            subject = subjects.command(node, self.instances[node])
            self.bus.ask(subject, _assignment(self._task), 60, self._answered)

    def _answered(self, answer: Any) -> None:
        assert self._decode_reply(answer).accepted

    def outcome_read(self, subject: str, data: bytes) -> None:
        """A place is free; the world is to be told."""
        super().outcome_read(subject, data)
        self._untold.append(Draft(subjects.event("node.succeeded", self._task), _EVENT))
        self._more.set()
        self._assign_next()

    async def _tell(self) -> None:
        while True:
            await self._more.wait()
            batch, self._untold = self._untold[:BATCH], self._untold[BATCH:]
            if batch:
                await self.bus.store_batch(batch)
            if not self._untold:
                self._more.clear()

    def event_read(self, subject: str, data: bytes) -> None:
        """Done, when it is the last one."""
        super().event_read(subject, data)
        self._unread -= 1
        if not self._unread:
            self._done.set()


def _assignment(task: str) -> bytes:
    images = [AssignedImage(name=i, reference=f"docker.io/{i}") for i in IMAGES]
    return _encode(Assign(epoch=1, task=task, attempt=1, images=images))


async def main() -> None:
    """Work until somebody ends it."""
    settings = BusSettings(servers=(os.environ["BENCH_URL"],), token=os.environ["BENCH_TOKEN"])
    bus = await Bus.connect(settings)
    running = asyncio.create_task(bus.run())
    is_leader = os.environ["BENCH_ROLE"] == "leader"
    if is_leader:
        for config in definitions(1):
            await bus.ensure_stream(config)
    await (BareLeader if is_leader else BareReplica)(bus).open()
    print("ready", flush=True)
    await running


if __name__ == "__main__":
    asyncio.run(main())
