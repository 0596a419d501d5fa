"""Routes about warm sets."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from msgspec.structs import replace

from common import purge_texts
from common import set_texts as texts
from coordinator import set_documents as documents
from coordinator.access.callers import Caller
from coordinator.api.admission import Admission, creator_of
from coordinator.api.answers import json_answer
from coordinator.api.audit import IMAGES
from coordinator.api.bodies import read_json
from coordinator.api.faults import clipped, fault
from coordinator.api.guard import CALLER
from coordinator.api.problems import Refusal, bad_request, busy
from coordinator.api.purges import begin, too_many
from coordinator.api.queries import NODES, SETS, Reader
from coordinator.api.set_body import read_set
from coordinator.core.sets.freshness import is_tag
from coordinator.core.sets.head import is_set_name
from coordinator.faults import Faults
from coordinator.port import Engine, NoSuchSet, SetChanged, TooManySets
from coordinator.purge_port import PurgeOrder, TooManyPurges
from coordinator.set_documents import SET_NODE_STATES
from coordinator.set_port import SetOrder
from coordinator.snapshots import SetSnapshot
from coordinator.views.set_events import deleted_set
from coordinator.views.sets import refreshing_set, set_node, warm_set

NODES_AT_A_TIME: Final = 50
_TAG: Final = re.compile(r'"([0-9]{1,19})"')


class SetRoutes:
    """The routes."""

    def __init__(self, engine: Engine, faults: Faults, admission: Admission) -> None:
        self._engine = engine
        self._faults = faults
        self._admission = admission

    async def put(self, request: web.Request) -> web.Response:
        """``PUT /api/v1/sets/{name}``."""
        name = request.match_info["name"]
        if not is_set_name(name):
            raise bad_request([fault("name", texts.SET_NAME(text=clipped(name)))])
        asked = await read_json(request, read_set)
        if asked.gate is not None and (why := self._engine.sets.no_gates) is not None:
            raise bad_request([fault("/gate", why)])
        request[IMAGES] = asked.spec.images
        caller = request[CALLER]
        spec = self._admission.admit(caller, asked.spec, None)
        spec = await self._admission.with_credentials(caller, spec)
        creator = creator_of(caller)
        match = await self._match(request)
        try:
            order = SetOrder(
                name, spec, asked.paused, asked.schedule, asked.refresh, asked.gate, asked.pin
            )
            done = await self._engine.sets.put(order, creator, match)
        except SetChanged:
            raise _changed() from None
        except TooManySets as full:
            raise busy(texts.SETS_TOO_MANY(most=full.most)) from None
        status = HTTPStatus.CREATED if done.is_new else HTTPStatus.OK
        response = self._answer(self._shot(name), status)
        response.headers[hdrs.LOCATION] = f"/api/v1/sets/{name}"
        return response

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/sets/{name}``."""
        shot = await self._find(request)
        drift = self._engine.sets.drift(shot.stored.head.name)
        return self._tagged(shot, warm_set(shot, drift))

    async def refresh(self, request: web.Request) -> web.Response:
        """``POST /api/v1/sets/{name}/refresh``."""
        shot = await self._find(request)
        name, work = shot.stored.head.name, shot.stored.head.spec.work
        if not any(is_tag(image.reference) for image in work):
            raise Refusal(HTTPStatus.CONFLICT, texts.SET_NO_TAGS())
        try:
            await self._engine.sets.refresh(name)
        except NoSuchSet:
            raise _unknown() from None
        return json_answer(refreshing_set(name), HTTPStatus.ACCEPTED)

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/sets``."""
        query = Reader(request.query)
        page = query.page(SETS)
        query.done()
        names = self._engine.sets.names()
        shown_sets: list[documents.WarmSet] = []
        for name in names[page.of(len(names))]:
            with self._faults.kept("set view"):
                shot = self._engine.sets.snapshot(name)
                shown_sets += [] if shot is None else [warm_set(shot)]
            await asyncio.sleep(0)  # each looks at the nodes that are not warm
        return json_answer(
            documents.WarmSetList(
                sets=shown_sets, total=len(names), limit=page.limit, offset=page.offset
            )
        )

    async def nodes(self, request: web.Request) -> web.Response:
        """``GET /api/v1/sets/{name}/nodes``."""
        name = (await self._find(request)).stored.head.name
        query = Reader(request.query)
        page, states = query.page(NODES), query.states(SET_NODE_STATES)
        query.done()
        sets = self._engine.sets
        names = sets.node_names(name, states)
        nodes: list[documents.WarmSetNode] = []
        for number, node in enumerate(names[page.of(len(names))], start=1):
            shot = sets.node(name, node)
            nodes += [] if shot is None else [set_node(shot)]
            if number % NODES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return json_answer(
            documents.WarmSetNodeList(
                nodes=nodes, total=len(names), limit=page.limit, offset=page.offset
            )
        )

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /api/v1/sets/{name}``; with ``?purge=true`` its images are removed, too."""
        query = Reader(request.query)
        is_purge = query.flag("purge")
        query.done()
        name, match = request.match_info["name"], await self._match(request)
        if not is_set_name(name):
            raise _unknown()
        order = await self._purge_of(name, match, request[CALLER]) if is_purge else None
        if order is None:
            await self._delete(name, match)
            return json_answer(deleted_set(name, texts.SET_DELETED()))
        request[IMAGES] = order.spec.images

        async def before() -> None:
            await self._delete(name, match)

        # The purge is stored first: where it is refused the set is there still, to ask again.
        purge = (await begin(self._engine, order, request[CALLER], before)).head.id
        said = purge_texts.PURGE_SET_DELETED(purge=purge)
        return json_answer(deleted_set(name, said, purge))

    async def _purge_of(self, name: str, match: int | None, caller: Caller) -> PurgeOrder:
        """What a set has and where, before it is gone. Raises a Refusal where that may not be."""
        stored = await self._engine.sets.find(name)
        if stored is None:
            raise _unknown()
        if match is not None and match != stored.revision:
            raise _changed()  # before the purge is stored, for which the oldest makes room
        try:
            self._engine.purges.check_room()
        except TooManyPurges as full:
            raise too_many(full) from None
        spec = replace(self._shot(name).stored.head.spec, webhook_url=None, priority=1)
        spec = self._admission.admit(caller, spec, None)
        return PurgeOrder(spec, self._engine.sets.node_names(name), set=name)

    async def _delete(self, name: str, match: int | None) -> None:
        try:
            await self._engine.sets.delete(name, match)
        except NoSuchSet:
            raise _unknown() from None
        except SetChanged:
            raise _changed() from None

    async def _find(self, request: web.Request) -> SetSnapshot:
        name = request.match_info["name"]
        if is_set_name(name):
            await self._engine.sets.find(name)
        return self._shot(name)

    def _shot(self, name: str) -> SetSnapshot:
        shot = self._engine.sets.snapshot(name)
        if shot is None:
            raise _unknown()
        return shot

    def _answer(self, shot: SetSnapshot, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
        return self._tagged(shot, warm_set(shot), status)

    def _tagged(
        self, shot: SetSnapshot, shown: documents.WarmSet, status: HTTPStatus = HTTPStatus.OK
    ) -> web.Response:
        response = json_answer(shown, status)
        response.headers[hdrs.ETAG] = f'"{shot.stored.revision}"'
        return response

    async def _match(self, request: web.Request) -> int | None:
        """Over which revision alone a change is wanted; 0 for none. Raises Refusal."""
        if request.headers.get(hdrs.IF_NONE_MATCH, "").strip() == "*":
            return 0
        wanted = request.headers.get(hdrs.IF_MATCH)
        if wanted is None:
            return None
        if wanted.strip() == "*":
            stored = await self._engine.sets.find(request.match_info["name"])
            if stored is None:
                raise _changed()
            return stored.revision
        found = _TAG.fullmatch(wanted.strip())
        if found is None:  # a weak one, or none of ours: it is that of nothing
            raise _changed()
        return int(found[1])


def _unknown() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, texts.SET_UNKNOWN())


def _changed() -> Refusal:
    return Refusal(HTTPStatus.PRECONDITION_FAILED, texts.SET_CHANGED())
