"""Start-up on a store of which any single record is damaged: every other task goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
import pytest

from common import subjects
from common.bus import Record
from coordinator.core.task import TaskStatus
from coordinator.port import IdempotencyKey, TaskDamaged
from sandbox.simulator.cluster import Cluster, Coordinator
from sandbox.virtual.time import virtual
from tests.common.shapes import written
from tests.core.stage import spec

DEEP: Final = b'{"x":' + b"[" * 10_000
DAMAGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "deep": lambda _: DEEP,
    "empty": lambda _: b"",
    "no text": lambda data: data.replace(b'"', b'"\xff'),
    "cut": lambda data: data[: len(data) // 2],
    "another shape": lambda _: b'[{"id":7}]',
    "huge numbers": lambda data: _numbers(data, 10**18),
    "negative numbers": lambda data: _numbers(data, -1),
}
STREAMS: Final = ("KV_IPS_TASKS", "KV_IPS_LISTS", "KV_IPS_KEYS", "KV_IPS_LEASE", "IPS_RESULTS")


def _numbers(data: bytes, number: int) -> bytes:
    def changed(value: object) -> object:
        match value:
            case dict():
                return {key: changed(inner) for key, inner in value.items()}
            case list():
                return [changed(inner) for inner in value]
            case bool():
                return value
            case int() | float():
                return number
            case _:
                return value

    value = msgspec.json.decode(data)
    new = changed(value)
    return data if new == value else written(new)  # where no number stands nothing is damaged


class Work(NamedTuple):
    """The tasks of a store in use."""

    over: str
    running: str
    named: str
    pending: str


async def in_use(cluster: Cluster) -> Work:
    """A coordinator that is killed in the middle of its work; the agents go on."""
    leader = await cluster.leader(max_concurrent_tasks=2)
    for name in ("n1", "n2"):
        await cluster.node(name, seconds=20.0)
    await asyncio.sleep(1.0)
    key = IdempotencyKey("a" * 64, "b" * 64)
    over = (await leader.service.create(spec("o"), None, key=key)).head.id
    await cluster.over(leader, over)
    await cluster.told(leader, over)
    running = await cluster.create(leader, spec("a", "b", batch_size=1))
    named = await cluster.create(leader, spec("c"), ("n1", "n2"))
    pending = await cluster.create(leader, spec("d"), ("n2",))
    await asyncio.sleep(25.0)
    await leader.kill()
    return Work(over, running, named, pending)


def records(cluster: Cluster, stream: str) -> list[int]:
    """The places of the records of a stream."""
    places = cluster.server.jetstream.streams[stream]._places
    return [number for number, record in enumerate(places) if record is not None and record.data]


def damage(cluster: Cluster, stream: str, place: int, how: str) -> Record:
    """Change the bytes of one stored record."""
    places = cluster.server.jetstream.streams[stream]._places
    record = places[place]
    assert record is not None
    places[place] = Record(
        record.subject, DAMAGES[how](record.data), record.seq, record.time, record.headers
    )
    return record


async def _goes_on(cluster: Cluster, work: Work, concerned: str) -> Coordinator:
    """A coordinator starts; every task that is not concerned, and a new one, come to their end."""
    second = await cluster.coordinator("c2", max_concurrent_tasks=2)
    await cluster.until(lambda: second.leads or second.died is not None)
    assert second.died is None
    new = await cluster.create(second, spec("n"))
    for task in {*work, new}:
        if task not in concerned:
            head = await cluster.over(second, task)
            assert head.status is TaskStatus.COMPLETED, (task, head)
            await cluster.told(second, task)
    assert second.died is None
    return second


async def _start_on(stream: str, place: int, how: str) -> None:
    async with Cluster() as cluster:
        work = await in_use(cluster)
        record = damage(cluster, stream, place, how)
        second = await _goes_on(cluster, work, record.subject)
        concerned = next((task for task in work if task in record.subject), None)
        is_read = concerned not in {None, work.over} and stream != "KV_IPS_TASKS"
        if concerned is not None and is_read:
            head = await cluster.over(second, concerned)
            if head.message_code == "task.listDamaged":
                assert head.status is TaskStatus.FAILED
                assert "list" in second.poison
        is_changed = DAMAGES[how](record.data) != record.data
        if stream == "KV_IPS_LISTS" and concerned == work.over and is_changed:
            with pytest.raises(TaskDamaged):
                await second.service.tasks.snapshot_with_nodes(work.over)


def every_place() -> list[tuple[str, int]]:
    """Every record of a store in use."""
    found: list[tuple[str, int]] = []

    @virtual
    async def look() -> None:
        async with Cluster() as cluster:
            await in_use(cluster)
            found.extend(
                (stream, place) for stream in STREAMS for place in records(cluster, stream)
            )

    look()
    return found


def test_every_record_damaged_in_some_way() -> None:
    """Each record in turn, in one of the ways after another."""
    ways = list(DAMAGES)
    places = every_place()
    assert {stream for stream, _ in places} >= {*STREAMS} - {"KV_IPS_LEASE"}
    for number, (stream, place) in enumerate(places):
        virtual(_start_on)(stream, place, ways[number % len(ways)])


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", DAMAGES)
def test_every_record_damaged_in_every_way(how: str) -> None:
    """Each record in turn, in each way."""
    for stream, place in every_place():
        virtual(_start_on)(stream, place, how)


STRANGE: Final = (
    "$KV.IPS_LISTS.{running}.{list}.x",  # a chunk that has no number
    "$KV.IPS_LISTS.{running}.{list}." + "9" * 400,  # a chunk of a huge number
    "$KV.IPS_TASKS.x",  # a head under no id
    "$KV.IPS_TASKS.{running}.x",  # a head with dots
    "$KV.IPS_KEYS.x",  # a key of no hash
    "$KV.IPS_LISTS.x.y.z",  # a list of no task
    f"{subjects.PREFIX}.result.x.y.z",  # an outcome of no task
    f"{subjects.PREFIX}.result.{{running}}.n1.0",  # an outcome of attempt 0
    f"{subjects.PREFIX}.result.{{running}}.N\N{BULLET}1.1",  # an outcome of no node
    f"{subjects.PREFIX}.event.x",  # an event of no type
)


@pytest.mark.parametrize("data", [DEEP, b"{}"], ids=["deep", "empty"])
def test_strange_names(data: bytes) -> None:
    """Records of strangers, under names that no record of ours has, change nothing at all."""

    @virtual
    async def script() -> None:
        async with Cluster() as cluster:
            work = await in_use(cluster)
            stored = cluster.server.jetstream.streams["KV_IPS_LISTS"]._places
            keys = [record.subject for record in stored if record is not None]
            chosen = next(key.split(".")[3] for key in keys if f"{work.running}.nodes" in key)
            for name in STRANGE:
                subject = name.format(running=work.running, list=chosen)
                await cluster.observer.store(subject, data, expect_last=None)
            await _goes_on(cluster, work, "")

    script()


@virtual
async def test_a_damaged_list_fails_its_task_with_a_sentence() -> None:
    """A running task and a pending one; what agents still do for them is stopped."""
    async with Cluster() as cluster:
        work = await in_use(cluster)
        lists = cluster.server.jetstream.streams["KV_IPS_LISTS"]._places
        for place, record in enumerate(lists):
            if record is not None and (
                work.pending in record.subject or f"{work.running}.nodes" in record.subject
            ):
                damage(cluster, "KV_IPS_LISTS", place, "deep")
        second = await _goes_on(cluster, work, work.pending + work.running)
        for task in (work.pending, work.running):
            head = await cluster.over(second, task)
            assert (head.status, head.message_code) == (TaskStatus.FAILED, "task.listDamaged")
            await cluster.told(second, task)
            assert (await cluster.events(task))[-1] == "task.failed"
