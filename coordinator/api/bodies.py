"""Bodies of requests: what type and size they may have, how long they take, and their JSON.

Nothing of a body is walked before the number of its entries is bounded, and what may take more than
a few milliseconds is done in a thread, one body at a time, so that no request holds up the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from common import texts
from common.text import Text
from coordinator.api.answers import JSON
from coordinator.api.faults import fault
from coordinator.api.problems import LIMIT_BYTES, Refusal, bad_request, unavailable

BODY_SECONDS: Final = 30.0
"""Within which a body must have arrived."""
BODIES_BYTES: Final = 32 * 1024 * 1024
"""Of all bodies together that are being received or checked."""
MOST_ENTRIES: Final = 32_768
"""Of all lists and objects of a body together: 10,000 names of nodes, and as many entries as fit
into what is stored of a task (``SPEC_BYTES``), where each takes three bytes at least."""
INLINE_BYTES: Final = 8 * 1024
"""A smaller body is checked at once."""

T = TypeVar("T")
BodyCheck = Callable[[Any], T]
"""Makes something of a decoded body, or refuses it. Touches nothing else: a thread may do it."""


class BodyRoom:
    """What is shared by all requests that have a body."""

    def __init__(self, *, within: float = BODY_SECONDS, most: int = BODIES_BYTES) -> None:
        self.within = within
        self.checking = asyncio.Lock()
        self._left = most

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Room for one body; call what comes with the bytes of each part. Refuses with 503."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._left:
                raise unavailable(texts.REQUEST_TOO_MUCH_AT_ONCE())
            self._left -= size
            taken += size

        try:
            yield take
        finally:
            self._left += taken


ROOM: Final = web.AppKey("body_room", BodyRoom)


async def read_json(request: web.Request, check: BodyCheck[T]) -> T:
    """What a check makes of the body of a request that must have one.

    Refuses with 400, 408, 413, 415 or 503.
    """
    room = request.app[ROOM]
    with room.body() as take:
        body = await _read(request, room.within, take)
        _check_type(request)
        return await _checked(room, body, check)


async def read_json_if_any(request: web.Request, check: BodyCheck[T]) -> T:
    """As ``read_json``, but an absent or empty body, whatever its type, is an empty object."""
    room = request.app[ROOM]
    with room.body() as take:
        body = await _read(request, room.within, take)
        if not body:
            return check({})
        _check_type(request)
        return await _checked(room, body, check)


async def _checked(room: BodyRoom, body: bytes, check: BodyCheck[T]) -> T:
    if len(body) <= INLINE_BYTES:
        return check(decode(body))
    async with room.checking:
        return await asyncio.to_thread(lambda: check(decode(body)))


def decode(body: bytes) -> Any:
    """JSON in UTF-8, of a bounded number of entries; the Refusal says where it breaks off."""
    if entries(body) > MOST_ENTRIES:
        raise bad_request([fault("", texts.BODY_TOO_MANY_ENTRIES(most=MOST_ENTRIES))])
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        text = texts.BODY_NOT_UNICODE()
    except RecursionError:
        text = texts.BODY_TOO_DEEP()
    except msgspec.DecodeError as why:
        text = _text(str(why), body)
    raise bad_request([fault("", text)])


def entries(body: bytes) -> int:
    """How many values a body has at most, without looking at any; of texts, commas count too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _text(why: str, body: bytes) -> Text:
    if not body:
        return texts.BODY_EMPTY()
    if why == "Input data was truncated":
        return texts.BODY_ENDS_EARLY(length=len(body))
    return texts.BODY_NOT_JSON(why=why)


async def _read(request: web.Request, within: float, take: Callable[[int], None]) -> bytes:
    if (request.content_length or 0) > LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(LIMIT_BYTES)
    body = bytearray()
    try:
        async with asyncio.timeout(within):
            async for part in request.content.iter_any():
                take(len(part))
                body += part
                if len(body) > LIMIT_BYTES:
                    raise web.HTTPRequestEntityTooLarge(LIMIT_BYTES)
    except TimeoutError:
        raise Refusal(
            HTTPStatus.REQUEST_TIMEOUT,
            texts.REQUEST_TOO_SLOW(seconds=within),
            headers={"Connection": "close"},
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise bad_request([fault("", texts.BODY_BROKEN())]) from None
    return bytes(body)


def _check_type(request: web.Request) -> None:
    """Demand JSON, said so.

    A missing type is refused, too: a page of another site can make a browser send a body without
    one, but not with ``application/json`` unless we allowed it.
    """
    given = request.headers.get("Content-Type")
    if given is None or request.content_type != JSON or not _is_utf8(request.charset):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            texts.REQUEST_NOT_JSON_TYPE(type=JSON),
            headers={"Accept": JSON},
        )


def _is_utf8(charset: str | None) -> bool:
    return charset is None or charset.lower().replace("-", "") in {"utf8", "usascii"}
