"""What must be true of a task whatever happened meanwhile, and how to make it happen at a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from common import subjects
from common.bus import Draft
from coordinator.core.task import TaskHead, TaskSpec, TaskStatus
from sandbox.simulator.cluster import Cluster, Coordinator
from tests.core.stage import spec

NAMES = ("n1", "n2", "n3")
Write = tuple[str, bytes]
"""Subject and payload of what is stored."""


def hooked(**fields: Any) -> TaskSpec:
    """A task of one image with a webhook."""
    return spec("a", webhook_url="http://hooks.example/", **fields)


async def agents(cluster: Cluster, *names: str, **runtime: Any) -> None:
    """Start agents and let them speak."""
    for name in names or NAMES:
        await cluster.node(name, **runtime)
    await asyncio.sleep(1.0)


async def told(cluster: Cluster, task: str) -> list[dict[str, Any]]:
    """All stored events of a task, progress too."""
    return [
        msgspec.json.decode(record.data)
        async for records in cluster.observer.replay(subjects.EVENTS, subjects.events_of(task))
        for record in records
    ]


async def is_whole(
    cluster: Cluster, leader: Coordinator, task: str, *, nodes: Sequence[str] = NAMES
) -> TaskHead:
    """Wait for the end of a task that every node can do; nothing is lost, doubled or reordered."""
    head = await cluster.over(leader, task)
    await cluster.told(leader, task)
    await asyncio.sleep(5.0)
    assert head.status is TaskStatus.COMPLETED
    assert head.counts is not None
    assert (head.counts.total, head.counts.completed) == (len(nodes), len(nodes))
    assert head.counts.retry_count == 0
    assert await cluster.outcomes() == len(nodes)
    events = await told(cluster, task)
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids))
    known = await cluster.events(task)
    assert known[:2] == ["task.created", "task.started"]
    assert sorted(known[2:-1]) == [f"node.succeeded {name}" for name in nodes]
    assert events[-1]["type"] == known[-1] == "task.completed"
    for coordinator in cluster.coordinators:
        assert coordinator.died is None
    return head


@contextmanager
def at_write(
    cluster: Cluster, matches: Callable[[Write], bool], then: Callable[[], None]
) -> Iterator[asyncio.Event]:
    """Have something happen in the moment in which the first such write is stored.

    Its answer is not under way yet. The event is set when that has come.
    """
    jetstream: Any = cluster.server.jetstream
    store, store_batch = jetstream.store, jetstream.store_batch
    come = asyncio.Event()

    def noticed(*writes: Write) -> None:
        if not come.is_set() and any(map(matches, writes)):
            come.set()
            then()

    def storing(subject: str, payload: bytes, *rest: Any, **more: Any) -> int:
        seq: int = store(subject, payload, *rest, **more)
        noticed((subject, payload))
        return seq

    def storing_batch(batch: Sequence[tuple[Draft, Any]]) -> int:
        seq: int = store_batch(batch)
        noticed(*((draft.subject, draft.payload) for draft, _ in batch))
        return seq

    jetstream.store, jetstream.store_batch = storing, storing_batch
    try:
        yield come
    finally:
        del jetstream.store, jetstream.store_batch


def head_says(*statuses: TaskStatus, untold: int | None = None) -> Callable[[Write], bool]:
    """A head in one of these statuses (of which so much is still to be told) is stored."""

    def matches(write: Write) -> bool:
        subject, payload = write
        if not subject.startswith(f"$KV.{subjects.TASKS_BUCKET}.task-"):
            return False
        head = msgspec.json.decode(payload, type=TaskHead) if payload else None
        return (
            head is not None
            and head.status in statuses
            and (untold is None or len(head.notify) == untold)
        )

    return matches


def subject_has(part: str) -> Callable[[Write], bool]:
    """Something is stored on such a subject."""
    return lambda write: part in write[0]
