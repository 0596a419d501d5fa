"""Patches of Nodes, and an API server that refuses some of them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from coordinator.core.sets.gating import NodeGates, TakenTaint
from coordinator.gate_support import GateSupport
from coordinator.nodes.api_server import ApiServer, ForbiddenError, PatchKind
from coordinator.nodes.gate_writes import REST_SECONDS, GateWriter
from sandbox.virtual.time import virtual
from tests.engine.gate_world import GateWorld

TAINT = "ips.dev/warming"


class Api:
    """Lets taints go, and no label be written."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def patch(self, path: str, _body: Any, kind: PatchKind = PatchKind.MERGE) -> bytes:
        """Do it, or refuse it."""
        what = "taint" if kind is PatchKind.JSON else "label"
        self.asked.append((what, path.rpartition("/")[2]))
        if what == "label":
            raise ForbiddenError("a policy of somebody else's says no")
        return b"{}"


@virtual
async def test_a_label_that_is_refused_stops_no_taint() -> None:
    """Pods wait for that; labels rest for a while, everywhere."""
    world, api = GateWorld(), Api()
    writer = GateWriter(cast(ApiServer, api), world.marked, GateSupport(None), {})
    for node in ("n1", "n2"):
        world.join(node, TAINT)
        gates = NodeGates(labels={"web": "true"}, taints=[TakenTaint(TAINT)])
        assert not await writer.write(node, gates)
    assert api.asked == [("taint", "n1"), ("label", "n1"), ("taint", "n2")]
    await asyncio.sleep(REST_SECONDS)
    assert not await writer.write("n2", NodeGates(labels={"web": "true"}))
    assert api.asked[-1] == ("label", "n2")
