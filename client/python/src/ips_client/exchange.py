"""HTTP/1.1, told in instructions: a request goes out, a whole answer or an open stream comes back.

The protocol itself is h11's. A connection is kept for the next call when both sides allow it; one
that turns out to have been closed meanwhile is replaced at once: every request may be sent again.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import h11

from ips_client.answers import EVENT_STREAM, Answer
from ips_client.errors import UnexpectedAnswer
from ips_client.requests import Request
from ips_client.session import Session, Wire
from ips_client.talk import Connect, LinkFailure, Silence, Talk, Write, read


def exchange(session: Session, request: Request, within: float) -> Talk[Answer]:
    """Send a request and read its whole answer. Raises LinkFailure and UnexpectedAnswer."""
    begun = yield from _begin(session, request, within)
    return (yield from _finish(session, begun, within))


def open_stream(session: Session, request: Request, within: float) -> Talk[Answer | Stream]:
    """Send a request and stay on the line if events come; anything else is a whole answer."""
    begun = yield from _begin(session, request, within)
    answer = begun.answer
    if answer.status == HTTPStatus.OK and answer.media_type == EVENT_STREAM:
        return Stream(begun.wire)
    return (yield from _finish(session, begun, within))


class Stream:
    """An open event stream. Close it, whatever happens."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def read(self, within: float) -> Talk[bytes | None]:
        """What it has brought; see ``talk.Read``. Comments are bytes, too."""
        http = self._wire.http
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError:
                return b""  # cut off in the middle of a chunk
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                return b""
            data = yield from read(self._wire.link, within)
            if data is None:
                return None
            http.receive_data(data)

    def close(self) -> None:
        """Hang up."""
        self._wire.link.close()


class _Begun(NamedTuple):
    """An answer whose body has not been read yet."""

    wire: Wire
    answer: Answer


def _begin(session: Session, request: Request, within: float) -> Talk[_Begun]:
    while True:
        try:
            wire = session.idle.pop()
        except IndexError:
            break
        try:
            return (yield from _ask(session, wire, request, within))
        except Silence:
            raise
        except LinkFailure:
            continue
    link = yield Connect(session.server.address, within)
    wire = Wire(link, h11.Connection(h11.CLIENT))
    return (yield from _ask(session, wire, request, within))


def _ask(session: Session, wire: Wire, request: Request, within: float) -> Talk[_Begun]:
    try:
        yield Write(wire.link, _encoded(wire.http, session, request), within)
        head = yield from _next(wire, within)
        while isinstance(head, h11.InformationalResponse):
            head = yield from _next(wire, within)
    except BaseException:
        wire.link.close()
        raise
    if not isinstance(head, h11.Response):
        wire.link.close()
        raise LinkFailure("the server closed the connection without an answer")
    url = session.server.url + request.target
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return _Begun(wire, Answer(url, head.status_code, headers, b""))


def _finish(session: Session, begun: _Begun, within: float) -> Talk[Answer]:
    wire, parts = begun.wire, []
    try:
        while isinstance(event := (yield from _next(wire, within)), h11.Data):
            parts.append(bytes(event.data))
    except BaseException:
        wire.link.close()
        raise
    if wire.http.our_state is wire.http.their_state is h11.DONE:
        wire.http.start_next_cycle()
        session.keep(wire)
    else:
        wire.link.close()
    return begun.answer._replace(body=b"".join(parts))


def _next(wire: Wire, within: float) -> Talk[object]:
    """The next event. Raises LinkFailure where the connection ends before there is one."""
    data: bytes | None = b"-"
    is_begin = wire.http.their_state is h11.SEND_RESPONSE
    try:
        while (event := wire.http.next_event()) is h11.NEED_DATA:
            data = yield from read(wire.link, within)
            if data is None:
                raise Silence(f"no answer within {within:g} s")
            wire.http.receive_data(data)
    except h11.RemoteProtocolError:
        if not data and not (is_begin and _is_foreign(wire.http.trailing_data[0])):
            raise LinkFailure("the connection broke off within an answer") from None
        raise UnexpectedAnswer("what answers does not speak HTTP") from None
    return event


def _is_foreign(begin: bytes) -> bool:
    return not b"HTTP/".startswith(begin[:5])


def _encoded(http: h11.Connection, session: Session, request: Request) -> bytes:
    payload = request.payload
    headers = {"Accept": "application/json", **session.common_headers(), **request.headers}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
        headers["Content-Length"] = str(len(payload))
    target = session.server.prefix + request.target
    try:
        parts = [
            http.send(
                h11.Request(method=request.method, target=target, headers=[*headers.items()])
            ),
            http.send(h11.Data(data=payload)),
            http.send(h11.EndOfMessage()),
        ]
    except h11.LocalProtocolError as why:
        raise ValueError(f"this cannot be sent: {why}") from None
    return b"".join(part or b"" for part in parts)
