"""Tasks that name stored credentials, with the logic of real agents, in virtual time."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from agent import heartbeat
from agent.runtime.protocol import Credentials
from common.messages import Heartbeat
from common.reasons import Reason
from coordinator.access.credential_rights import USE
from coordinator.core.task import Asker, PullPolicy, TaskStatus
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual
from tests.core.stage import spec
from tests.engine.shop import AWAY, CANARY, LOGIN, Shop

ANN = Asker(user="ann", way="tokens", groups=("ops",))
NAMED = with_fields(spec("a"), credentials=("shop",), asked_by=ANN)


@virtual
async def test_the_registry_is_shown_what_the_task_names(shown: list[Credentials | None]) -> None:
    """And the rights of whoever created it are asked about."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        head, _ = await shop.run(NAMED)
        assert head.status is TaskStatus.COMPLETED
        assert shown[0] is not None
        assert (shown[0].username, shown[0].password) == ("ci", CANARY)
        assert [(c.user, c.groups, c.way) for c in shop.rights.asked] == [
            ("ann", ("ops",), "tokens")
        ]
        assert shop.rights.wanted == [USE]


@virtual
async def test_a_registry_that_it_is_not_for_is_shown_nothing(
    shown: list[Credentials | None],
) -> None:
    """Nothing is sealed, and the image is pulled like any other."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        await shop.table.put(with_fields(LOGIN, registry="other.test"), None)
        head, _ = await shop.run(NAMED)
        assert (head.status, shown) == (TaskStatus.COMPLETED, [None])


@virtual
async def test_a_set_is_tried_at_once_with_another_secret() -> None:
    """However long its back-off is by then."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.rights.allowed = False
        sets = shop.coordinator.service.sets
        wanted = with_fields(NAMED, image_pull_policy=PullPolicy.IF_NOT_PRESENT)
        await sets.put(SetOrder("web", wanted), None, None)
        tasks = shop.coordinator.service.tasks
        await cluster.until(lambda: len(tasks.ids()) == 3, within=1000.0)
        await cluster.until(lambda: "n1" in sets.node_names("web", ["failed", "blocked"]))
        await asyncio.sleep(20.0)
        assert len(tasks.ids()) == 3
        shop.rights.allowed = True
        await shop.table.put(with_fields(LOGIN, password="other"), None)
        await cluster.until(lambda: "n1" in sets.node_names("web", ["warm"]), within=10.0)


@virtual
async def test_what_is_gone_is_missed_by_name() -> None:
    """The node fails with the reason, at once, and without another try."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        await shop.table.delete("shop")
        head, node = await shop.run(with_fields(NAMED, max_retries=3))
        assert (head.status, node.reason) == (TaskStatus.FAILED, Reason.UNAUTHORIZED)
        assert (node.text.code, node.text.params) == ("credential.gone", {"name": "shop"})


@virtual
async def test_a_right_that_lapsed() -> None:
    """Whoever created the task is named."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.rights.allowed = False
        head, node = await shop.run(NAMED)
        assert head.status is TaskStatus.FAILED
        assert (node.text.code, node.text.params) == ("credential.noRight", {"user": "ann"})


@virtual
async def test_nobody_can_be_asked_for_a_while(shown: list[Credentials | None]) -> None:
    """The work waits, and goes on once somebody answers."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.rights.allowed = None
        task = await cluster.create(shop.coordinator, NAMED)
        await asyncio.sleep(10.0)
        assert shown == []
        shot = shop.coordinator.service.tasks.snapshot(task)
        assert shot is not None
        assert shot.waiting_for == AWAY
        shop.rights.allowed = True
        head = await cluster.over(shop.coordinator, task)
        assert head.status is TaskStatus.COMPLETED


@virtual
async def test_nobody_can_be_asked_for_too_long(shown: list[Credentials | None]) -> None:
    """It is said who was away, and of no right that it has lapsed."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.rights.allowed = None
        _, node = await shop.run(with_fields(NAMED, max_retries=0))
        assert (node.reason, node.text) == (Reason.AGENT_UNAVAILABLE, AWAY)
        assert shown == []


@virtual
async def test_an_agent_without_a_key(
    monkeypatch: pytest.MonkeyPatch, shown: list[Credentials | None]
) -> None:
    """One of an older version is given nothing, and its version is named."""
    fitting = heartbeat.fitting

    def older(said: Heartbeat) -> bytes:
        return fitting(with_fields(said, public_key="", agent_version="1.0.0"))

    monkeypatch.setattr(heartbeat, "fitting", older)
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        _, node = await shop.run(NAMED)
        assert shown == []
        assert (node.text.code, node.text.params["version"]) == ("credential.oldAgent", "1.0.0")


@virtual
async def test_no_record_holds_the_secret() -> None:
    """Whatever is stored or said on the bus."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        heard: list[bytes] = []
        await cluster.observer.subscribe("ips.>", lambda received: heard.append(received.data))
        head, node = await shop.run(NAMED)
        assert head.status is TaskStatus.COMPLETED
        assert any(b"sealed" in each for each in heard)
        assert not any(CANARY.encode() in each for each in heard)
        assert CANARY.encode() not in msgspec.json.encode(head)
        assert CANARY not in repr(node)
