"""Whole programs on the real API server: a task is always right about nodes that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from coordinator.core.selection import satisfies
from coordinator.label_selector import parse_selector
from coordinator.nodes.node_events import EVENTS
from tests.fixtures.fleet import Fleet
from tests.fixtures.kubernetes import Json, Kube
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.kubernetes

SLOW = {"IPS_SIMULATED_SECONDS": "3"}


def settings(kube: Kube, **more: str) -> dict[str, str]:
    """Those of a coordinator that takes its nodes from the API server."""
    whole = {"IPS_NODE_SOURCE": "kubernetes", "IPS_NODE_SELECTOR": "*"}
    return {**whole, "KUBECONFIG": str(kube.config), **more}


async def shown(fleet: Fleet, name: str, condition: Callable[[Json], bool]) -> Json:
    """A node as the API shows it, once it is so."""
    async with asyncio.timeout(PATIENCE):
        while True:
            nodes = {node["name"]: node for node in (await fleet.get("/nodes"))["nodes"]}
            if name in nodes and condition(nodes[name]):
                return dict(nodes[name])
            await asyncio.sleep(0.05)


async def test_a_task_runs_on_the_nodes_that_kubernetes_selects(kube: Kube, fleet: Fleet) -> None:
    """By the labels of the Nodes; not on one that is cordoned, not Ready, or only an agent's."""
    for name in ("node-1", "node-2", "node-3", "node-4"):
        await kube.create_node(name, {"workload": "compute"})
    await kube.create_node("node-5", {"workload": "web"})
    await kube.cordon("node-3")
    await kube.report("node-4", "Unknown")
    await fleet.add_coordinator(settings(kube))
    await fleet.add_agents(6, {"IPS_NODE_LABELS": "workload=compute"})
    await fleet.known_nodes(6)
    task = await fleet.post(["nginx"], nodeSelector={"workload": "compute"})
    assert (await fleet.over(task))["status"] == "completed"
    assert [node["nodeName"] for node in await fleet.nodes(task)] == ["node-1", "node-2"]


async def test_both_halves_of_a_node_are_shown(kube: Kube, fleet: Fleet) -> None:
    """A node without an agent, an agent without a node, and why a node takes no work."""
    await kube.create_node("node-1", {"zone": "a"})
    await kube.create_node("node-7", {"zone": "b"})
    await fleet.add_coordinator(settings(kube))
    await fleet.add_agents(2, {"IPS_NODE_LABELS": "zone=z"})
    whole = await shown(fleet, "node-1", lambda node: node["connected"])
    assert (whole["labels"], whole["schedulable"], whole["driver"]) == (
        {"zone": "a"},
        True,
        "simulated",
    )
    bare = await shown(fleet, "node-7", lambda node: not node["connected"])
    assert (bare["labels"], bare["schedulable"], "runtime" in bare) == ({"zone": "b"}, True, False)
    stray = await shown(fleet, "node-2", lambda node: "knows no node" in node.get("message", ""))
    assert (stray["labels"], stray["schedulable"], stray["connected"]) == ({}, False, True)
    await kube.cordon("node-7")
    tired = await shown(fleet, "node-7", lambda node: not node["schedulable"])
    assert tired["message"] == "Node node-7 is cordoned."
    assert [node["name"] for node in (await fleet.get("/nodes?selector=zone=a"))["nodes"]] == [
        "node-1"
    ]


async def test_nodes_on_which_no_agent_can_run_take_no_part_and_are_counted(
    kube: Kube, fleet: Fleet
) -> None:
    """Windows, and what is virtual. A label that changes brings a node in, or takes it out."""
    await kube.create_node("node-1", {"kubernetes.io/os": "linux"})
    await kube.create_node("node-2", {"kubernetes.io/os": "windows"})
    selector = "kubernetes.io/os=linux,type!=virtual-kubelet"
    await fleet.add_coordinator(settings(kube, IPS_NODE_SELECTOR=selector))
    await fleet.add_agents(2)
    stray = await shown(fleet, "node-2", lambda node: "left out" in node.get("message", ""))
    assert stray["schedulable"] is False
    await fleet.known_nodes(2)
    assert (await fleet.get("/nodes"))["leftOut"] == 1
    task = await fleet.post(["nginx"])
    assert (await fleet.over(task))["status"] == "completed"
    assert [node["nodeName"] for node in await fleet.nodes(task)] == ["node-1"]
    await kube.label("node-2", **{"kubernetes.io/os": "linux"})
    await shown(fleet, "node-2", lambda node: node["schedulable"])
    await kube.label("node-2", type="virtual-kubelet")
    await shown(fleet, "node-2", lambda node: not node["schedulable"])
    assert (await fleet.get("/nodes"))["leftOut"] == 1


