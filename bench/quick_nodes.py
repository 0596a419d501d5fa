"""A program: nodes that take every assignment and are done with it at once, without a pull.

``python -m bench.quick_nodes`` with its settings in the environment (``QuickNodes.settings``). Each
node says on the wire what an agent says: heartbeats at an agent's interval, an answer to each
assignment, and the outcome until a coordinator has stored it. Nodes are spread over as many
connections as wished: one for each, or a few for all.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from bench.wire import Wire
from common import subjects
from common.messages import (
    Assign,
    AssignedImage,
    Command,
    Heartbeat,
    ImageOutcome,
    ImageState,
    Outcome,
    OutcomeAnswer,
    OutcomeRequest,
    Reply,
)

HEARTBEAT_SECONDS = 10.0
"""An agent's, unless it is told otherwise."""
ASK_AGAIN_SECONDS = 5.0
"""An agent's wait for the answer to an outcome."""
AT_ONCE = 50
"""Connections that are opened at the same time."""
_DIGEST = "sha256:" + "0" * 64

_decode = msgspec.json.Decoder(Command).decode
_decode_answer = msgspec.json.Decoder(OutcomeAnswer).decode
_encode = msgspec.json.Encoder().encode
_ACCEPT = _encode(Reply(accepted=True))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which nodes, and over how many connections to where."""

    url: str
    token: str
    nodes: int
    connections: int

    def settings(self) -> dict[str, str]:
        """The environment that tells a program of this kind so."""
        return {
            "BENCH_URL": self.url,
            "BENCH_TOKEN": self.token,
            "BENCH_NODES": str(self.nodes),
            "BENCH_CONNECTIONS": str(self.connections),
        }

    @classmethod
    def read(cls, settings: Mapping[str, str]) -> Wanted:
        """The other way round."""
        return cls(
            url=settings["BENCH_URL"],
            token=settings["BENCH_TOKEN"],
            nodes=int(settings["BENCH_NODES"]),
            connections=int(settings["BENCH_CONNECTIONS"]),
        )


@dataclass(slots=True)
class QuickNode:
    """One node."""

    name: str
    wire: Wire
    instance: str = field(default_factory=lambda: f"{random.getrandbits(64):016x}")
    asked: int = 0
    waiting: dict[str, tuple[bytes, asyncio.TimerHandle]] = field(default_factory=dict)
    """By the subject of the answer that is awaited: the request, and when it is sent again."""

    @property
    def inbox(self) -> str:
        """Where answers come to."""
        return subjects.agent_inbox(self.name, self.instance)

    def greet(self) -> None:
        """Say a heartbeat, and once more in its time."""
        heartbeat = Heartbeat(
            agent_version="1.0.0",
            driver="simulated",
            labels={"zone": "a"},
            runtime="simulated",
            platform="linux/amd64",
            interval=HEARTBEAT_SECONDS,
        )
        self.wire.publish(subjects.heartbeat(self.name, self.instance), _encode(heartbeat))
        pause = HEARTBEAT_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spread, not secret
        asyncio.get_running_loop().call_later(pause, self.greet)

    def take(self, subject: str, reply: str, payload: bytes) -> None:
        """Take a message in."""
        if (found := self.waiting.pop(subject, None)) is not None:
            request, deadline = found
            deadline.cancel()
            self._answered(request, _decode_answer(payload))
            return
        if subject.startswith(self.inbox):
            return  # too late: it was asked for again
        command = _decode(payload)
        if isinstance(command, Assign):
            self.wire.publish(reply, _ACCEPT)
            self._ask(outcome_request(command, self.instance))

    def _answered(self, request: bytes, answer: OutcomeAnswer) -> None:
        if answer.again:
            pause = random.uniform(0, ASK_AGAIN_SECONDS)  # noqa: S311 - spread, not secret
            asyncio.get_running_loop().call_later(pause, self._ask, request)
        elif answer.message:
            print("refused", self.name, answer.message, flush=True)

    def _ask(self, request: bytes) -> None:
        self.asked += 1
        answer = f"{self.inbox}.{self.asked}"
        deadline = asyncio.get_running_loop().call_later(ASK_AGAIN_SECONDS, self._again, answer)
        self.waiting[answer] = request, deadline
        self.wire.publish(subjects.outcome(self.name, self.instance), request, answer)

    def _again(self, answer: str) -> None:
        print("asked again", self.name, flush=True)
        request, _ = self.waiting.pop(answer)
        self._ask(request)


def outcome_request(command: Assign, instance: str) -> bytes:
    """That everything is there now."""
    images = [_pulled(image) for image in command.images]
    outcome = Outcome(images=images, seconds=1.0, instance=instance)
    return _encode(OutcomeRequest(task=command.task, attempt=command.attempt, outcome=outcome))


def _pulled(image: AssignedImage) -> ImageOutcome:
    return ImageOutcome(
        image=image.name,
        state=ImageState.PULLED,
        digest=_DIGEST,
        bytes=400_000_000,
        seconds=1.0,
    )


class Connection:
    """Some nodes that share a wire."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._of_token: dict[str, QuickNode] = {}

    async def open(self, wanted: Wanted, places: asyncio.Semaphore) -> list[QuickNode]:
        """Connect, and listen for all of them."""
        async with places:
            wire = await Wire.open(wanted.url, wanted.token, self._take)
            nodes = [QuickNode(name, wire) for name in self._names]
            for node in nodes:
                self._of_token[node.name] = node
                wire.subscribe(subjects.command(node.name, node.instance))
                wire.subscribe(f"{node.inbox}.*")
            await wire.heard()
            return nodes

    def _take(self, subject: str, reply: str, payload: bytes) -> None:
        # ips.v1.command.<node>.<instance>, _INBOX.agent.<node>.<instance>.<number>
        tokens = subject.split(".")
        node = tokens[3] if tokens[0] == "ips" else tokens[2]
        self._of_token[node].take(subject, reply, payload)


def node_names(count: int) -> list[str]:
    """The names of so many nodes; without dots, so that a name is its own token."""
    return [f"node-{number:05}" for number in range(1, count + 1)]


async def main(wanted: Wanted) -> None:
    """Speak for all nodes until somebody ends it."""
    names, places = node_names(wanted.nodes), asyncio.Semaphore(AT_ONCE)
    shares = [names[number :: wanted.connections] for number in range(wanted.connections)]
    opened = await asyncio.gather(*(Connection(share).open(wanted, places) for share in shares))
    loop = asyncio.get_running_loop()
    for node in (node for nodes in opened for node in nodes):
        loop.call_later(HEARTBEAT_SECONDS / 2 * random.random(), node.greet)  # noqa: S311 - as above
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Wanted.read(os.environ)))
