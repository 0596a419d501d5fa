"""Gates on the real API server, under the policy: what is written, once, and what is left alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from coordinator.core.sets.decisions import SetDecision
from coordinator.core.sets.events import InventoryReported
from coordinator.core.sets.gating import NodeGates, TakenTaint
from coordinator.engine.set_gates import SetGates
from coordinator.gate_support import GateSupport
from coordinator.nodes import gate_rights
from coordinator.nodes.gate_rights import GateRights
from coordinator.nodes.gate_writes import GateWriter, GateWrites
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.node_events import EVENTS
from coordinator.nodes.node_object import read_node
from coordinator.nodes.watched import WatchedNodes
from tests.engine.gate_world import BLOCKED, WAITING, WARM, GateWorld
from tests.fixtures.kubernetes import Json, Kube
from tests.fixtures.patience import PATIENCE
from tests.kubernetes.conftest import UseConfig
from tests.kubernetes.gate_policy import fenced
from tests.kubernetes.manifests import build
from tests.kubernetes.roles import account, roles
from tests.kubernetes.table import Table

pytestmark = [pytest.mark.kubernetes, pytest.mark.usefixtures("namespace")]

KEY: Final = "ips.dev/warming"
MINE: Final = {"key": "example.com/mine", "effect": "NoSchedule"}
NODE: Final = "/api/v1/nodes/n1"


async def join(kube: Kube, name: str = "n1") -> None:
    """A Node is made with a startup taint and one of somebody else's."""
    taints = [MINE, {"key": KEY, "effect": "NoExecute"}, {"key": KEY, "effect": "NoSchedule"}]
    conditions = [{"type": "Ready", "status": "True"}]
    await kube.call(
        "POST",
        "/api/v1/nodes",
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"zone": "a"}},
            "spec": {"taints": taints},
            "status": {"conditions": conditions},
        },
    )


class Leader:
    """A keeper of gates over the watch of the API server, with a support of its own."""

    def __init__(self, world: GateWorld) -> None:
        self.world = world
        self.support = GateSupport(None)
        self.opened = 0
        """How often there was something to write."""

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[SetGates]:
        """Watch and keep, until the block ends."""
        marked = MarkedNodes()
        watched = WatchedNodes(Table(), marked=marked)
        watching = asyncio.create_task(watched.run())
        self._sink = GateWrites(marked, self.support)
        try:
            async with self.world.keeper(marked, self) as keeper:
                yield keeper
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[GateWriter]:
        """Connect as the leader does."""
        self.opened += 1
        async with self._sink.connected() as writer:
            yield writer


async def until(kube: Kube, holds: Callable[[Json], bool], path: str = NODE) -> Json:
    """The Node once it is so."""
    async with asyncio.timeout(PATIENCE):
        while not holds(found := await kube.call("GET", path)):
            await asyncio.sleep(0.05)
    return found


def conditions(node: Json) -> dict[str, tuple[str, str]]:
    """Status and reason of each of its conditions."""
    found = node["status"].get("conditions", [])
    return {each["type"]: (each["status"], each.get("reason", "")) for each in found}


def has(status: str) -> Callable[[Json], bool]:
    """Whether a Node's condition for the set says so."""
    return lambda node: conditions(node).get("ips.dev/warm-web", ("", ""))[0] == status


def taints(node: Json) -> list[str]:
    """The keys of its taints but those of Kubernetes."""
    found = [each["key"] for each in node["spec"].get("taints", [])]
    return [key for key in found if not key.startswith("node.kubernetes.io/")]


def heard(keeper: SetGates, node: str = "n1") -> None:
    """Its agent says something."""
    event = InventoryReported(node, "i", None)  # type: ignore[arg-type]
    keeper.observe(event, SetDecision([], []))


async def test_a_node_joins_gets_warm_and_keeps_what_is_not_ours(
    kube: Kube, use_config: UseConfig, tmp_path: Path
) -> None:
    """Two leaders in sequence; the second writes nothing, and cleans up when the set is deleted."""
    async with fenced(kube, tmp_path):
        use_config(await account(kube, "ips-coordinator", tmp_path))
        world = GateWorld(time.time())
        leader = Leader(world)
        async with leader.leads() as keeper:
            world.put(keeper, condition=True, taint=KEY)
            world.stands("n1", WAITING)
            await join(kube)
            cold = await until(kube, has("False"))
            assert taints(cold) == ["example.com/mine", KEY, KEY]
            assert conditions(cold)["Ready"][0] == "True"
            world.stands("n1", WARM)
            heard(keeper)
            warm = await until(kube, lambda node: "ips.dev/warm.web" in node["metadata"]["labels"])
            assert conditions(warm)["ips.dev/warm-web"] == ("True", "Warm")
            assert warm["metadata"]["labels"] == {"zone": "a", "ips.dev/warm.web": "true"}
            assert taints(warm) == ["example.com/mine"]
        opened = leader.opened
        async with leader.leads() as keeper:
            await until_looked_at(keeper)
            assert leader.opened == opened
            assert await kube.call("GET", NODE) == warm
            world.delete(keeper)
            clean = await until(kube, lambda node: not has("True")(node))
            clean = await until(kube, lambda node: node["metadata"]["labels"] == {"zone": "a"})
            assert list(conditions(clean)) == ["Ready"]
        assert leader.support.trouble is None


