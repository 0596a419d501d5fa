"""Routes about the nodes of the fleet."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from common import texts
from coordinator import documents
from coordinator.api.answers import json_answer
from coordinator.api.problems import Refusal
from coordinator.api.queries import NODES, Reader
from coordinator.core.selection import satisfies
from coordinator.port import Engine
from coordinator.views.nodes import fleet_node


class Nodes:
    """The routes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes``."""
        query = Reader(request.query)
        page, selector = query.page(NODES), query.selector()
        query.done()
        names = [
            name
            for name, labels in self._engine.nodes.labels()
            if all(satisfies(requirement, labels) for requirement in selector)
        ]
        nodes = map(self._engine.nodes.get, names[page.of(len(names))])
        return json_answer(
            documents.NodeList(
                nodes=[fleet_node(node) for node in nodes if node is not None],
                total=len(names),
                limit=page.limit,
                offset=page.offset,
                left_out=self._engine.nodes.left_out,
            )
        )

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes/{name}``."""
        node = self._engine.nodes.get(request.match_info["name"])
        if node is None:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.REQUEST_NODE_UNKNOWN())
        return json_answer(fleet_node(node))
