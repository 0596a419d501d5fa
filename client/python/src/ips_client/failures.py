"""What a library or the operating system says of a broken connection, in the core's words."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from ips_client.errors import UnexpectedAnswer
from ips_client.talk import LinkFailure

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (?P<status>\d+)")
_NESTED: Final = ("os_error", "certificate_error", "reason", "original_error")
"""Where aiohttp and urllib3 keep the error that theirs stands for."""
_PROXY_CREDENTIALS: Final = 407


def failure_of(error: BaseException) -> LinkFailure | UnexpectedAnswer:
    """The core's word for an error of ``urllib3``, ``aiohttp``, ``ssl`` or ``socket``."""
    inner = list(_nested(error))
    for each in inner:
        if (found := _known(each)) is not None:
            return found
    number = next(filter(None, map(_number, inner)), None)
    if number is None:
        return LinkFailure("the connection broke off within an answer")
    words = os.strerror(number)
    return LinkFailure(words[:1].lower() + words[1:])


def _known(error: BaseException) -> LinkFailure | UnexpectedAnswer | None:
    """What an error says by its kind."""
    # aiohttp's own are of ssl's kinds without what those know.
    if why := getattr(error, "verify_message", None):
        return LinkFailure(f"its certificate is not trusted ({why})", lasting=True)
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return _of_tls(error)
    if isinstance(error, socket.gaierror):
        return LinkFailure("there is no such host", lasting=error.errno == socket.EAI_NONAME)
    if found := _TUNNEL.search(str(error)):
        return refused_by_proxy(int(found["status"]))
    return UnexpectedAnswer("what answers does not speak HTTP") if _is_foreign(error) else None


def _of_tls(error: ssl.SSLError) -> LinkFailure:
    reason = (error.reason or "").replace("_", " ").lower()
    lasting = "alert" in reason or "wrong version" in reason  # one's own certificate, or no TLS
    return LinkFailure(f"no TLS connection ({reason or 'broken off'})", lasting=lasting)


def refused_by_proxy(status: int) -> LinkFailure:
    """A proxy did not connect."""
    return LinkFailure(f"the proxy answers {status}", lasting=status == _PROXY_CREDENTIALS)


def _is_foreign(error: BaseException) -> bool:
    if isinstance(error, http.client.RemoteDisconnected):
        return False
    kinds = (http.client.BadStatusLine, http.client.LineTooLong, http.client.UnknownProtocol)
    return isinstance(error, kinds)


def _number(error: BaseException) -> int:
    # asyncio writes texts of its own around the numbers, several where it tried several addresses.
    found = _ERRNO.search(str(error))
    if found:
        return int(found[1])
    number = (isinstance(error, OSError) and error.errno) or 0
    return number if number in errno.errorcode else 0


def _nested(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it stands for, the outermost first, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [getattr(each, name, None) for name in _NESTED]
        inner += [*each.args, each.__cause__, each.__context__]
        waiting += [found for found in inner if isinstance(found, BaseException)]
