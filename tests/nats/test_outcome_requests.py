"""Agents' outcomes through replicas: stored, decided or refused, and no way around.

Two replicas of which nobody leads, and the agent's own way to ask.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from agent.outcome_requests import OutcomeRequests
from common import subjects
from common.bus import NoResponders, Received, TimedOut
from common.clock import Clock
from common.messages import Outcome, OutcomeAnswer, OutcomeRequest, OutcomeResult
from common.reasons import Reason
from common.subjects import MAX_MESSAGE_BYTES, AgentAddress, AttemptKey
from coordinator.core.node_run import NodePhase
from coordinator.core.scheduler import Limits
from coordinator.core.task import TaskStatus
from coordinator.engine.live import LiveChanges
from coordinator.engine.outcome_requests import MOST_OF_A_NODE
from coordinator.engine.replica import Context, Replica
from coordinator.engine.store_clock import StoreClock
from coordinator.nodes.announced import AnnouncedNodes
from coordinator.store import Store, StoredHead
from tests.core.stage import FLAKY, head, pulled, spec
from tests.fixtures.memory import AnyBus, AnyServer, now
from tests.fixtures.nats import OpenBus, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOTH = True

TASK = "task-20260101-000000-00000001"
PENDING = "task-20260101-000000-00000002"
OTHER = "task-20260101-000000-00000003"
NODE = "n-1.zone"
INSTANCE = "0123456789abcdef"
ME = AgentAddress(NODE, INSTANCE)
VICTIM = AgentAddress("n2", "fedcba9876543210")
MINE = replace(pulled("a"), instance=INSTANCE)
FAILED = replace(FLAKY, instance=INSTANCE)
ANSWER = 0.3
"""Seconds that are waited for an answer which is not to come."""

_decode = msgspec.json.Decoder(OutcomeAnswer).decode


class Fleet:
    """Two replicas, a task that runs on two nodes, one that waits, and an agent's connection."""

    def __init__(self, replicas: list[Replica], world: AnyBus, bus: AnyBus) -> None:
        self.replicas = replicas
        self.poison: list[str] = []
        self.store = Store(world)
        self.world = world
        self.bus = bus
        self.requests = OutcomeRequests(bus, ME)

    async def ask(self, outcome: Outcome = MINE, attempt: int = 1, task: str = TASK) -> str:
        """Ask as an agent does: what became of it, with its code where it is refused."""
        answer = await self.requests.store(
            AttemptKey(task, NODE, attempt), msgspec.json.encode(outcome)
        )
        return answer.message_code or answer.result.value

    async def raw(self, data: bytes) -> OutcomeAnswer:
        """Ask with any bytes."""
        inbox = self.bus.open_inbox(subjects.agent_inbox(*ME))
        answer = await inbox.call(subjects.outcome(*ME), data, 5)
        inbox.close()
        return _decode(answer)

    async def stored(self) -> list[str]:
        """The subjects of all outcomes."""
        return sorted(await self.world.subjects(subjects.RESULTS))


def _replica(bus: AnyBus, poison: list[str]) -> Replica:
    clock = Clock(lambda: 1_768_576_354.0, now)
    context = Context(
        bus=bus,
        clock=clock,
        store_clock=StoreClock(bus, clock, clock),
        rng=random.Random(1),
        live=LiveChanges(),
        new_source=AnnouncedNodes,
        on_poison=poison.append,
        limits=Limits(first_look=1.0, agent_wait=30.0),
        max_pending=10,
        forget_seconds=600.0,
    )
    return Replica(context)


async def _start(store: Store, task: str = TASK) -> None:
    """What a leader elsewhere does."""
    created = await store.create_head(head(task, spec("a", max_retries=3)))
    await store.save_list(task, "nodes", [NODE, VICTIM.node])
    running = replace(created.head, status=TaskStatus.RUNNING, nodes=2, node_list="nodes")
    await store.swap_head(created, running)


