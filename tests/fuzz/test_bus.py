"""No message ends a program, or makes it grow: on every subject, from whoever may say anything.

What would be believed is left out where nobody but a leader may say it (a later epoch, to agents
and to followers): it would be no fault to follow it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from common import subjects
from common.bus import Bus
from common.inventory import InventoryQuestion
from common.messages import NOT_DECODABLE, Briefing, Command, Report
from sandbox.programs import Program
from tests.fixtures.fleet import Fleet
from tests.fixtures.nats import OpenBus, StartNats
from tests.fixtures.patience import PATIENCE
from tests.fuzz.conftest import MESSAGES, SEED
from tests.fuzz.mutations import mutated

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(4 * 3600)]

TASK: Final = "task-20260116-151234-a1b2c3d4"
HASH: Final = "0123456789abcdef"
REFERENCE: Final = "docker.io/library/redis:7"
BURST: Final = 500
"""Messages between two looks whether what came before has been heard."""
STORED_SHARE: Final = 0.01
"""Of what a stream keeps: the store is to have room for what matters."""
MOST_GROWTH: Final = 64
"""MiB that a program may grow after the first quarter: 67 bytes a message of a million."""

OUTCOME: Final = {
    "images": [{"image": "redis:7", "state": "pulled", "bytes": 5, "seconds": 1.5}],
    "seconds": 1.5,
    "instance": HASH,
}
HEARTBEAT: Final = {
    "agentVersion": "1.0.0",
    "driver": "cri",
    "labels": {"pool": "web"},
    "runtime": "containerd 2.1.9",
    "platform": "linux/amd64",
    "imageDisk": {"freeBytes": 5, "totalBytes": 9},
    "pulling": [REFERENCE],
    "holds": [{"task": TASK, "attempt": 1, "seconds": 2.5}],
    "interval": 10.0,
    "inventory": {"generation": HASH, "number": 3, "hash": HASH},
}
PROGRESS: Final = {
    "attempts": [
        {
            "task": TASK,
            "attempt": 1,
            "images": [{"image": "redis:7", "state": "pulling", "bytes": 1, "totalBytes": 7}],
        }
    ]
}
INVENTORY: Final = {
    "generation": HASH,
    "number": 3,
    "hash": HASH,
    "whole": True,
    "found": [{"reference": REFERENCE, "present": True, "digest": "sha256:" + "0" * 64}],
}
ASSIGN: Final = {
    "kind": "assign",
    "epoch": 1,
    "task": TASK,
    "attempt": 1,
    "images": [{"name": "redis:7", "reference": REFERENCE}],
}
BRIEFING: Final = {
    "epoch": 1,
    "number": 1,
    "flights": [{"task": TASK, "node": "node-1", "attempt": 1, "startedAt": 5}],
    "waiting": [{"task": TASK, "message": "m", "messageCode": "task.queued"}],
}
HEAD: Final = {"taskId": TASK, "status": "pending", "images": ["redis:7"], "priority": 5}
FROM_AGENTS: Final[tuple[tuple[Callable[[str, str], str], Any], ...]] = (
    (subjects.heartbeat, HEARTBEAT),
    (subjects.progress, PROGRESS),
    (subjects.inventory, INVENTORY),
    (subjects.outcome, {"task": TASK, "attempt": 1, "outcome": OUTCOME}),
)
TO_AGENTS: Final[tuple[tuple[Callable[[str, str], str], Any, Any], ...]] = (
    (subjects.command, ASSIGN, Command),
    (subjects.command, {"kind": "cancel", "epoch": 1, "task": TASK}, Command),
    (subjects.command, {"kind": "report", "epoch": 1}, Command),
    (subjects.query, {"kind": "want", "generation": HASH, "references": []}, InventoryQuestion),
    (subjects.query, {"kind": "ask"}, InventoryQuestion),
)
STORED: Final[tuple[tuple[str, Any], ...]] = (
    (subjects.result(TASK, "node-1", 1), OUTCOME),
    (subjects.event("task.created", TASK), {"specversion": "1.0", "id": "1", "data": {}}),
    (f"$KV.{subjects.TASKS_BUCKET}.{TASK}", HEAD),
    (f"$KV.{subjects.LISTS_BUCKET}.{TASK}.nodes.0", {"nodes": ["node-1"]}),
    (f"$KV.{subjects.KEYS_BUCKET}.idem.{'0' * 64}", {"task": TASK}),
    (f"$KV.{subjects.SETS_BUCKET}.web", {"images": ["redis:7"]}),
    (f"$KV.{subjects.NODES_BUCKET}.phantom-1", {"node": "phantom-1"}),
)
REPLIES: Final = ("", "_INBOX.fuzz.1", subjects.REPORT, "$JS.API.STREAM.DELETE.IPS_TASKS", "ips.v1")
"""Where coordinators are asked to answer; agents' answers to a leader go where it says."""


