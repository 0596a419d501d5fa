"""Routes about purges."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import hdrs, web

from common import purge_texts as texts
from coordinator.access.callers import Caller
from coordinator.api.admission import Admission, creator_of
from coordinator.api.answers import json_answer
from coordinator.api.audit import IMAGES
from coordinator.api.bodies import read_json
from coordinator.api.guard import CALLER
from coordinator.api.problems import Refusal, busy
from coordinator.api.purge_body import read_purge
from coordinator.api.queries import NODES, Page, Reader
from coordinator.port import Engine
from coordinator.purge_port import Before, PurgeOrder, TooManyPurges, nothing_before
from coordinator.snapshots import PurgeSnapshot
from coordinator.views.purges import purge

_FIRST: Page = Page(NODES.default, 0)


class PurgeRoutes:
    """The routes."""

    def __init__(self, engine: Engine, admission: Admission) -> None:
        self._engine = engine
        self._admission = admission

    async def create(self, request: web.Request) -> web.Response:
        """``POST /api/v1/purges``."""
        order = await read_json(request, read_purge)
        request[IMAGES] = order.spec.images
        spec = self._admission.admit(request[CALLER], order.spec, order.names)
        order = PurgeOrder(spec, order.names, dry_run=order.dry_run)
        return _answer(await begin(self._engine, order, request[CALLER]), HTTPStatus.ACCEPTED)

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/purges/{id}``."""
        query = Reader(request.query)
        page = query.page(NODES)
        query.done()
        found = await self._engine.purges.find(request.match_info["id"])
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.PURGE_UNKNOWN())
        return _answer(found, HTTPStatus.OK, page)


async def begin(
    engine: Engine, order: PurgeOrder, caller: Caller, before: Before = nothing_before
) -> PurgeSnapshot:
    """Begin with a purge; ``before``: as in the port. Raises a Refusal where too many run."""
    creator = creator_of(caller)
    try:
        return await engine.purges.start(order, creator, before)
    except TooManyPurges as full:
        raise too_many(full) from None


def too_many(full: TooManyPurges) -> Refusal:
    """The answer where too many run."""
    return busy(texts.PURGES_TOO_MANY(most=full.most))


def _answer(shot: PurgeSnapshot, status: HTTPStatus, page: Page = _FIRST) -> web.Response:
    nodes = shot.nodes[page.of(len(shot.nodes))]
    response = json_answer(purge(shot, nodes, page.limit, page.offset), status)
    response.headers[hdrs.LOCATION] = f"/api/v1/purges/{shot.head.id}"
    return response