async def test_a_node_that_is_cordoned_before_its_turn_fails_and_a_deleted_one_leaves(
    kube: Kube, fleet: Fleet
) -> None:
    """The cordoned one is waited for; totals shrink by the deleted one, which failed nothing."""
    for number in (1, 2, 3):
        await kube.create_node(f"node-{number}")
    await fleet.add_coordinator(settings(kube, IPS_AGENT_WAIT_SECONDS="2"))
    await fleet.add_agents(3, SLOW)
    await fleet.known_nodes(3)
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"].get("pullingNodes") == 1)
    await kube.cordon("node-2")
    await kube.delete_node("node-3")
    seen = await fleet.over(task)
    assert seen["status"] == "failed"
    progress = seen["progress"]
    assert (progress["totalNodes"], progress["completedNodes"], progress["failedNodes"]) == (
        2,
        1,
        1,
    )
    [detail] = seen["failedNodeDetails"]
    assert (detail["nodeName"], detail["reason"]) == ("node-2", "AgentUnavailable")
    assert detail["message"].startswith("Node node-2 is cordoned.")
    removed = [e for e in await fleet.events(task) if e["type"] == "node.removed"]
    assert [event["subject"] for event in removed] == [f"{task}/node-3"]


async def test_a_node_that_is_cordoned_while_it_pulls_goes_on(kube: Kube, fleet: Fleet) -> None:
    """What has begun is not taken back."""
    await kube.create_node("node-1")
    await fleet.add_coordinator(settings(kube, IPS_AGENT_WAIT_SECONDS="1"))
    await fleet.add_agents(1, SLOW)
    await fleet.known_nodes(1)
    task = await fleet.post(["nginx"])
    await fleet.until(task, lambda seen: seen["progress"].get("pullingNodes") == 1)
    await kube.cordon("node-1")
    assert (await fleet.over(task))["status"] == "completed"


async def test_a_node_that_was_deleted_while_no_coordinator_lived_leaves_its_task(
    kube: Kube, fleet: Fleet
) -> None:
    """The first list of the next one does not name it."""
    await kube.create_node("node-1")
    await kube.create_node("node-2")
    coordinator = await fleet.add_coordinator(settings(kube))
    await fleet.add_agents(2, SLOW)
    await fleet.known_nodes(2)
    task = await fleet.post(["nginx"], batchSize=1)
    await fleet.until(task, lambda seen: seen["progress"].get("pullingNodes") == 1)
    await coordinator.kill()
    await kube.delete_node("node-2")
    coordinator.start()
    await coordinator.ready()
    seen = await fleet.over(task)
    assert (seen["status"], seen["progress"]["totalNodes"]) == ("completed", 1)


async def test_a_task_waits_for_an_api_server_that_is_away(kube: Kube, fleet: Fleet) -> None:
    """It says so, and nothing is chosen from what is not known."""
    nowhere = fleet.folder / "nowhere"
    text = kube.config.read_text().replace(kube.plane.access.url, "https://127.0.0.1:9")
    nowhere.write_text(text)
    await fleet.add_coordinator(settings(kube) | {"KUBECONFIG": str(nowhere)})
    task = await fleet.post(["nginx"])
    seen = await fleet.until(task, lambda seen: "cannot be asked" in seen.get("message", ""))
    assert seen["status"] == "pending"
    await kube.create_node("node-1")
    await fleet.add_agents(1)
    nowhere.write_text(kube.config.read_text())
    assert (await fleet.over(task))["status"] == "completed"


