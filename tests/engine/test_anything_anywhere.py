"""Any JSON value at any place of whatever is read: one bad message is no end of anything.

Core, views, publisher and agents stand behind it: a coordinator and agents in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common import subjects
from common.messages import Command, Heartbeat, Outcome, Progress
from coordinator.core.task import TaskHead, TaskStatus
from coordinator.documents import encode
from coordinator.port import TaskDamaged
from coordinator.store import KeyRecord
from coordinator.views import nodes as node_views
from coordinator.views import tasks as views
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.common.shapes import spoiled, values, written
from tests.core.stage import spec

STRANGER: Final = "task-20260101-000000-0000000e"
GHOST: Final = ("n9", "0123456789abcdef")

Attack = tuple[str, bytes]


def _either(shape: Any, **fixed: Any) -> st.SearchStrategy[bytes]:
    """A value of a shape, as it may come or with something else at one place."""
    whole = values(shape).map(lambda value: value | fixed)
    return whole.map(written) | whole.flatmap(spoiled)


def _attacks() -> st.SearchStrategy[Attack]:
    kinds: dict[str, st.SearchStrategy[bytes]] = {
        subjects.heartbeat(*GHOST): _either(Heartbeat),
        subjects.progress(*GHOST): _either(Progress),
        "outcome 1": _either(Outcome),
        "outcome 2": _either(Outcome),
        f"$KV.{subjects.TASKS_BUCKET}.{STRANGER}": _either(TaskHead, id=STRANGER),
        f"$KV.{subjects.LISTS_BUCKET}.{STRANGER}.nodes.0": _either(dict[str, int]),
        f"$KV.{subjects.KEYS_BUCKET}.idem.{'a' * 64}": _either(KeyRecord),
        subjects.event("task.created", STRANGER): _either(dict[str, int]),
    }
    return st.one_of([st.tuples(st.just(kind), data) for kind, data in kinds.items()])


async def _attack(cluster: Cluster, victim: str, attack: Attack) -> None:
    subject, data = attack
    if len(data) > subjects.MAX_MESSAGE_BYTES:
        return
    if subject.startswith("outcome"):
        number = int(subject.partition(" ")[2])
        subject = subjects.result(victim, "n9", number)
    if ".heartbeat." in subject or ".progress." in subject:
        cluster.observer.publish(subject, data)
    else:
        await cluster.observer.store(subject, data, expect_last=None)


async def _look_at_everything(coordinator: Coordinator) -> None:
    """All that the API would show."""
    service = coordinator.service
    for task in service.tasks.ids():
        shot = service.tasks.snapshot(task)
        assert shot is not None
        encode(views.summary(shot))
        encode(views.task(shot))
        try:
            shot = await service.tasks.snapshot_with_nodes(task)
        except TaskDamaged:
            continue
        for node in shot.run.nodes if shot.run is not None else ():
            encode(node_views.task_node(shot.head, node, shot.pulls(node)))
    for name, _ in service.nodes.labels():
        known = service.nodes.get(name)
        if known is not None:
            encode(node_views.fleet_node(known))


async def _all_is_well_after(attacks: list[Attack]) -> None:
    async with Cluster() as cluster:
        first = await cluster.leader(max_concurrent_tasks=10)
        for name in ("n1", "n2"):
            await cluster.node(name, seconds=3.0)
        await asyncio.sleep(1.0)
        victim = await cluster.create(first, spec("v", max_retries=1), ("n9",))
        task = await cluster.create(first, spec("a", priority=10), ("n1", "n2"))
        for attack in attacks:
            await _attack(cluster, victim, attack)
        await asyncio.sleep(2.0)
        await _look_at_everything(first)
        await _ends_well(cluster, first, task)
        await first.kill()
        second = await cluster.coordinator("c2", max_concurrent_tasks=10)
        await cluster.until(lambda: second.leads or bool(second.died))
        await _ends_well(cluster, second, await cluster.create(second, spec("b"), ("n1",)))
        await _look_at_everything(second)
        for node in cluster.nodes.values():
            assert not any(job.done() for job in node._jobs)


async def _ends_well(cluster: Cluster, coordinator: Coordinator, task: str) -> None:
    head = await cluster.over(coordinator, task)
    assert head.status is TaskStatus.COMPLETED
    await cluster.told(coordinator, task)
    assert coordinator.died is None


def _searched(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


ATTACKS: Final = st.lists(_attacks(), min_size=1, max_size=8)


DEEPEST: Final = b'{"x":' + b"[" * 10_000
HUGE_SIZE: Final = (
    b'{"images":[{"image":"v","state":"pulled","bytes":4611686018427387904}],"seconds":1e9}'
)


@_searched(6)
@given(attacks=ATTACKS)
@example(attacks=[("outcome 1", DEEPEST), (f"$KV.{subjects.TASKS_BUCKET}.{STRANGER}", DEEPEST)])
@example(attacks=[("outcome 1", HUGE_SIZE), (subjects.heartbeat(*GHOST), DEEPEST)])
def test_a_coordinator(attacks: list[Attack]) -> None:
    """Every other task goes on, is shown and told of, now and after a restart."""
    virtual(_all_is_well_after)(attacks)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@_searched(200)
@given(attacks=ATTACKS)
def test_a_coordinator_for_long(attacks: list[Attack]) -> None:
    """The same, for as long as it takes to find what is rare."""
    virtual(_all_is_well_after)(attacks)


async def _agent_lives_after(commands: list[bytes]) -> None:
    async with Cluster() as cluster:
        node = await cluster.node("n1", seconds=1.0)
        heard: list[Heartbeat] = []
        reports: list[Progress] = []
        subscription = await cluster.observer.subscribe(
            subjects.ALL_HEARTBEATS,
            lambda received: heard.append(msgspec.json.decode(received.data, type=Heartbeat)),
        )
        more = await cluster.observer.subscribe(
            subjects.ALL_PROGRESS,
            lambda received: reports.append(msgspec.json.decode(received.data, type=Progress)),
        )
        await asyncio.sleep(1.0)
        for command in commands:
            for subject in (subjects.command(*node.agent.address), subjects.REPORT):
                if len(command) <= subjects.MAX_MESSAGE_BYTES:
                    cluster.observer.publish(subject, command)
        await asyncio.sleep(5.0)
        heard.clear()
        await asyncio.sleep(30.0)
        assert heard, "its heartbeats go on"
        assert not any(job.done() for job in node._jobs)
        assert cluster.observer.handler_faults == 0, "whatever it says can be read"
        subscription.close()
        more.close()
        stored = cluster.server.jetstream.streams[subjects.RESULTS]._places
        for record in stored:
            if record is not None:
                msgspec.json.decode(record.data, type=Outcome)


COMMANDS: Final = st.lists(
    st.one_of([_either(kind) for kind in Command.__args__]), min_size=1, max_size=8
)


@_searched(6)
@given(commands=COMMANDS)
@example(commands=[DEEPEST, b'{"kind":"assign","epoch":1,"attempt":1000000000}'])
def test_an_agent(commands: list[bytes]) -> None:
    """It goes on, and what it says of itself and stores can be read by everybody."""
    virtual(_agent_lives_after)(commands)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@_searched(300)
@given(commands=COMMANDS)
def test_an_agent_for_long(commands: list[bytes]) -> None:
    """The same, for as long as it takes to find what is rare."""
    virtual(_agent_lives_after)(commands)
