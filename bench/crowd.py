"""Nodes that are only spoken for: their heartbeats, replies, progress and outcomes, and no agents.

Ten thousand of them cost one process a fraction of what real agents would, so that what is measured
or shown is the coordinator and its page. What becomes of each pull is decided by a ``Plan``.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from agent.outbox import LONGEST_PAUSE
from agent.outcome_requests import OutcomeRequests
from common import subjects
from common.backoff import Backoff
from common.bus import Bus, BusError, Received
from common.messages import (
    Assign,
    AttemptProgress,
    Cancel,
    Command,
    Heartbeat,
    Hold,
    ImageDisk,
    ImageOutcome,
    ImageProgress,
    ImageState,
    Outcome,
    Progress,
    Reply,
)
from common.reasons import Reason
from common.subjects import AgentAddress, AttemptKey

HEARTBEAT_SECONDS: Final = 30.0
TICK_SECONDS: Final = 0.25
_COMMANDS: Final = f"{subjects.PREFIX}.command.*.*"
_BURST: Final = 250
_decode: Final[Callable[[bytes], Command]] = msgspec.json.Decoder(Command).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Pull:
    """How one pull goes: its time and bytes, and half-way the reason for which it fails, if any."""

    seconds: float
    size: int
    reason: Reason | None = None
    message: str = ""


Plan = Callable[[str, str, int], Pull]
"""From node, image and attempt to what becomes of the pull."""


@dataclass(slots=True)
class Node:
    """One node of the crowd."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    runtime: str = "containerd 2.1.9"
    disk: ImageDisk | None = None
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    next_heartbeat: float = 0.0


@dataclass(slots=True)
class _Work:
    """One accepted attempt."""

    assign: Assign
    node: Node
    began: float
    next_report: float = 0.0


class Crowd:
    """Keep ``run`` running. All images of a node are pulled side by side."""

    def __init__(self, bus: Bus, nodes: Sequence[Node], plan: Plan) -> None:
        self._bus = bus
        self._plan = plan
        self._nodes = {node.name: node for node in nodes}
        self._work: dict[str, list[_Work]] = {node.name: [] for node in nodes}
        self._storing: set[asyncio.Task[None]] = set()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> None:
        """Speak for all nodes until cancelled."""
        await self._bus.subscribe(_COMMANDS, self._obey)
        while True:
            await self._speak()
            await asyncio.sleep(TICK_SECONDS)

    def silence(self, name: str) -> None:
        """Have a node say no more heartbeats."""
        self._nodes[name].next_heartbeat = float("inf")

    async def _speak(self) -> None:
        now, said = self._clock(), 0
        for node in self._nodes.values():
            if now >= node.next_heartbeat:
                self._greet(node)
                said += 1
            for work in list(self._work[node.name]):
                said += self._go_on(work, now)
            if said >= _BURST:
                said = 0
                await asyncio.sleep(0)

    # ── what nodes say ──

    def _greet(self, node: Node) -> None:
        now, works = self._clock(), self._work[node.name]
        # Not all at once: the first interval of each is drawn from its name.
        first = int(hashlib.sha256(node.name.encode()).hexdigest()[:4], 16) / 65536
        share = 1.0 if node.next_heartbeat else 0.5 + first / 2
        if node.next_heartbeat != float("inf"):
            node.next_heartbeat = now + HEARTBEAT_SECONDS * share
        heartbeat = Heartbeat(
            agent_version="1.0.0",
            driver="cri",
            labels=dict(node.labels),
            runtime=node.runtime,
            platform="linux/amd64",
            image_disk=node.disk,
            pulling=[image.name for work in works for image in work.assign.images],
            holds=[Hold(task=w.assign.task, attempt=w.assign.attempt) for w in works],
            interval=HEARTBEAT_SECONDS,
        )
        self._bus.publish(subjects.heartbeat(node.name, node.instance), _encode(heartbeat))

    def _go_on(self, work: _Work, now: float) -> int:
        """Report or finish an attempt; how many messages that took."""
        pulls = self._pulls(work)
        elapsed = now - work.began
        if all(elapsed >= lasts(pull) for pull in pulls.values()):
            self._finish(work, pulls)
            return 2
        if now < work.next_report:
            return 0
        work.next_report = now + work.assign.progress_seconds
        images = [progress_of(name, pull, elapsed) for name, pull in pulls.items()]
        task, attempt = work.assign.task, work.assign.attempt
        report = Progress(attempts=[AttemptProgress(task=task, attempt=attempt, images=images)])
        self._bus.publish(subjects.progress(work.node.name, work.node.instance), _encode(report))
        return 1

    def _pulls(self, work: _Work) -> dict[str, Pull]:
        node, attempt = work.node.name, work.assign.attempt
        return {image.name: self._plan(node, image.name, attempt) for image in work.assign.images}

    def _finish(self, work: _Work, pulls: Mapping[str, Pull]) -> None:
        self._work[work.node.name].remove(work)
        outcome = Outcome(
            images=[outcome_of(name, pull) for name, pull in pulls.items()],
            seconds=max(map(lasts, pulls.values())),
            instance=work.node.instance,
        )
        key = AttemptKey(work.assign.task, work.node.name, work.assign.attempt)
        address = AgentAddress(work.node.name, work.node.instance)
        storing = asyncio.create_task(self._store(address, key, _encode(outcome)))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        self._greet(work.node)

    async def _store(self, address: AgentAddress, key: AttemptKey, outcome: bytes) -> None:
        requests, backoff = OutcomeRequests(self._bus, address), Backoff(LONGEST_PAUSE)
        try:
            while True:
                with suppress(BusError):
                    await requests.store(key, outcome)
                    return
                await asyncio.sleep(backoff.next())
        finally:
            requests.close()

    # ── what nodes are told ──

    def _obey(self, received: Received) -> None:
        address = subjects.parse_command(received.subject)
        if address is None or address.node not in self._nodes:
            return
        node, command = self._nodes[address.node], _decode(received.data)
        match command:
            case Assign():
                known = [work.assign.task for work in self._work[node.name]]
                if command.task not in known:
                    self._work[node.name].append(_Work(command, node, self._clock()))
                    self._greet(node)
            case Cancel():
                left = [w for w in self._work[node.name] if w.assign.task != command.task]
                self._work[node.name] = left
        if received.reply:
            self._bus.publish(received.reply, _encode(Reply(accepted=True)))


def lasts(pull: Pull) -> float:
    """How long a pull takes, in seconds; one that fails ends half-way."""
    return pull.seconds if pull.reason is None else pull.seconds / 2


def progress_of(image: str, pull: Pull, elapsed: float) -> ImageProgress:
    """How far a pull is."""
    share = min(elapsed / pull.seconds, 1.0)
    if elapsed >= lasts(pull):
        state = ImageState.PULLED if pull.reason is None else ImageState.FAILED
        return ImageProgress(image=image, state=state, bytes=int(share * pull.size))
    return ImageProgress(
        image=image,
        state=ImageState.PULLING,
        bytes=int(share * pull.size),
        total_bytes=pull.size,
        bytes_per_second=int(pull.size / pull.seconds),
    )


def outcome_of(image: str, pull: Pull) -> ImageOutcome:
    """How a pull ended."""
    if pull.reason is not None:
        return ImageOutcome(
            image=image, state=ImageState.FAILED, reason=pull.reason, message=pull.message
        )
    return ImageOutcome(
        image=image,
        state=ImageState.PULLED,
        digest=f"sha256:{hashlib.sha256(image.encode()).hexdigest()}",
        bytes=pull.size,
        seconds=round(pull.seconds, 2),
    )