async def test_a_failed_pull_is_an_event_on_its_node(kube: Kube, fleet: Fleet) -> None:
    """``kubectl`` shows it with the node; retries of the same failure add none."""
    await kube.create_node("node-1")
    await fleet.add_coordinator(settings(kube, IPS_KUBERNETES_EVENTS="on"))
    await fleet.add_agents(1)
    await fleet.known_nodes(1)
    image = "team/fails/registry-error:1"
    task = await fleet.post([image], maxRetries=1, retryDelay=1)
    assert (await fleet.over(task))["status"] == "failed"
    async with asyncio.timeout(PATIENCE):
        while True:
            if task in await asyncio.to_thread(kube.kubectl, "events", "--for=node/node-1"):
                break
            await asyncio.sleep(0.1)
    events = (await kube.call("GET", EVENTS))["items"]
    [event] = [event for event in events if task in event["note"]]
    assert (event["reason"], event["type"]) == ("RegistryError", "Warning")
    assert image in event["note"]


SELECTORS = [
    "",
    "zone=a",
    "zone==a,size",
    "zone!=a",
    "zone in (a,b),!size",
    "zone notin (a, b)",
    "size>2",
    "size<3,zone",
    "!zone",
    "example.com/pool in (blue)",
    "zone=",
]


async def test_a_selector_chooses_what_kubectl_chooses(kube: Kube) -> None:
    """The whole grammar of ``kubectl get nodes -l``, on labels of every kind."""
    labels: list[Json] = [
        {},
        {"zone": "a"},
        {"zone": "b", "size": "2"},
        {"zone": "c", "size": "10"},
        {"zone": "", "size": "big"},
        {"size": "3", "example.com/pool": "blue"},
    ]
    for number, each in enumerate(labels):
        await kube.create_node(f"n{number}", each)
    for selector in SELECTORS:
        said = kube.kubectl("get", "nodes", "-o", "name", f"--selector={selector}")
        terms = parse_selector(selector)
        mine = [
            f"node/n{number}"
            for number, each in enumerate(labels)
            if all(satisfies(term, each) for term in terms)
        ]
        assert said.split() == mine, selector


async def test_a_node_that_joins_takes_pods_when_it_is_warm(kube: Kube, fleet: Fleet) -> None:
    """Its startup taint goes, and another coordinator over the same store finds nothing to do."""
    taint = {"key": "ips.dev/warming", "effect": "NoSchedule"}
    await fleet.add_coordinator(settings(kube, IPS_GATES="on"))
    gate = {"condition": True, "taint": taint["key"]}
    body = {"images": ["nginx"], "gate": gate}
    async with fleet.http.put(f"{fleet.api}/sets/web", json=body) as answer:
        assert answer.status == 201
    await kube.create_node("node-1")
    await kube.call("PATCH", "/api/v1/nodes/node-1", {"spec": {"taints": [taint]}})
    await fleet.add_agents(1)
    warm = await _gated(kube, "True")
    [gated] = [c for c in (await fleet.get("/sets/web"))["conditions"] if c["type"] == "Gated"]
    assert gated["status"] is True
    assert warm["metadata"]["labels"]["ips.dev/warm.web"] == "true"
    await fleet.coordinator.kill()
    fleet.coordinator.start()
    await fleet.coordinator.ready()
    await fleet.known_nodes(1)
    async with fleet.http.delete(f"{fleet.api}/sets/web") as answer:
        assert answer.status == 200
    clean = await _gated(kube, "")
    assert "ips.dev/warm.web" not in clean["metadata"].get("labels", {})


async def _gated(kube: Kube, status: str) -> Json:
    """The Node once it has no startup taint, and its condition says so; "" for none."""
    async with asyncio.timeout(PATIENCE):
        while True:
            node = await kube.call("GET", "/api/v1/nodes/node-1")
            keys = {each["key"] for each in node["spec"].get("taints", [])}
            found = {each["type"]: each["status"] for each in node["status"]["conditions"]}
            label = "ips.dev/warm.web" in node["metadata"].get("labels", {})
            is_so = found.get("ips.dev/warm-web", "") == status and label == (status == "True")
            if is_so and "ips.dev/warming" not in keys:
                return node
            await asyncio.sleep(0.05)