@asynccontextmanager
async def _running(replicas: list[Replica]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for replica in replicas:
            job = asyncio.create_task(replica.run())

            async def end(job: asyncio.Task[None] = job) -> None:
                job.cancel()
                await asyncio.wait([job])
                assert job.cancelled()

            stack.push_async_callback(end)
            await replica.loaded.wait()
        yield


async def _nothing(self: Store, start: int) -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield self, start


@pytest.fixture
def deaf_to_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas know the heads that they have loaded, and hear of no other."""
    monkeypatch.setattr(Store, "watch_heads", _nothing)


@pytest.fixture
def deaf_to_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas do not read back what is stored."""
    monkeypatch.setattr(Store, "watch_outcomes", _nothing)


@pytest.fixture
async def fleet(bus: AnyBus, nats_server: AnyServer, open_bus: OpenBus) -> AsyncIterator[Fleet]:
    """Two replicas that have loaded a store with a running task and a pending one."""
    store = Store(bus)
    await _start(store)
    await store.create_head(head(PENDING))
    poison: list[str] = []
    replicas = [_replica(await open_bus(nats_server), poison) for _ in range(2)]
    fleet = Fleet(replicas, bus, await open_bus(nats_server))
    fleet.poison = poison
    async with _running(replicas):
        yield fleet


async def test_an_outcome_is_stored_once(fleet: Fleet) -> None:
    """Every replica reads it back; a second one of the attempt is decided already."""
    assert await fleet.ask() == "stored"
    assert await fleet.ask(FAILED) == "decided"
    assert await fleet.stored() == [subjects.result(TASK, NODE, 1)]
    record = await fleet.world.last(subjects.RESULTS, subjects.result(TASK, NODE, 1))
    assert record is not None
    assert msgspec.json.decode(record.data, type=Outcome) == MINE
    for replica in fleet.replicas:
        node = replica.core.runs[TASK].by_name[NODE]
        await eventually(lambda node=node: node.phase is NodePhase.SUCCEEDED)  # type: ignore[misc]
    assert await fleet.ask(attempt=2) == "decided"
    assert await fleet.stored() == [subjects.result(TASK, NODE, 1)]


async def test_without_any_replica_the_agent_knows_at_once(
    nats_server: AnyServer, open_bus: OpenBus
) -> None:
    """And keeps what it has."""
    requests = OutcomeRequests(await open_bus(nats_server), ME)
    with pytest.raises(NoResponders):
        await requests.store(AttemptKey(TASK, NODE, 1), msgspec.json.encode(MINE))


@pytest.mark.usefixtures("deaf_to_heads")
async def test_a_task_that_started_just_now_is_read_from_the_store(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a replica that has not heard of it: once, however many ask."""
    read: list[str] = []
    load = Store.load_head

    async def counted(self: Store, task: str) -> StoredHead | None:
        read.append(task)
        return await load(self, task)

    monkeypatch.setattr(Store, "load_head", counted)
    await _start(fleet.store, OTHER)
    victim = OutcomeRequests(fleet.bus, VICTIM)
    key, outcome = AttemptKey(OTHER, VICTIM.node, 1), msgspec.json.encode(MINE)
    mine = asyncio.ensure_future(fleet.ask(task=OTHER))
    answers = await asyncio.gather(*(victim.store(key, outcome) for _ in range(3)))
    assert await mine == "stored"
    results = sorted(answer.result for answer in answers)
    assert results == ["decided", "decided", "stored"]
    assert len(read) <= len(fleet.replicas)


@pytest.mark.usefixtures("deaf_to_heads")
async def test_a_start_that_was_not_heard_of_is_read_from_the_store(fleet: Fleet) -> None:
    """A replica whose copy says pending looks before it says that the task has not started."""
    pending = await fleet.store.load_head(PENDING)
    assert pending is not None
    assert await fleet.ask(task=PENDING) == "outcome.tooEarly"
    await fleet.store.save_list(PENDING, "nodes", [NODE])
    running = replace(pending.head, status=TaskStatus.RUNNING, nodes=1, node_list="nodes")
    await fleet.store.swap_head(pending, running)
    assert await fleet.ask(task=PENDING) == "stored"


@pytest.mark.usefixtures("deaf_to_outcomes")
async def test_a_replica_that_lags_behind_the_outcomes_asks_the_store(fleet: Fleet) -> None:
    """The next attempt is the one whose predecessor is decided, by whomever."""
    assert await fleet.ask(FAILED, attempt=1) == "stored"
    assert await fleet.ask(FAILED, attempt=3) == "outcome.notDue"
    assert await fleet.ask(FAILED, attempt=2) == "stored"
    assert await fleet.ask(FAILED, attempt=1) == "decided"
    assert len(await fleet.stored()) == 2


async def test_what_nobody_can_read_is_a_failure_of_its_attempt(fleet: Fleet) -> None:
    """So that the attempt does not go on for ever; it is counted."""
    for attempt, said in enumerate((b'"no outcome"', b'{"images": [{}]}', b"{}\xff"), start=1):
        data = b'{"task":"%s","attempt":%d,"outcome":%s}' % (TASK.encode(), attempt, said)
        answer = await fleet.raw(data)
        readable = attempt < 3
        assert answer.result is (OutcomeResult.STORED if readable else OutcomeResult.REFUSED)
    assert await fleet.stored() == [subjects.result(TASK, NODE, n) for n in (1, 2)]
    node = fleet.replicas[0].core.runs[TASK].by_name[NODE]
    await eventually(lambda: node.failures == 2)
    assert node.reason is Reason.UNKNOWN
    assert fleet.poison == ["outcome"] * 3


# ── attacks with an agent's credential ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "reply",
    [
        f"$KV.{subjects.TASKS_BUCKET}.{TASK}",
        f"$KV.{subjects.LEASE_BUCKET}.leader",
        subjects.command(*VICTIM),
        subjects.result(TASK, VICTIM.node, 1),
        f"{subjects.agent_inbox(*VICTIM)}.1",
        f"{subjects.agent_inbox(*ME)}",
        f"{subjects.agent_inbox(*ME)}.1.2",
        f"{subjects.agent_inbox(*ME)}.x",
        f"{subjects.inboxes_of(NODE)}.1",
        "_INBOX.other.1",
        subjects.REPORT,
        "",
    ],
)
async def test_no_answer_goes_anywhere_but_to_the_asking_agent(fleet: Fleet, reply: str) -> None:
    """And nothing is stored for who wants that."""
    heard: list[Received] = []
    if reply:
        await fleet.world.subscribe(reply, heard.append)
    before = await fleet.world.last(f"KV_{subjects.TASKS_BUCKET}", f"$KV.IPS_TASKS.{TASK}")
    request = msgspec.json.encode(OutcomeRequest(task=TASK, attempt=1, outcome=MINE))
    fleet.bus.publish(subjects.outcome(*ME), request, reply)
    await eventually(lambda: bool(fleet.poison))
    assert await fleet.ask(FAILED) == "stored"  # what was sent before it is not
    assert heard == []
    after = await fleet.world.last(f"KV_{subjects.TASKS_BUCKET}", f"$KV.IPS_TASKS.{TASK}")
    assert before == after
    assert fleet.poison == ["outcome"]


async def test_nobody_speaks_for_another_node(fleet: Fleet) -> None:
    """A request in another node's name, or one whose answer goes to another node, is nobody's."""
    request = msgspec.json.encode(OutcomeRequest(task=TASK, attempt=1, outcome=MINE))
    inbox = fleet.bus.open_inbox(subjects.agent_inbox(*ME))
    with pytest.raises(TimedOut):
        await inbox.call(subjects.outcome(*VICTIM), request, ANSWER)
    assert await fleet.stored() == []
    assert fleet.poison == ["outcome"]


async def test_no_attempt_is_decided_in_advance(fleet: Fleet) -> None:
    """Neither all retries at once nor the last one first."""
    for attempt in (2, 3, 4, subjects.ATTEMPTS):
        assert await fleet.ask(attempt=attempt) == "outcome.notDue"
    assert await fleet.ask(FAILED) == "stored"
    assert await fleet.ask(attempt=3) == "outcome.notDue"
    assert await fleet.stored() == [subjects.result(TASK, NODE, 1)]


async def test_nothing_counts_before_the_start_or_of_no_task(fleet: Fleet) -> None:
    """Nor of a task that does not exist."""
    assert await fleet.ask(task=PENDING) == "outcome.tooEarly"
    assert await fleet.ask(task=OTHER) == "task.unknown"
    assert await fleet.stored() == []


async def test_nothing_counts_after_the_end(fleet: Fleet) -> None:
    """All is decided then."""
    running = await fleet.store.load_head(TASK)
    assert running is not None
    over = replace(running.head, status=TaskStatus.CANCELLED, finished_at=1)
    await fleet.store.swap_head(running, over)
    for replica in fleet.replicas:
        await eventually(lambda replica=replica: TASK not in replica.core.runs)  # type: ignore[misc]
    assert await fleet.ask() == "decided"
    assert await fleet.stored() == []


async def test_a_node_that_is_not_on_the_list_has_no_say(fleet: Fleet) -> None:
    """Whoever it is."""
    stranger = AgentAddress("stranger", INSTANCE)
    requests = OutcomeRequests(fleet.bus, stranger)
    answer = await requests.store(AttemptKey(TASK, "stranger", 1), msgspec.json.encode(MINE))
    assert (answer.result, answer.again) == (OutcomeResult.REFUSED, False)
    assert answer.message_code == "outcome.notItsNode"
    assert await fleet.stored() == []


@pytest.mark.parametrize(
    "verdict", [Outcome(removed=True, instance=INSTANCE), replace(MINE, instance="")]
)
async def test_an_agent_gives_no_verdicts(fleet: Fleet, verdict: Outcome) -> None:
    """They are the leader's."""
    assert await fleet.ask(verdict) == "outcome.noVerdict"
    assert await fleet.stored() == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        b'{"task":"%s","attempt":0,"outcome":{}}' % TASK.encode(),
        b'{"task":"%s","attempt":9999999999,"outcome":{}}' % TASK.encode(),
        b'{"task":"task-*","attempt":1,"outcome":{}}',
        b'{"task":"%s.n.1","attempt":1,"outcome":{}}' % TASK.encode(),
    ],
    ids=range(8),
)
async def test_what_is_no_request_is_refused(fleet: Fleet, data: bytes) -> None:
    """It is counted, and harms nobody."""
    answer = await fleet.raw(data)
    assert (answer.result, answer.message_code) == (
        OutcomeResult.REFUSED,
        "outcome.notUnderstood",
    )
    assert fleet.poison == ["outcome"]
    assert await fleet.stored() == []
    assert await fleet.ask() == "stored"


