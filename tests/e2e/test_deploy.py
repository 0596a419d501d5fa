"""``kubectl apply -k deploy/`` on a real cluster, and everything that may happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.node import Node
from tests.e2e.installation import DEPLOY, Installation, installed
from tests.e2e.smoke import BOTH, tells_of_a_failed_pull, warms_both_nodes


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Iterator[Installation]:
    """Three NATS servers, two coordinators, an agent on each node."""
    with installed(cluster, DEPLOY, servers=3) as installation:
        yield installation


async def test_applied_as_it_is_everything_becomes_ready(service: Installation) -> None:
    """Nothing has to be changed or waited for by hand; no container was ever started twice."""
    assert service.cluster.kubectl("diff", "-k", DEPLOY) == ""
    pods = service.get_object("pods", "--field-selector=status.phase=Running")["items"]
    restarts = {
        pod["metadata"]["name"]: status["restartCount"]
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }
    assert len(restarts) == 3 + 2 + 2
    assert set(restarts.values()) == {0}, restarts


async def test_a_task_warms_both_nodes_and_a_pod_starts_without_a_pull(
    service: Installation,
) -> None:
    """By the labels that kubelets give their nodes."""
    await warms_both_nodes(service)


async def test_a_node_that_joins_is_in_the_next_task_and_gone_from_those_after_it_left(
    service: Installation, third_node: Node
) -> None:
    """Its agent comes with it; it leaves a running task without a failure, and counts no more."""
    await service.rolled_out()
    await service.known_nodes(3)
    image = service.add_image()
    await service.ended_right(await service.post([image]), [*BOTH, third_node.name])

    held = service.add_image(held=True)
    task = await service.post([held])
    await service.pulling(task, 3)
    await service.cluster.remove_node(third_node)
    seen = await service.until(task, lambda seen: seen["progress"]["totalNodes"] == 2)
    assert seen["progress"]["failedNodes"] == 0
    service.release(held)
    await service.ended_right(task, BOTH)
    assert [e["type"] for e in await service.events(task)].count("node.removed") == 1


async def test_a_cordoned_node_is_in_no_new_task_until_it_is_uncordoned(
    service: Installation,
) -> None:
    """As kubectl cordon and uncordon say it; the other node is warm meanwhile."""
    service.kubectl("cordon", "node-2")
    try:
        await service.until_node("node-2", schedulable=False)
        await service.ended_right(await service.post([service.add_image()]), ["node-1"])
    finally:
        service.kubectl("uncordon", "node-2")
    await service.until_node("node-2", schedulable=True)
    await service.ended_right(await service.post([service.add_image()]), BOTH)


async def test_a_kubelet_that_is_killed_in_the_middle_of_a_task_costs_nothing(
    service: Installation,
) -> None:
    """The node becomes NotReady; what has begun there goes on, and it takes no new work."""
    [away] = set(BOTH) - {await service.node_of("ips-coordinator")}
    [other] = set(BOTH) - {away}
    kubelet = service.cluster.nodes[away].kubelet
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    await kubelet.kill()
    try:
        await service.until_node(away, schedulable=False)
        service.release(image)
        await service.ended_right(task, BOTH)
        await service.ended_right(await service.post([service.add_image()]), [other])
    finally:
        kubelet.start()
    await service.until_node(away, schedulable=True)
    await service.ended_right(await service.post([service.add_image()]), BOTH)


async def test_under_a_kubelet_that_is_away_the_coordinator_goes_on(service: Installation) -> None:
    """Kubernetes takes it out of its Service, and users wait; tasks do not."""
    node = service.cluster.nodes[await service.node_of("ips-coordinator")]
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    await node.kubelet.kill()
    try:
        await asyncio.to_thread(
            service.kubectl,
            "wait",
            f"node/{node.name}",
            "--for=condition=Ready=Unknown",
            "--timeout=120s",
        )
        service.release(image)
    finally:
        node.kubelet.start()
    await service.cluster.until_ready(node)
    await service.ended_right(task, BOTH)


async def test_a_containerd_that_is_killed_in_the_middle_of_a_task_costs_one_attempt(
    service: Installation,
) -> None:
    """The agent finds it again, without a restart of its own: it has the folder of the socket.

    A containerd that recovers takes a shim for a leaked one now and then (1 in 33) and ends it: the
    container is then Unknown, with the code 255. That restart alone is containerd's own.
    """
    node = service.cluster.nodes["node-2"]
    pod = await service.pod("ips-agent", node="node-2")
    image = service.add_image(held=True)
    task = await service.post([image], maxRetries=5, retryDelay=3)
    await service.pulling(task, 2)
    await node.containerd.kill()
    await service.until(task, lambda seen: seen["progress"]["retryingNodes"] == 1)
    node.containerd.start()
    service.release(image)
    await service.ended_right(task, BOTH, attempt=6)
    agent = service.get_object("pod", pod)
    [container] = agent["status"]["containerStatuses"]
    if container["restartCount"]:
        ended = container["lastState"]["terminated"]
        assert (container["restartCount"], ended["exitCode"], ended["reason"]) == (
            1,
            255,
            "Unknown",
        )
        assert "cleaning leaked shim process" in node.containerd.log


async def test_an_agent_pod_that_is_killed_in_the_middle_of_a_task_costs_no_attempt(
    service: Installation,
) -> None:
    """Its successor is given the work again."""
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    before = await service.pod("ips-agent", node="node-2")
    service.kill_pod(before)
    await service.pod("ips-agent", node="node-2", other_than=before)
    service.release(image)
    await service.ended_right(task, BOTH)


async def test_a_coordinator_pod_that_is_killed_in_the_middle_of_a_task_loses_nothing(
    service: Installation,
) -> None:
    """A task that is created, one that runs and one that is over: all are there again."""
    over = await service.post([service.add_image()])
    await service.ended_right(over, BOTH)
    image = service.add_image(held=True)
    running = await service.post([image])
    await service.pulling(running, 2)
    before = await service.pod("ips-coordinator")
    service.kill_pod(before)
    await service.pod("ips-coordinator", other_than=before)
    await service.pulling(running, 2)
    service.release(image)
    await service.ended_right(running, BOTH)
    await service.ended_right(over, BOTH)


async def test_nats_pods_that_are_killed_in_the_middle_of_a_task_lose_nothing(
    service: Installation,
) -> None:
    """One after the other, each when the one before is back: two of three are always there."""
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    for number in range(3):
        pod = f"ips-nats-{number}"
        before = service.get_object("pod", pod)["metadata"]["uid"]
        service.kill_pod(pod)
        await service.replaced(pod, before)
        second = service.add_image()
        await service.ended_right(await service.post([second]), BOTH)
    service.release(image)
    await service.ended_right(task, BOTH)


async def test_agents_that_are_rolled_in_the_middle_of_a_task_cost_no_attempt(
    service: Installation,
) -> None:
    """One after the other, as the DaemonSet's strategy says; every pull is taken up again."""
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    before = {node: await service.pod("ips-agent", node=node) for node in BOTH}
    service.kubectl("rollout", "restart", "daemonset/ips-agent")
    await service.rolled_out()
    for node in BOTH:
        await service.pod("ips-agent", node=node, other_than=before[node])
    await service.pulling(task, 2)
    service.release(image)
    await service.ended_right(task, BOTH)


