"""Routes about images: what is on a node, where one is, and what tasks did with it."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from common import image_texts, texts
from common.image_reference import ImageReference, InvalidReference
from coordinator import image_documents as documents
from coordinator.access.callers import ANYBODY
from coordinator.api.answers import json_answer
from coordinator.api.faults import fault
from coordinator.api.guard import CALLER
from coordinator.api.problems import Refusal, bad_request, busy
from coordinator.api.queries import NODES, PAST, Reader
from coordinator.api.task_search import TaskSearch, search
from coordinator.faults import Faults
from coordinator.image_documents import PLACE_STATES
from coordinator.port import Engine, NodeSilent, TooManyAsked
from coordinator.snapshots import ImageUse, Whereabouts
from coordinator.views import images as views

MOST_OF_A_CALLER: Final = 8
"""Nodes and images that are looked up at once for one caller."""
ENTRIES_AT_A_TIME: Final = 50


class ImageRoutes:
    """The routes."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults
        self._looking: Counter[tuple[str, str]] = Counter()

    # ── of a node ──

    async def on_node(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes/{name}/images``."""
        name = self._node(request)
        query = Reader(request.query)
        page = query.page(NODES)
        query.done()
        async with self._turn(request):
            try:
                images = await self._engine.images.on_node(name)
            except NodeSilent as silent:
                raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, silent.text) from None
            except TooManyAsked:
                raise busy(image_texts.IMAGES_BUSY()) from None
        return json_answer(
            documents.StoredImageList(
                node_name=name,
                images=[views.stored_image(image) for image in images[page.of(len(images))]],
                total=len(images),
                limit=page.limit,
                offset=page.offset,
            )
        )

    async def of_node(self, request: web.Request) -> web.Response:
        """``GET /api/v1/nodes/{name}/history``."""
        name = self._node(request)
        query = Reader(request.query)
        page = query.page(PAST)
        query.done()
        async with self._turn(request):
            on_it = await self._engine.images.tasks_on(name)
            tasks = [task for task in self._engine.tasks.ids() if task in on_it]
            past = await self._engine.images.past(name, tasks[page.of(len(tasks))])
        return json_answer(
            documents.NodeTaskList(
                node_name=name,
                tasks=[views.node_task(each) for each in past],
                total=len(tasks),
                limit=page.limit,
                offset=page.offset,
            )
        )

    def _node(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if self._engine.nodes.get(name) is None:
            raise Refusal(HTTPStatus.NOT_FOUND, texts.NODE_NOT_FOUND(node=name))
        return name

    # ── of the fleet ──

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/images``."""
        query = Reader(request.query)
        page, text, after = query.page(NODES), query.text("q"), query.text("after")
        query.done()
        async with self._turn(request):
            known = await self._engine.images.known()
        found = await _that_have(known, text)
        if after:
            found = found[bisect_right(found, after, key=lambda image: image.reference) :]
        return json_answer(
            documents.KnownImageList(
                images=[views.known_image(image) for image in found[page.of(len(found))]],
                total=len(found),
                limit=page.limit,
                offset=page.offset,
            )
        )

    async def places(self, request: web.Request) -> web.Response:
        """``GET /api/v1/images/nodes``."""
        image = _image(request)
        query = Reader(request.query)
        page, states = query.page(NODES), query.states(PLACE_STATES)
        query.done()
        async with self._turn(request):
            everywhere = await self._engine.images.places(image.runtime_form)
        found = [place for place in everywhere if not states or place.state in states]
        counts = Counter(place.state for place in everywhere)
        return json_answer(
            documents.ImagePlaceList(
                image=image.familiar,
                reference=image.runtime_form,
                nodes=[views.image_place(place) for place in found[page.of(len(found))]],
                total=len(found),
                limit=page.limit,
                offset=page.offset,
                states=documents.PlaceCounts(**{state: counts[state] for state in counts}),
                digests=_digests(everywhere),
            )
        )

    async def history(self, request: web.Request) -> web.Response:
        """``GET /api/v1/images/history``."""
        image = _image(request)
        query = Reader(request.query)
        page = query.page(PAST)
        query.done()
        tasks = self._engine.tasks
        async with self._turn(request):
            ids = (await search(tasks, TaskSearch(image=image.canonical))).ids
        shown: list[documents.ImageTask] = []
        for task in ids[page.of(len(ids))]:
            with self._faults.kept("image history", task=task):
                shot = tasks.snapshot(task)
                shown += [] if shot is None else [views.image_task(shot, image.runtime_form)]
            await asyncio.sleep(0)  # a head may have 64 KiB
        return json_answer(
            documents.ImageTaskList(
                image=image.familiar,
                reference=image.runtime_form,
                tasks=shown,
                total=len(ids),
                limit=page.limit,
                offset=page.offset,
            )
        )

    @asynccontextmanager
    async def _turn(self, request: web.Request) -> AsyncIterator[None]:
        """One of those that a caller may have at once. Raises Refusal."""
        caller = request.get(CALLER, ANYBODY)
        asker = caller.way, caller.user if caller.is_known else request.remote or ""
        if self._looking[asker] >= MOST_OF_A_CALLER:
            raise busy(image_texts.IMAGES_BUSY())
        self._looking[asker] += 1
        try:
            yield
        finally:
            self._looking[asker] -= 1
            if not self._looking[asker]:
                del self._looking[asker]


def _image(request: web.Request) -> ImageReference:
    try:
        return ImageReference.parse(request.query.get("image", "").strip())
    except InvalidReference as why:
        raise bad_request([fault("?image", why.text)]) from None


async def _that_have(known: Sequence[ImageUse], text: str) -> Sequence[ImageUse]:
    """References in which a text stands, in any case."""
    wanted = text.casefold()
    if not wanted:
        return known
    found = []
    for number, image in enumerate(known, start=1):
        if wanted in image.reference.casefold():
            found.append(image)
        if number % (ENTRIES_AT_A_TIME * 100) == 0:
            await asyncio.sleep(0)
    return found


def _digests(places: Iterable[Whereabouts]) -> dict[str, int]:
    counts = Counter(place.digest for place in places if place.digest)
    return dict(counts.most_common())
