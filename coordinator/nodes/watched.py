"""The node source ``kubernetes``: list in pages, then watch, for ever.

A broken watch goes on from the last version seen; a version that is no longer kept (410) is
answered by a new list, whose differences are told. Nothing asks again by the clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn

import msgspec

from common import texts
from common.backoff import Backoff
from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from common.reasons import clip
from common.text import Text
from coordinator.core.fleet import Node
from coordinator.core.selection import satisfies
from coordinator.core.task import Requirement
from coordinator.nodes.api_server import ApiServer, ApiServerError, ExpiredError, failure
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.node_object import (
    NodeObject,
    WatchEvent,
    read_event,
    read_failure,
    read_node,
    read_page,
)
from coordinator.nodes.source import NodeSink

log = Log(__name__)
sparing = RateLimitedLog(log)
away = RateLimitedLog(log, interval_seconds=60.0)

NODES: Final = "/api/v1/nodes"
PAGE: Final = 50
"""Nodes asked for at once: 1 MB, which stops the event loop for some milliseconds."""
WATCH_SECONDS: Final = (1800, 3600)
"""The server ends a watch after so long; drawn, so that not all clients come back together."""
SILENCE_SECONDS: Final = 150.0
"""Bookmarks come about once a minute: a connection that is silent for so long is dead."""
LONGEST_PAUSE: Final = 8.0
_AT_ONCE: Final = 20
"""Nodes that are taken in before others have a turn on the event loop."""


class _Known(NamedTuple):
    uid: str
    node: Node


class WatchedNodes:
    """What the API server says, told as differences."""

    relies_on_agents: Final = False

    def __init__(
        self,
        sink: NodeSink,
        context: str | None = None,
        selector: Sequence[Requirement] = (),
        on_poison: Callable[[str], None] = lambda _kind: None,
        marked: MarkedNodes | None = None,
    ) -> None:
        """``selector``: only nodes with such labels are told of, the others are counted.

        ``marked`` is told of all that are there.

        ``on_poison`` is told the kind, ``node``, of each thing that is no Node.
        """
        self._sink = sink
        self._context = context
        self._selector = selector
        self._on_poison = on_poison
        self.marked = marked
        self._left_out: set[str] = set()
        self._known: dict[str, _Known] = {}
        self._version: str | None = None
        """Up to which everything has been told; None: list first."""
        self._listed = False
        self._pause = Backoff(LONGEST_PAUSE)
        self._why_not = ""

    @property
    def trouble(self) -> Text | None:
        """Why the nodes may be out of date or are not known yet; None where all is well."""
        if self._why_not:
            return texts.KUBERNETES_AWAY(why=self._why_not)
        return None if self._listed else texts.KUBERNETES_NOT_LISTED()

    @property
    def left_out(self) -> int:
        """How many nodes do not match the selector."""
        return len(self._left_out)

    def announced(self, name: str, labels: Mapping[str, str]) -> None:
        """Kubernetes decides which nodes there are, and how they are labelled."""

    def forgotten(self, name: str) -> None:
        """A node whose agent is silent is a node all the same; an agent without a node was one."""
        if self._listed and name not in self._known:
            self._sink.vanished(name)

    def unknown(self, name: str) -> Text:
        """Why a node for which an agent speaks is no node."""
        if name in self._left_out:
            return texts.NODE_LEFT_OUT(node=name)
        return self.trouble or texts.NODE_NOT_IN_KUBERNETES(node=name)

    def uid(self, name: str) -> str | None:
        """The UID of a Node; None for one that is not there."""
        known = self._known.get(name)
        return None if known is None else known.uid

    async def run(self) -> NoReturn:
        """Keep the sink up to date, without end."""
        while True:
            try:
                async with ApiServer.connected(self._context) as api:
                    await self._follow(api)
            except ExpiredError as why:
                log.info("the watch of nodes is too far behind: listing anew", why=str(why))
                self._version = None
            except (ApiServerError, *NOT_DECODABLE) as why:
                self._why_not = str(why).rstrip(".")
                away.warning("away", "the API server cannot be asked for its nodes", why=str(why))
            await asyncio.sleep(self._pause.next())

    async def _follow(self, api: ApiServer) -> None:
        """List if need be, then watch until the watch ends."""
        if self._version is None:
            self._version = await self._list(api)
            self._why_not = ""
        if not self._listed:
            self._listed = True
            self._sink.listed()
        async with api.streamed(
            NODES,
            SILENCE_SECONDS,
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=self._version,
            timeoutSeconds=str(random.randint(*WATCH_SECONDS)),  # noqa: S311 - no secret
        ) as lines:
            self._why_not = ""
            taken = 0
            async for line in lines:
                self._take_in_line(line)
                taken += 1
                if taken % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    # ── the list ──

    async def _list(self, api: ApiServer) -> str:
        """Take in every node, and drop those that are no more; the version of the list."""
        gone = {*self._known, *self._left_out}
        page = read_page(await api.get(NODES, limit=str(PAGE)))
        while True:
            for number, item in enumerate(page.items, start=1):
                node = self._read(item)
                if node is not None:
                    gone.discard(node.metadata.name)
                    self._seen(node)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            if not page.metadata.next_page:
                break
            query = {"limit": str(PAGE), "continue": page.metadata.next_page}
            page = read_page(await api.get(NODES, **query))
        for name in gone:
            self._gone(name)
        log.info("nodes listed", nodes=len(self._known), left_out=self.left_out)
        return page.metadata.resource_version

    # ── the watch ──

    def _take_in_line(self, line: bytes) -> None:
        """One line, which alone is passed over where nobody understands it."""
        try:
            event = read_event(line)
        except NOT_DECODABLE as why:
            self._pass_over("a line of the watch is no event", why)
        else:
            self._take_in(event)

    def _take_in(self, event: WatchEvent) -> None:
        self._pause.reset()
        if event.type == "ERROR":
            status = read_failure(event.object)
            raise failure(status.code or HTTPStatus.INTERNAL_SERVER_ERROR, status.message)
        node = self._read(event.object)
        if node is None:
            return
        match event.type:
            case "ADDED" | "MODIFIED":
                self._seen(node)
            case "DELETED":
                self._gone(node.metadata.name)
            case _:
                pass  # a bookmark, or what a later version of Kubernetes may think of
        self._version = node.metadata.resource_version

    # ── what is known ──

    def _pass_over(self, what: str, why: Exception) -> None:
        self._on_poison("node")
        sparing.warning("node", what, why=clip(str(why)))

    def _read(self, item: bytes | msgspec.Raw) -> NodeObject | None:
        """A Node; None for what is none, which is passed over and said."""
        try:
            return read_node(item)
        except NOT_DECODABLE as why:
            self._pass_over("an object of the API server is no Node", why)
            return None

    def _seen(self, found: NodeObject) -> None:
        name = found.metadata.name
        if self.marked is not None:
            self.marked.see(found)
        if not all(satisfies(one, found.metadata.labels) for one in self._selector):
            self._vanished(name)
            self._left_out.add(name)
            return
        self._left_out.discard(name)
        known, new = self._known.get(name), _Known(found.metadata.uid, found.as_node())
        if known == new:
            return  # heartbeats and image lists change a Node all day
        if known is not None and known.uid != new.uid:
            self._sink.vanished(name)  # deleted and made anew while nobody watched
        self._known[name] = new
        self._sink.seen(name, new.node)

    def _gone(self, name: str) -> None:
        if self.marked is not None:
            self.marked.lose(name)
        self._vanished(name)

    def _vanished(self, name: str) -> None:
        self._left_out.discard(name)
        if self._known.pop(name, None) is not None:
            self._sink.vanished(name)
