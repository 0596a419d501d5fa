"""Routes about the nodes of the fleet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from common import texts
from coordinator import documents
from coordinator.api.answers import json_answer
from coordinator.api.problems import Refusal
from coordinator.api.queries import NODES, Reader
from coordinator.core.selection import satisfies
from coordinator.core.task import Requirement
from coordinator.faults import Faults
from coordinator.port import Engine
from coordinator.snapshots import NodeState
from coordinator.views.nodes import fleet_node, outline

STEPS_AT_A_TIME: Final = 5_000
"""Requirements that are looked at before others go on: a few milliseconds."""
NODES_AT_A_TIME: Final = 500
VALUES_A_STEP: Final = 16
"""Values of a set that are compared in the time of a requirement."""


class NodeRoutes:
    """The routes."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes``."""
        query = Reader(request.query)
        page, selector = query.page(NODES), query.selector()
        query.done()
        names = await self._matching(selector)
        nodes = map(self._shown, names[page.of(len(names))])
        return json_answer(
            documents.NodeList(
                nodes=[node for node in nodes if node is not None],
                total=len(names),
                limit=page.limit,
                offset=page.offset,
                states=await self._states(names),
                left_out=self._engine.nodes.left_out,
            )
        )

    async def _states(self, names: Sequence[str]) -> documents.NodeCounts:
        counts: Counter[NodeState] = Counter()
        for number, name in enumerate(names, start=1):
            counts[self._engine.nodes.state(name)] += 1
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return documents.NodeCounts(
            ready=counts[NodeState.READY],
            offline=counts[NodeState.OFFLINE],
            unschedulable=counts[NodeState.UNSCHEDULABLE],
        )

    def _shown(self, name: str) -> documents.Node | None:
        """One node of a list, which no fault of a single one may keep from being shown."""
        with self._faults.kept("node view"):
            node = self._engine.nodes.get(name)
            return None if node is None else fleet_node(node)
        return outline(name)

    async def _matching(self, selector: Sequence[Requirement]) -> Sequence[str]:
        """Names of the nodes that a selector matches; lets others go on now and then."""
        names, steps = [], 0
        each = 1 + sum(1 + len(requirement.values) // VALUES_A_STEP for requirement in selector)
        for name, labels in self._engine.nodes.labels():
            if all(satisfies(requirement, labels) for requirement in selector):
                names.append(name)
            steps += each
            if steps >= STEPS_AT_A_TIME:
                steps = 0
                await asyncio.sleep(0)
        return names

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes/{name}``."""
        name = request.match_info["name"]
        node = self._engine.nodes.get(name)
        if node is None:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.NODE_NOT_FOUND(node=name))
        return json_answer(fleet_node(node))
