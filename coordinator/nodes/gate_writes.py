"""What gates want of Nodes, written to the API server: a little at a time, and nothing else.

Nobody's word is lost by it: a condition is merged by its type, a label by its key, and a taint goes
only where it is still what it was. What has changed meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.core.sets.gate import CONDITION_PREFIX, LABEL_PREFIX
from coordinator.core.sets.gating import NodeGates, NodeMarks, TakenTaint, WantedCondition
from coordinator.gate_support import GateSupport
from coordinator.nodes.api_server import (
    ApiServer,
    ApiServerError,
    ExistsError,
    ForbiddenError,
    NotFoundError,
    PatchKind,
    UnfitError,
)
from coordinator.nodes.marks import MarkedNodes
from coordinator.nodes.node_events import EVENTS, node_event
from coordinator.nodes.node_object import read_node
from coordinator.nodes.source import GatesAwayError

log = Log(__name__)
sparing = RateLimitedLog(log)

NODES: Final = "/api/v1/nodes"
STATUS_RIGHT: Final = "nodes/status"
NODES_RIGHT: Final = "nodes"
SECONDS_BETWEEN: Final = 0.02
"""Between two requests: 10,000 Nodes must not be felt by the API server."""
REST_SECONDS: Final = 60.0
"""So long nothing is tried that was forbidden."""
LONGEST_MESSAGE: Final = 1024
_USE: Final = "use"
Request = Callable[[], Awaitable[bytes | None]]


class GateWrites:
    """Opens connections for writing (``source.GateSink``)."""

    def __init__(
        self, marked: MarkedNodes, support: GateSupport, context: str | None = None
    ) -> None:
        """``marked`` is told of each answer; ``support``, of rights that are missing."""
        self._marked = marked
        self._support = support
        self._context = context
        self._rests: dict[str, float] = {}
        """Until when taints, conditions or labels are not tried: each may be refused alone."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[GateWriter]:
        """Open connections for as long as the block lasts. Raises GatesAwayError."""
        try:
            async with ApiServer.connected(self._context) as api:
                yield GateWriter(api, self._marked, self._support, self._rests)
        except ApiServerError as why:
            raise GatesAwayError(str(why)) from why


class GateWriter:
    """Writes over open connections (``source.WritesGates``)."""

    def __init__(
        self, api: ApiServer, marked: MarkedNodes, support: GateSupport, rests: dict[str, float]
    ) -> None:
        self._api = api
        self._marked = marked
        self._support = support
        self._rests = rests
        self._time = asyncio.get_running_loop().time

    async def write(self, node: str, gates: NodeGates) -> bool:
        """Write what is decided about a Node; whether all of it is so by now.

        The taint goes first: pods wait for that. Raises ApiServerError where nothing is answered.
        """
        marks = self._marked.get(node)
        if marks is None:
            return True
        done = True
        for taint in gates.taints:
            done &= await self._attempt(
                NODES_RIGHT, "taints", node, partial(self._take, node, marks, taint)
            )
        if gates.conditions:
            say = partial(self._say, node, marks, gates.conditions)
            done &= await self._attempt(STATUS_RIGHT, "conditions", node, say)
        if gates.labels:
            label = partial(self._label, node, marks, gates.labels)
            done &= await self._attempt(NODES_RIGHT, "labels", node, label)
        return done

    async def _attempt(self, right: str, what: str, node: str, request: Request) -> bool:
        if self._rests.get(what, 0.0) > self._time():
            return False
        try:
            answer = await request()
        except NotFoundError:
            return True  # the Node is gone, which the watch says too
        except ForbiddenError as why:
            self._rests[what] = self._time() + REST_SECONDS
            if self._support.refused(right, str(why), seen_by=_USE):
                # No traceback: what counts is what the API server says.
                log.error("gates do not work: a patch is refused", right=right, why=why)  # noqa: TRY400
            return False
        except (ExistsError, UnfitError) as why:
            log.info("a Node has changed meanwhile", node=node, why=why)
            return False
        if self._support.granted(right, seen_by=_USE):
            log.info("gates work again", right=right)
        return answer is None or self._learn(answer)

    def _learn(self, answer: bytes) -> bool:
        """What the Node is now, before the watch tells it: nothing is written twice."""
        try:
            self._marked.see(read_node(answer))
        except NOT_DECODABLE as why:
            sparing.warning("answer", "the answer to a patch is no Node", why=why)
        return True

    # ── requests ──

    async def _say(
        self, node: str, marks: NodeMarks, wanted: dict[str, WantedCondition | None]
    ) -> bytes:
        conditions = [
            condition_patch(name, each, datetime.now(UTC)) for name, each in wanted.items()
        ]
        body = {"metadata": {"uid": marks.uid}, "status": {"conditions": conditions}}
        await asyncio.sleep(SECONDS_BETWEEN)
        return await self._api.patch(f"{NODES}/{node}/status", body, PatchKind.STRATEGIC)

    async def _label(self, node: str, marks: NodeMarks, wanted: dict[str, str | None]) -> bytes:
        labels = {f"{LABEL_PREFIX}{name}": value for name, value in wanted.items()}
        body = {"metadata": {"uid": marks.uid, "labels": labels}}
        await asyncio.sleep(SECONDS_BETWEEN)
        return await self._api.patch(f"{NODES}/{node}", body)

    async def _take(self, node: str, marks: NodeMarks, taint: TakenTaint) -> bytes | None:
        places = self._marked.places(node, taint.key)
        if not places:
            return None
        if taint.warning is not None:
            await self._warn(node, marks, taint, taint.warning.message)
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": marks.uid}
        ]
        for place, effect in reversed(places):  # what is taken moves what comes after it
            path = f"/spec/taints/{place}"
            operations += [
                {"op": "test", "path": f"{path}/key", "value": taint.key},
                {"op": "test", "path": f"{path}/effect", "value": effect},
                {"op": "remove", "path": path},
            ]
        await asyncio.sleep(SECONDS_BETWEEN)
        return await self._api.patch(f"{NODES}/{node}", operations, PatchKind.JSON)

    async def _warn(self, node: str, marks: NodeMarks, taint: TakenTaint, note: str) -> None:
        """Told before it is done, once: the name is the same for the same opening."""
        name = event_name(marks.uid, taint)
        body = node_event(
            name, node, marks.uid, datetime.now(UTC), ("OpenGate", "GateOpened", note)
        )
        try:
            await self._api.post(EVENTS, body)
        except ExistsError:
            pass
        except ApiServerError as why:  # the gate opens all the same
            sparing.warning("event", "an open gate is not told as an Event", why=why)
        else:
            log.warning("a gate opens on a cold node", node=node, taint=taint.key, why=note)


def condition_patch(name: str, wanted: WantedCondition | None, now: datetime) -> dict[str, Any]:
    """One entry of a strategic merge patch of ``status.conditions``."""
    kind = f"{CONDITION_PREFIX}{name}"
    if wanted is None:
        return {"$patch": "delete", "type": kind}
    moment = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    turned = {"lastTransitionTime": moment} if wanted.is_turn else {}
    return {
        "type": kind,
        "status": str(wanted.mark.status),
        "reason": wanted.mark.reason,
        "message": wanted.text.message[:LONGEST_MESSAGE],
        "lastHeartbeatTime": moment,
        **turned,
    }


def event_name(uid: str, taint: TakenTaint) -> str:
    """The name of the Event about one opening."""
    key = f"{uid} {taint.key} {int(taint.opened_at)}"
    return f"ips-gate-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