class Fuzz:
    """Says what is nearly right; the same seed says the same."""

    def __init__(self, bus: Bus, agents: list[subjects.AgentAddress], seed: int) -> None:
        self._bus = bus
        self._agents = agents
        self._rng = random.Random(seed)

    def say(self) -> None:
        """One message on one of all subjects."""
        rng = self._rng
        subject, payload = self._stored() if rng.random() < STORED_SHARE else self._spoken()
        asks = subjects.parse_outcome(subject) or subjects.parse_inventory(subject)
        self._bus.publish(subject, payload, rng.choice(REPLIES) if asks else "")

    def _stored(self) -> tuple[str, bytes]:
        subject, right = self._rng.choice(STORED)
        return subject, mutated(self._rng, right)

    def _spoken(self) -> tuple[str, bytes]:
        rng = self._rng
        match rng.randrange(10):
            case 0:
                return subjects.REPORT, self._disbelieved({"kind": "report", "epoch": 1}, Report)
            case 1:
                return subjects.BRIEFING, self._disbelieved(BRIEFING, Briefing)
            case 2:
                return subjects.BRIEFING_WANTED, mutated(rng, {})
            case 3:
                kind = rng.choice(("heartbeat", "progress", "outcome", "inventory", "command"))
                who = rng.choice(("a.b", "node-1.0", "node_1.x", "-.-", "NODE.0123456789abcdef"))
                return f"{subjects.PREFIX}.{kind}.{who}", mutated(rng, HEARTBEAT)
            case 4 | 5:
                subject, right, message = rng.choice(TO_AGENTS)
                node, instance = rng.choice(self._agents)
                return subject(node, instance), self._disbelieved(right, message)
            case _:
                subject, right = rng.choice(FROM_AGENTS)
                node, instance = rng.choice(self._agents)
                if rng.random() < 0.5 or subject is subjects.heartbeat:
                    node, instance = f"phantom-{rng.randrange(50)}", f"{rng.randrange(9):016x}"
                return subject(node, instance), mutated(rng, right)

    def _disbelieved(self, right: Any, kind: Any) -> bytes:
        """What is made of a right message and is none, or names no later epoch."""
        while True:
            payload = mutated(self._rng, right)
            try:
                said = msgspec.json.decode(payload, type=kind)
            except NOT_DECODABLE:
                return payload
            if getattr(said, "epoch", 2) <= 1:
                return payload


def resident(program: Program) -> float:
    """MiB that a program has in memory."""
    (line,) = [
        each
        for each in Path(f"/proc/{program.pid}/status").read_text().splitlines()
        if each.startswith("VmRSS:")
    ]
    return int(line.split()[1]) / 1024


class Ward:
    """Programs that are spoken to, and whether they hear."""

    def __init__(self, fleet: Fleet, bus: Bus) -> None:
        self.fleet = fleet
        self.bus = bus
        self._beats = count(1)

    @property
    def programs(self) -> list[Program]:
        """All of them."""
        return [*self.fleet.coordinators, *self.fleet.agents.values()]

    async def hear(self) -> None:
        """Wait until all coordinators have heard what was said before."""
        beat = str(next(self._beats))
        right = msgspec.json.encode({**HEARTBEAT, "labels": {"beat": beat}, "holds": []})
        async with asyncio.timeout(PATIENCE):
            for each in self.fleet.coordinators:
                while await self._beat_at(each.url) != beat:
                    self.bus.publish(subjects.heartbeat("beating", HASH), right)
                    await asyncio.sleep(0.01)

    async def _beat_at(self, url: str) -> str | None:
        async with self.fleet.http.get(f"{url}/api/v1/nodes/beating") as answer:
            assert answer.status in {200, 404}
            return (await answer.json()).get("labels", {}).get("beat") if answer.ok else None


@pytest.fixture
async def ward(fleet: Fleet, start_nats: StartNats, open_bus: OpenBus) -> Ward:
    """Two coordinators and two agents on a NATS where everybody may say everything."""
    server = await start_nats()
    fleet.nats_settings = {"IPS_NATS_URL": server.url}
    for name in ("coordinator-1", "coordinator-2"):
        await fleet.add_coordinator(name=name)
    await fleet.add_agents(2)
    return Ward(fleet, await open_bus(server))


async def addresses(bus: Bus, agents: int) -> list[subjects.AgentAddress]:
    """Who the agents are, by what they say of themselves."""
    found: set[subjects.AgentAddress] = set()
    heard = asyncio.Event()

    def hear(message: Any) -> None:
        who = subjects.parse_heartbeat(message.subject)
        if who is not None:
            found.add(who)
        if len(found) == agents:
            heard.set()

    await bus.subscribe(subjects.ALL_HEARTBEATS, hear)
    await heard.wait()
    return sorted(found)


def bursts(messages: int) -> Iterator[int]:
    """How many messages each burst has."""
    for begun in range(0, messages, BURST):
        yield min(BURST, messages - begun)


async def test_no_message_ends_a_program(ward: Ward) -> None:
    """After all of them the same processes run, none has grown, and a task runs to its end."""
    fleet = ward.fleet
    fuzz = Fuzz(ward.bus, await addresses(ward.bus, 2), SEED)
    pids = [program.pid for program in ward.programs]
    early: list[float] = []
    for number, burst in enumerate(bursts(MESSAGES)):
        for _ in range(burst):
            fuzz.say()
        await ward.hear()
        assert [program.pid for program in ward.programs] == pids
        if number == MESSAGES // BURST // 4:
            early = [resident(program) for program in ward.programs]
    late = [resident(program) for program in ward.programs]
    grown = [round(after - before, 1) for before, after in zip(early, late, strict=True)]
    log.info("%s messages; MiB at a quarter %s, grown by %s", MESSAGES, early, grown)
    assert max(grown) < MOST_GROWTH
    task = await fleet.post(["busybox:1.36"], nodeNames=["node-1", "node-2"], priority=10)
    assert (await fleet.over(task))["status"] == "completed"
