"""Errors as RFC 9457 ``application/problem+json``, whoever raises them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import UNSET

from common.logs import Log
from coordinator import documents
from coordinator.documents import Fault
from coordinator.port import StoreAway

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2
"""What a client is told with every 503; a leader's lease or a NATS restart takes about as long."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = Log(__name__)


class Refusal(Exception):  # noqa: N818 -- it is an answer, not an error of the program
    """A request is answered with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        faults: Sequence[Fault] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = faults
        self.headers = headers


def bad_request(faults: Sequence[Fault]) -> Refusal:
    """400, naming every fault."""
    count = len(faults)
    detail = "One thing is wrong with the request." if count == 1 else f"{count} things are wrong."
    return Refusal(HTTPStatus.BAD_REQUEST, detail, faults=faults)


def unavailable(reason: str) -> Refusal:
    """503, with the reason and when to come back."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers=headers)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; nothing of an internal fault leaks."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _response(refusal)
    except StoreAway as away:
        return _response(unavailable(str(away)))
    except web.HTTPException as raised:
        return _of_aiohttp(raised)
    except Exception as error:  # noqa: BLE001 -- the last fence before a client's eyes
        log.failure("a request failed", error, method=request.method, path=request.path)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return _response(Refusal(status, "The service has a fault; its log tells more."))


def _of_aiohttp(raised: web.HTTPException) -> web.Response:
    match raised:
        case web.HTTPNotFound():
            detail = "Nothing is here; /openapi.json lists what there is."
        case web.HTTPMethodNotAllowed():
            detail = f"This takes {', '.join(sorted(raised.allowed_methods))}."
        case web.HTTPRequestEntityTooLarge():
            detail = "The body is too large; 3 MiB (3,145,728 bytes) is the limit."
        case _:
            detail = raised.text or raised.reason
    allow = raised.headers.get("Allow")
    headers = None if allow is None else {"Allow": allow}
    return _response(Refusal(HTTPStatus(raised.status), detail, headers=headers))


def _response(refusal: Refusal) -> web.Response:
    problem = documents.Problem(
        title=refusal.status.phrase,
        status=refusal.status,
        detail=refusal.detail,
        errors=UNSET if refusal.faults is None else list(refusal.faults),
    )
    return web.Response(
        status=refusal.status,
        body=documents.encode(problem),
        content_type=CONTENT_TYPE,
        headers=refusal.headers,
    )
