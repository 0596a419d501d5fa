"""Two coordinators on three nodes: whichever is lost, users are served and tasks go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from sandbox.kubernetes.cluster import Cluster
from tests.e2e.availability import being_served
from tests.e2e.installation import DEPLOY, Installation, installed
from tests.e2e.smoke import BOTH

ALL = [*BOTH, "node-3"]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def three_nodes(cluster: Cluster) -> Iterator[Cluster]:
    """One node for each server of NATS, so that the loss of any leaves a quorum."""
    [node] = asyncio.run(cluster.add_nodes(3))
    yield cluster
    asyncio.run(cluster.remove_node(node))


@pytest.fixture(scope="module")
def installation(three_nodes: Cluster) -> Iterator[Installation]:
    """Three NATS servers, two coordinators, an agent on each node."""
    with installed(three_nodes, DEPLOY, servers=3) as installation:
        yield installation


async def test_two_coordinators_are_on_two_nodes(service: Installation) -> None:
    """The autoscaler has made the second one, and one of them leads."""
    assert len(await service.coordinators()) == 2
    assert len(set((await service.coordinators()).values())) == 2
    assert await service.leader() in await service.coordinators()
    servers = service.get_object("pods", "--selector=app.kubernetes.io/name=ips-nats")["items"]
    assert sorted(pod["spec"]["nodeName"] for pod in servers) == ALL


@pytest.mark.parametrize("grace", [True, False])
async def test_a_leader_that_is_deleted_costs_no_attempt(
    service: Installation, record_property: Record, grace: bool
) -> None:
    """In order, and killed: the other one leads, and what runs goes on."""
    image = service.add_image(held=True)
    task = await service.post_when_taken([image])
    await service.pulling(task, 3)
    leader = await service.leader()
    async with being_served(service, "node-1", record_property):
        if grace:
            await asyncio.to_thread(service.kubectl, "delete", "pod", leader)
        else:
            service.kill_pod(leader)
        await service.led_by_another_than(leader)
        await service.rolled_out()
    await service.pulling(task, 3)
    service.release(image)
    await service.ended_right(task, ALL)


async def test_a_leader_whose_node_is_cut_off_is_followed_by_the_other(
    service: Installation, record_property: Record
) -> None:
    """The node takes a server of NATS and an agent with it; it comes back, and nothing is lost."""
    leader = await service.leader()
    [away] = [node for pod, node in (await service.coordinators()).items() if pod == leader]
    [client, *_] = [node for node in ALL if node != away]
    image = service.add_image(held=True)
    task = await service.post_when_taken([image], maxRetries=5, retryDelay=1)
    await service.pulling(task, 3)
    async with being_served(service, client, record_property):
        service.cluster.cut(away)
        try:
            await service.led_by_another_than(leader, asked_from=client)
            wait = ("wait", f"node/{away}", "--for=condition=Ready=Unknown", "--timeout=120s")
            await asyncio.to_thread(service.kubectl, *wait)
            # What was there has stayed, and one that is new is done on the nodes that are left.
            others = [node for node in ALL if node != away]
            async with service.session(client) as http:
                service.http, own = http, service.http
                new = await service.post_when_taken([service.add_image()], nodeNames=others)
                await service.ended_right(new, others)
                service.http = own
        finally:
            service.cluster.mend(away)
        await service.cluster.until_ready(service.cluster.nodes[away])
        await service.rolled_out()
    service.release(image)
    await service.ended_right(task, ALL, attempt=6)


async def test_coordinators_that_are_rolled_take_nothing_away(
    service: Installation, record_property: Record
) -> None:
    """One after the other, the leader too, while a task runs."""
    image = service.add_image(held=True)
    task = await service.post_when_taken([image])
    await service.pulling(task, 3)
    before = set(await service.coordinators())
    async with being_served(service, "node-1", record_property):
        service.kubectl("rollout", "restart", "deployment/ips-coordinator")
        await service.rolled_out()
        await service.gone(before)
    await service.pulling(task, 3)
    service.release(image)
    await service.ended_right(task, ALL)


async def test_under_a_bad_setting_those_of_before_go_on_serving(
    service: Installation, record_property: Record
) -> None:
    """What cannot start takes nothing away, and says which setting it is."""
    before = set(await service.coordinators())
    deployment = "deployment/ips-coordinator"
    async with being_served(service, "node-1", record_property):
        service.kubectl("set", "env", deployment, "IPS_NO_SUCH_SETTING=1")
        try:
            said = await service.said_by_what_cannot_start(before)
            assert "IPS_NO_SUCH_SETTING is no setting" in said
            assert set(await service.coordinators()) == before
        finally:
            service.kubectl("rollout", "undo", deployment)
        await service.rolled_out()
    assert set(await service.coordinators()) == before
