"""What the laws of a history say yes and no to, where no planted fault shows it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from agent.events import CommandReceived
from agent.instructions import SendReply
from common.bus import Record
from common.messages import Assign, Reply
from coordinator.core.sets.head import SetHead
from coordinator.core.task import TaskHead, TaskStatus
from sandbox.simulator.cluster import task_of
from sandbox.simulator.laws import Law
from sandbox.simulator.sets_seen import CALM_SECONDS, UNHEARD_SECONDS
from sandbox.simulator.strikes import OF_SETS, Kind, draw
from sandbox.simulator.witness import Witness
from sandbox.virtual.time import in_virtual_time


def head(task: str, *, status: TaskStatus = TaskStatus.RUNNING, of: str | None = None) -> TaskHead:
    """A task's head, of a set where that is said."""
    return TaskHead(id=task, spec=task_of("a"), status=status, created_at=1, set=of)


def stored_set(name: str, seq: int, *, is_deleted: bool = False) -> Record:
    """A record of the sets' bucket."""
    stored = SetHead(name=name, spec=task_of("a"), created_at=1, updated_at=1)
    headers = {"KV-Operation": "DEL"} if is_deleted else {}
    data = b"" if is_deleted else msgspec.json.encode(stored)
    return Record(f"$KV.IPS_SETS.{name}", data, seq, 0.0, headers)


def seen(witness: Witness, task: str, node: str) -> None:
    """An agent takes an attempt."""
    work = Assign(
        epoch=1, task=task, attempt=1, images=[], always_pull=False, pull_timeout_seconds=1
    )
    reply = SendReply("", Reply(accepted=True))
    witness.agents.watch(node).handled(CommandReceived(work), [reply])


@pytest.mark.parametrize("status", [TaskStatus.RUNNING, TaskStatus.CANCELLED])
def test_a_task_that_is_over_has_given_its_places_back(status: TaskStatus) -> None:
    """Its agents may be told later: a limit of all nodes counts what is not over."""

    async def run() -> None:
        witness = Witness(1, 3)
        await asyncio.sleep(100.0)
        witness.tasks["one"].head = head("one")
        seen(witness, "one", "n1")
        witness.tasks["one"].head = head("one", status=status)
        witness.tasks["two"].head = head("two")
        seen(witness, "two", "n2")
        law = None if witness.broken is None else witness.broken.law
        assert law is (Law.CAP if status is TaskStatus.RUNNING else None)

    in_virtual_time(run())


@pytest.mark.parametrize(
    ("after", "is_calm", "law"),
    [
        (UNHEARD_SECONDS - 1, False, None),
        (UNHEARD_SECONDS + 1, False, Law.SETS_ALONE),
        (CALM_SECONDS - 1, True, None),
        (CALM_SECONDS + 1, True, Law.SETS_ALONE),
    ],
)
def test_a_repair_of_a_deleted_set_is_late_for_so_long(
    after: float, is_calm: bool, law: Law | None
) -> None:
    """Its leader may not have heard of that; when all is mended it hears soon."""

    async def run() -> None:
        witness = Witness(0, 3)
        witness.stored(stored_set("web", 1))
        witness.stored(stored_set("web", 2, is_deleted=True))
        witness.sets.is_calm = is_calm
        await asyncio.sleep(after)
        witness.sets.task_stored(head("one", of="web"))
        assert (None if witness.broken is None else witness.broken.law) is law

    in_virtual_time(run())


def test_repairs_are_counted_while_they_go_on() -> None:
    """So many of all."""

    async def run() -> None:
        witness = Witness(0, 1)
        for seq, name in enumerate(("one", "two"), start=1):
            witness.stored(stored_set(name, seq))
        first = head("task-1", of="one")
        witness.sets.task_stored(first)
        witness.sets.task_stored(replace(first, status=TaskStatus.COMPLETED))
        witness.sets.task_stored(head("task-2", of="two"))
        witness.sets.check_repairs(is_sure=True)
        assert witness.broken is None
        witness.sets.task_stored(head("task-3", of="one"))
        witness.sets.check_repairs(is_sure=False)
        assert witness.broken is None
        witness.sets.check_repairs(is_sure=True)
        assert witness.broken is not None
        assert witness.broken.law is Law.CAP

    in_virtual_time(run())


@pytest.mark.parametrize(("most", "law"), [(1, Law.CAP), (2, Law.SETS_ALONE), (3, None)])
def test_a_set_that_has_a_repair_leaves_a_place_to_another(most: int, law: Law | None) -> None:
    """A further one beside it is none of another set's business then."""

    async def run() -> None:
        witness = Witness(0, most)
        witness.stored(stored_set("web", 1))
        for task in ("task-1", "task-2"):
            witness.sets.task_stored(head(task, of="web"))
        witness.sets.check_repairs(is_sure=True)
        assert (None if witness.broken is None else witness.broken.law) is law

    in_virtual_time(run())


def test_what_was_promised_of_a_set_is_stored() -> None:
    """A put by its revision, a delete by a deletion."""

    async def run() -> None:
        witness = Witness(0, 1)
        witness.stored(stored_set("web", 1))
        witness.sets.put("web", 1)
        assert witness.broken is None
        witness.sets.deleted("web")
        assert witness.broken is not None
        other = Witness(0, 1)
        other.stored(stored_set("web", 1))
        other.sets.put("web", 2)
        assert other.broken is not None

    in_virtual_time(run())


def test_half_of_the_histories_have_warm_sets() -> None:
    """Each of them puts one first; without them the other strikes of a seed are the same."""
    with_sets = 0
    for seed in range(100):
        of_sets = [strike.kind for strike in draw(seed).strikes if strike.kind in OF_SETS]
        with_sets += bool(of_sets)
        assert not of_sets or of_sets[0] is Kind.PUT_SET
    assert 30 < with_sets < 70
