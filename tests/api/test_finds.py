"""Tasks that another coordinator has just created, and who leads, as the API tells it."""

from __future__ import annotations

import asyncio

from coordinator.api.finds import MOST_OF_A_CALLER
from coordinator.core.task import TaskHead
from tests.api.conftest import Client
from tests.api.fake_engine import FakeEngine
from tests.core.stage import head

TASK = "task-20260116-151234-a1b2c3d4"
PATH = f"/api/v1/tasks/{TASK}"


async def test_a_task_of_elsewhere_is_found(client: Client, engine: FakeEngine) -> None:
    """By every route that names it."""
    for method, path in (
        ("GET", PATH),
        ("GET", f"{PATH}/nodes"),
        ("HEAD", f"{PATH}/events"),
        ("DELETE", PATH),
    ):
        engine.all_heads.clear()
        engine.elsewhere[TASK] = head(TASK)
        answer = await client.request(method, path)
        assert answer.status == 200
        assert engine.elsewhere == {}


async def test_a_task_that_is_nowhere_is_looked_for_once(
    client: Client, engine: FakeEngine
) -> None:
    """And one that is known not at all."""
    assert (await client.get(PATH)).status == 404
    assert engine.looked_for == [TASK]
    engine.all_heads[TASK] = head(TASK)
    assert (await client.get(PATH)).status == 200
    assert engine.looked_for == [TASK]


async def test_whether_it_exists_is_not_known_while_the_store_is_away(
    client: Client, engine: FakeEngine
) -> None:
    """So nothing is said about that."""
    engine.away = "away"
    assert (await client.get(PATH)).status == 503


async def test_a_caller_that_looks_for_too_much_at_once_is_told_to_wait(
    client: Client, engine: FakeEngine
) -> None:
    """Each look costs the store a read."""
    go_on = asyncio.Event()

    async def slow(task_id: str) -> TaskHead | None:  # noqa: ARG001 -- the port's
        await go_on.wait()
        return None

    engine.find = slow  # type: ignore[method-assign]
    asking = [asyncio.ensure_future(client.get(PATH)) for _ in range(MOST_OF_A_CALLER + 3)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert {answer.result().status for answer in done} == {429}
    go_on.set()
    statuses = sorted([(await answer).status for answer in asking])
    assert statuses == [404] * MOST_OF_A_CALLER + [429] * 3


async def test_who_leads(client: Client, engine: FakeEngine) -> None:
    """The one that is asked, another one, or nobody who is known."""

    async def leadership() -> object:
        return await (await client.get("/api/v1/leader")).json()

    assert await leadership() == {"coordinator": "c1", "leads": True, "leader": "c1"}
    engine.leads, engine.leader = False, "c2"
    assert await leadership() == {"coordinator": "c1", "leads": False, "leader": "c2"}
    engine.leader = None
    assert await leadership() == {"coordinator": "c1", "leads": False}
