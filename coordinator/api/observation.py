"""What is seen of every request: metrics and a line in the log. Neither stands in its way."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from prometheus_client import CollectorRegistry, Counter, Histogram

from common.listening import peer
from common.logs import Log
from coordinator.api.permissions import SESSION
from coordinator.api.problems import RouteHandler

UNMATCHED: Final = "unmatched"
OTHER_METHOD: Final = "other"
LOOKS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
"""Probes and pages ask every few seconds: logged only for who debugs."""

_BEGAN: Final = web.RequestKey("began", float)

log = Log(__name__)


def endpoint(request: web.BaseRequest) -> str:
    """The pattern of the route, never the raw path: a label must have few values."""
    resource = request.match_info.route.resource if isinstance(request, web.Request) else None
    return UNMATCHED if resource is None else resource.canonical


def _path(request: web.BaseRequest) -> str:
    """The path with its query, but for what an issuer gave a browser to bring here."""
    return request.path if request.path.startswith(SESSION) else request.path_qs


class HttpMetrics:
    """``ips_api_request_total`` and ``ips_api_request_duration_seconds``.

    A request counts when its answer begins: a stream's time is what its client waited for it, not
    how long it then watched.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "endpoint", "status_code")
        self._total = Counter("ips_api_request", "Requests.", labels, registry=registry)
        self._seconds = Histogram(
            "ips_api_request_duration_seconds",
            "Time until the answer begins.",
            labels,
            registry=registry,
        )

    @web.middleware
    async def clock_in(self, request: web.Request, handler: RouteHandler) -> web.StreamResponse:
        """Note when a request came; the first middleware."""
        request[_BEGAN] = perf_counter()
        return await handler(request)

    async def observe(self, request: web.Request, response: web.StreamResponse) -> None:
        """Count an answer that is about to begin (``on_response_prepare``)."""
        method = request.method if request.method in hdrs.METH_ALL else OTHER_METHOD
        labels = (method, endpoint(request), str(response.status))
        self._total.labels(*labels).inc()
        began = request.get(_BEGAN)
        if began is not None:
            self._seconds.labels(*labels).observe(perf_counter() - began)


class AccessLog(AbstractAccessLogger):
    """One structured line for each request, when its answer has ended."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line."""
        write = log.debug if request.method in LOOKS else log.info
        write(
            "request",
            method=request.method,
            path=_path(request),
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 4),
            client=peer(request.remote),
        )
