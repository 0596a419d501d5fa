"""Bodies of requests: what type and size they may have, and their JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from common import texts
from common.texts import Text
from coordinator.api.answers import JSON
from coordinator.api.faults import fault
from coordinator.api.problems import LIMIT_BYTES, Refusal, bad_request


async def read_json(request: web.Request) -> Any:
    """The decoded body of a request that must have one. Refuses with 400, 413 or 415."""
    body = await _read(request)
    _check_type(request)
    return decode(body)


async def read_json_if_any(request: web.Request) -> Any:
    """As ``read_json``, but an absent or empty body, whatever its type, is an empty object."""
    body = await _read(request)
    if not body:
        return {}
    _check_type(request)
    return decode(body)


def decode(body: bytes) -> Any:
    """JSON in UTF-8; the Refusal says where it breaks off."""
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        text = texts.BODY_NOT_UNICODE()
    except RecursionError:
        text = texts.BODY_TOO_DEEP()
    except msgspec.DecodeError as why:
        text = _text(str(why), body)
    raise bad_request([fault("", text)])


def _text(why: str, body: bytes) -> Text:
    if not body:
        return texts.BODY_EMPTY()
    if why == "Input data was truncated":
        return texts.BODY_ENDS_EARLY(length=len(body))
    return texts.BODY_NOT_JSON(why=why)


async def _read(request: web.Request) -> bytes:
    if (request.content_length or 0) > LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(LIMIT_BYTES)
    try:
        body = await request.read()
    except (web.RequestPayloadError, ConnectionError):
        raise bad_request([fault("", texts.BODY_BROKEN())]) from None
    if len(body) > LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(LIMIT_BYTES)
    return body


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