async def test_a_cut_between_a_node_and_nats_is_waited_for(service: Installation) -> None:
    """What was pulled meanwhile is told afterwards, and counts once."""
    node = service.cluster.nodes["node-2"].machine
    image = service.add_image(held=True)
    task = await service.post([image])
    await service.pulling(task, 2)
    pod = await service.pod("ips-agent", node="node-2")
    agent = service.get_object("pod", pod)["status"]["podIP"]
    cut = ["FORWARD", "--source", agent, "--protocol", "tcp", "--dport", "4222", "--jump", "DROP"]
    node.run("iptables", "--wait", "--insert", *cut)
    try:
        await service.until_node("node-2", connected=False)
        service.release(image)
        seen = await service.until(task, lambda seen: seen["progress"]["completedNodes"] == 1)
        assert seen["status"] == "running"
    finally:
        node.run("iptables", "--wait", "--delete", *cut)
    await service.ended_right(task, BOTH)


async def test_a_pull_that_fails_is_an_event_on_its_node(service: Installation) -> None:
    """What kubectl describe node shows: which image, for which task, and why."""
    await tells_of_a_failed_pull(service)


async def test_without_a_quorum_reads_go_on_writes_do_not_and_nats_says_so(
    service: Installation,
) -> None:
    """One of three servers is left: the coordinator stays in its Service, and nothing is lost."""
    over = await service.post([service.add_image()])
    await service.ended_right(over, BOTH)
    service.kubectl("scale", "statefulset/ips-nats", "--replicas=1")
    try:
        wait = ("wait", "pod/ips-nats-0", "--for=condition=Ready=False", "--timeout=120s")
        await asyncio.to_thread(service.kubectl, *wait)
        for _ in range(20):
            assert (await service.get(f"/tasks/{over}"))["status"] == "completed"
            body = {"images": [service.add_image()]}
            async with service.http.post(f"{service.url}/api/v1/tasks", json=body) as answer:
                assert answer.status == 503
        await service.pod("ips-coordinator")
    finally:
        service.kubectl("scale", "statefulset/ips-nats", "--replicas=3")
    await service.rolled_out()
    await service.ended_right(await service.post_when_taken([service.add_image()]), BOTH)
