"""Errors as RFC 9457 ``application/problem+json``, whoever raises them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web
from msgspec import UNSET

from common import texts
from common.logs import Log
from common.text import Text
from coordinator import documents
from coordinator.documents import Fault
from coordinator.port import StoreAway, TaskDamaged

CONTENT_TYPE: Final = "application/problem+json"
LIMIT_BYTES: Final = 3 * 1024 * 1024
"""Of a request's body."""
RETRY_AFTER_SECONDS: Final = 2
"""What a client is told with every 503; a leader's lease or a NATS restart takes about as long."""
BUSY_SECONDS: Final = 5
"""What a client is told with a 429: places come free as tasks start, which takes longer."""

RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = Log(__name__)


class Refusal(Exception):  # noqa: N818 -- it is an answer, not an error of the program
    """A request is answered with a problem."""

    def __init__(
        self,
        status: HTTPStatus,
        text: Text,
        *,
        faults: Sequence[Fault] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text.message)
        self.status = status
        self.text = text
        self.faults = faults
        self.headers = headers


def bad_request(faults: Sequence[Fault]) -> Refusal:
    """400, naming every fault."""
    count = len(faults)
    text = texts.REQUEST_ONE_FAULT() if count == 1 else texts.REQUEST_FAULTS(count=count)
    return Refusal(HTTPStatus.BAD_REQUEST, text, faults=faults)


def unavailable(why: Text) -> Refusal:
    """503, with the reason and when to come back."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, headers=headers)


def busy(why: Text) -> Refusal:
    """429, with the reason and when to come back."""
    headers = {"Retry-After": str(BUSY_SECONDS)}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, why, headers=headers)


@web.middleware
async def answer_problems(request: web.Request, handler: RouteHandler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; nothing of an internal fault leaks."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _response(refusal)
    except StoreAway as away:
        return _response(unavailable(away.text))
    except TaskDamaged as damaged:
        return _response(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, damaged.text))
    except web.HTTPException as raised:
        return _of_aiohttp(raised)
    except Exception as error:  # noqa: BLE001 -- the last fence before a client's eyes
        log.failure("a request failed", error, method=request.method, path=request.path)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return _response(Refusal(status, texts.SERVICE_FAULT()))


def _of_aiohttp(raised: web.HTTPException) -> web.Response:
    match raised:
        case web.HTTPNotFound():
            text = texts.REQUEST_NO_ROUTE()
        case web.HTTPMethodNotAllowed():
            text = texts.REQUEST_METHODS(methods=", ".join(sorted(raised.allowed_methods)))
        case web.HTTPRequestEntityTooLarge():
            text = texts.REQUEST_TOO_LARGE(mebibytes=LIMIT_BYTES // 2**20, limit=LIMIT_BYTES)
        case _:
            text = Text(raised.text or raised.reason)
    allow = raised.headers.get("Allow")
    headers = None if allow is None else {"Allow": allow}
    return _response(Refusal(HTTPStatus(raised.status), text, headers=headers))


def _response(refusal: Refusal) -> web.Response:
    problem = documents.Problem(
        title=refusal.status.phrase,
        status=refusal.status,
        detail=refusal.text.message,
        message_code=refusal.text.code or UNSET,
        message_params=refusal.text.params if refusal.text.code else UNSET,
        errors=UNSET if refusal.faults is None else list(refusal.faults),
    )
    return web.Response(
        status=refusal.status,
        body=documents.encode(problem),
        content_type=CONTENT_TYPE,
        headers=refusal.headers,
    )