async def test_what_is_oversized_is_refused(fleet: Fleet) -> None:
    """NATS itself takes up to 1 MiB from who does not use our bus."""
    reply = f"{subjects.agent_inbox(*ME)}.1"
    answers: list[OutcomeAnswer] = []
    await fleet.world.subscribe(reply, lambda received: answers.append(_decode(received.data)))
    request = msgspec.json.encode(OutcomeRequest(task=TASK, attempt=1, outcome=MINE))
    large = request[:-1] + b',"x":"' + b"x" * MAX_MESSAGE_BYTES + b'"}'
    received = Received(subjects.outcome(*ME), large, reply)
    fleet.replicas[0].outcome_requests.on_request(received)
    await eventually(lambda: bool(answers))
    assert (answers[0].result, answers[0].message_code) == (
        OutcomeResult.REFUSED,
        "outcome.tooLarge",
    )
    assert await fleet.stored() == []


@pytest.mark.usefixtures("deaf_to_heads")
async def test_a_node_that_asks_without_end_keeps_no_other_out(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to ask again; its neighbour is served."""
    go_on = asyncio.Event()
    load = Store.load_head

    async def slow(self: Store, task: str) -> StoredHead | None:
        await go_on.wait()
        return await load(self, task)

    monkeypatch.setattr(Store, "load_head", slow)
    request = msgspec.json.encode(OutcomeRequest(task=OTHER, attempt=1, outcome=MINE))
    inbox = fleet.bus.open_inbox(subjects.agent_inbox(*ME))
    asked = [
        asyncio.ensure_future(inbox.call(subjects.outcome(*ME), request, 10)) for _ in range(100)
    ]
    key = AttemptKey(TASK, VICTIM.node, 1)
    served = await OutcomeRequests(fleet.bus, VICTIM).store(key, msgspec.json.encode(MINE))
    assert served.result is OutcomeResult.STORED
    go_on.set()
    answers = [_decode(answer) for answer in await asyncio.gather(*asked)]
    turned_away = [answer for answer in answers if answer.again]
    assert {answer.message_code for answer in turned_away} == {"outcome.tooMany"}
    assert len(answers) - len(turned_away) <= MOST_OF_A_NODE * len(fleet.replicas)
