"""Whether Kubernetes lets this program patch Nodes: every replica asks, so that each can say."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta

from common.logs import Log, RateLimitedLog
from common.messages import NOT_DECODABLE
from coordinator.gate_support import GateSupport
from coordinator.nodes.api_server import ApiServer, ApiServerError
from coordinator.nodes.gate_writes import NODES_RIGHT, STATUS_RIGHT

log = Log(__name__)
sparing = RateLimitedLog(log, interval_seconds=600.0)

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
"""Whoever is known to Kubernetes may ask for themselves (its role ``system:basic-user``)."""
AGAIN_SECONDS: Final = 30.0
"""While a right is missing, or nobody answers."""
LOOK_SECONDS: Final = 600.0
_REVIEW: Final = "review"


class _RightsStatus(msgspec.Struct, frozen=True):
    allowed: bool
    reason: Annotated[str, Meta(max_length=65_536)] = ""


class _RightsReview(msgspec.Struct, frozen=True):
    status: _RightsStatus


_read = msgspec.json.Decoder(_RightsReview).decode


class GateRights:
    """Asks for both rights, now and then."""

    def __init__(self, support: GateSupport, context: str | None = None) -> None:
        self._support = support
        self._context = context

    async def run(self) -> NoReturn:
        """Ask without end."""
        while True:
            all_there = False
            try:
                async with ApiServer.connected(self._context) as api:
                    all_there = await self._ask(api, STATUS_RIGHT)
                    all_there &= await self._ask(api, NODES_RIGHT)
            except (ApiServerError, *NOT_DECODABLE) as why:
                sparing.warning("away", "Kubernetes does not say what gates may do", why=why)
            await asyncio.sleep(LOOK_SECONDS if all_there else AGAIN_SECONDS)

    async def _ask(self, api: ApiServer, right: str) -> bool:
        status = _read(await api.post(REVIEWS, review_of(right))).status
        if status.allowed:
            if self._support.granted(right, seen_by=_REVIEW):
                log.info("gates have the right to patch", right=right)
            return True
        why = status.reason or "no role allows it"
        if self._support.refused(right, why, seen_by=_REVIEW):
            log.error("gates do not work: a right to patch is missing", right=right, why=why)
        return False


def review_of(right: str) -> dict[str, Any]:
    """The question whether something may be patched."""
    resource, _, subresource = right.partition("/")
    asked = {"verb": "patch", "resource": resource, "subresource": subresource}
    return {"spec": {"resourceAttributes": asked}}