async def until_looked_at(keeper: SetGates) -> None:
    """Every Node is known, and nothing is to be looked at any more."""
    async with asyncio.timeout(PATIENCE):
        while not keeper._nodes or keeper._due or keeper._urgent:
            await asyncio.sleep(0.05)


async def test_a_gate_that_cannot_be_met_opens_with_an_event(
    kube: Kube, use_config: UseConfig, tmp_path: Path
) -> None:
    """On the Node, with the reason; the condition goes on saying that it is cold."""
    async with fenced(kube, tmp_path):
        use_config(await account(kube, "ips-coordinator", tmp_path))
        world = GateWorld(time.time())
        async with Leader(world).leads() as keeper:
            world.put(keeper, condition=True, taint=KEY, open_after="1s")
            world.stands("n1", BLOCKED)
            await join(kube)
            opened = await until(kube, lambda node: taints(node) == ["example.com/mine"])
            await until(kube, has("False"))
        found = (await kube.call("GET", EVENTS))["items"]
        [event] = [each for each in found if each["regarding"]["uid"] == opened["metadata"]["uid"]]
        assert (event["type"], event["reason"]) == ("Warning", "GateOpened")
        assert "web: Unauthorized (At registry.corp)" in event["note"]
        await kube.call("DELETE", f"{EVENTS}/{event['metadata']['name']}")


async def test_what_has_changed_meanwhile_is_looked_at_again(
    kube: Kube, use_config: UseConfig
) -> None:
    """Another's taint is not taken for ours because it stands in its place by now."""
    use_config(kube.config)
    await join(kube)
    marked = MarkedNodes()
    marked.see(read_node(await raw(kube)))
    await kube.call("PATCH", NODE, {"spec": {"taints": [MINE, {**MINE, "effect": "NoExecute"}]}})
    before = await kube.call("GET", NODE)
    gates = NodeGates(taints=[TakenTaint(KEY)])
    async with GateWrites(marked, GateSupport(None)).connected() as writer:
        assert not await writer.write("n1", gates)
        assert await kube.call("GET", NODE) == before
        marked.see(read_node(await raw(kube)))
        assert await writer.write("n1", gates)
        await kube.delete_node("n1")
        await kube.create_node("n1")
        assert not await writer.write("n1", NodeGates(labels={"web": "true"}))
        assert (await kube.call("GET", NODE))["metadata"].get("labels", {}) == {}


async def raw(kube: Kube) -> bytes:
    """The Node as the API server writes it."""
    return json.dumps(await kube.call("GET", NODE)).encode()


async def test_a_right_that_is_missing_is_said_once_and_stops_nothing_else(
    kube: Kube,
    use_config: UseConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every replica finds it out by itself; the leader, too, when it writes."""
    monkeypatch.setattr(gate_rights, "AGAIN_SECONDS", 0.1)
    async with roles(kube, build(".")):
        use_config(await account(kube, "ips-coordinator", tmp_path))
        support = GateSupport(None)
        asking = asyncio.create_task(GateRights(support).run())
        try:
            await until_so(lambda: support.trouble is not None)
            assert support.trouble is not None
            assert "nodes/status" in support.trouble.message
            await join(kube)
            marked = MarkedNodes()
            marked.see(read_node(await raw(kube)))
            own = GateSupport(None)
            gates = NodeGates(taints=[TakenTaint(KEY)], labels={"web": "true"})
            async with GateWrites(marked, own).connected() as writer:
                assert not await writer.write("n1", gates)
                assert not await writer.write("n1", gates)
            assert own.trouble is not None
            assert 'cannot patch resource "nodes"' in own.trouble.message
            assert sum("a patch is refused" in each.message for each in caplog.records) == 1
        finally:
            asking.cancel()
            await asyncio.wait([asking])
    async with fenced(kube, tmp_path):
        asking = asyncio.create_task(GateRights(support).run())
        try:
            await until_so(lambda: support.trouble is None)
        finally:
            asking.cancel()
            await asyncio.wait([asking])


async def until_so(holds: Callable[[], Any]) -> None:
    """Wait for something."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.05)
