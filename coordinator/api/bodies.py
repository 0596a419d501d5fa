"""Bodies of requests: what type and size they may have, and their JSON."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from coordinator.api.answers import JSON
from coordinator.api.problems import Refusal, bad_request
from coordinator.documents import Fault

LIMIT_BYTES: Final = 3 * 1024 * 1024


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
        message = "a text in the body is not UTF-8"
    except RecursionError:
        message = "the body is nested too deeply"
    except msgspec.DecodeError as why:
        message = _words(str(why), body)
    raise bad_request([Fault(field="", message=message)])


def _words(why: str, body: bytes) -> str:
    if not body:
        return "the body is empty; it must be a JSON object"
    if why == "Input data was truncated":
        return f"JSON ends too early (byte {len(body)})"
    return why


async def _read(request: web.Request) -> bytes:
    if (request.content_length or 0) > LIMIT_BYTES:
        raise web.HTTPRequestEntityTooLarge(LIMIT_BYTES)
    try:
        body = await request.read()
    except (web.RequestPayloadError, ConnectionError):
        message = "the body does not arrive as its headers say"
        raise bad_request([Fault(field="", message=message)]) from None
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
            f"The body must be sent as Content-Type: {JSON}, in UTF-8.",
            headers={"Accept": JSON},
        )


def _is_utf8(charset: str | None) -> bool:
    return charset is None or charset.lower().replace("-", "") in {"utf8", "usascii"}
