"""What an answer stands for."""

from __future__ import annotations

import json

import pytest
from ips_client import errors, requests
from ips_client.answers import Answer, document, error
from ips_client.decoding import decode
from ips_client.documents import FailedImage, LiveAgents, Task
from ips_client.server import Server, Session

pytestmark = pytest.mark.pure

PROBLEM = "application/problem+json"


def answer(status: int, body: object = None, kind: str = PROBLEM, **headers: str) -> Answer:
    """Make an answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer("http://x/api/v1/tasks", status, {"content-type": kind, **headers}, content)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.Refused),
        (500, errors.ServerFault),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (504, errors.Unavailable),
    ],
)
def test_problems(status: int, kind: type[errors.Refused]) -> None:
    """One class for each kind, with the service's document."""
    problem = {"title": "T", "status": status, "detail": "D.", "extra": 1}
    found = error(answer(status, problem))
    assert type(found) is kind
    assert isinstance(found, errors.Refused)
    assert str(found) == "D."
    assert found.problem.document == problem


def test_faults() -> None:
    """A bad request names all of them."""
    faults = [{"field": "/images", "message": "m"}, {"field": "?limit", "message": "n"}]
    found = error(answer(400, {"title": "T", "errors": faults}))
    assert isinstance(found, errors.BadRequest)
    assert found.problem.errors == (errors.Fault("/images", "m"), errors.Fault("?limit", "n"))


def test_when_to_come_back() -> None:
    """Retry-After in seconds; a date is not looked at."""
    found = error(answer(503, {}, **{"retry-after": "2"}))
    assert isinstance(found, errors.Unavailable)
    assert found.retry_after == 2
    assert answer(503, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}).retry_after == 0


@pytest.mark.parametrize("status", [401, 403, 502, 503, 504])
def test_a_proxy_speaks(status: int) -> None:
    """What a gate before the service says counts by its status, in whatever form."""
    found = error(answer(status, b"<html>", "text/html"))
    assert isinstance(found, errors.Refused)
    assert found.problem.document == {}
    assert str(status) in str(found)


@pytest.mark.parametrize(
    "given",
    [
        answer(200, b"<html>", "text/html"),
        answer(404, b"<html>", "text/html"),
        answer(500, b"oops", "text/plain"),
        answer(302, b"", "text/html", location="https://x/login"),
        answer(200, b"{", "application/json"),
        answer(200, [1], "application/json"),
        answer(404, b"{", PROBLEM),
    ],
)
def test_something_else_answers(given: Answer) -> None:
    """Not this service."""
    with pytest.raises(errors.UnexpectedAnswer, match="http://x/api/v1/tasks"):
        document(given)


def test_a_document_that_is_not_as_agreed() -> None:
    """Names the place."""
    with pytest.raises(ValueError, match=r"`int` - at `\$\.status`"):
        decode(Task, {"taskId": "t", "status": 1})
    with pytest.raises(ValueError, match="missing required field `taskId`"):
        decode(Task, {})


@pytest.mark.parametrize("body", [b"[" * 10_000, b'{"x":' * 10_000, b"\xff"])
def test_hostile_bodies(body: bytes) -> None:
    """Are an answer of something else, whatever they hold."""
    with pytest.raises(errors.UnexpectedAnswer):
        document(answer(200, body, "application/json"))
    assert isinstance(error(answer(503, body)), errors.Unavailable)
    assert isinstance(error(answer(400, {"errors": "none"})), errors.BadRequest)


def test_documents_keep_what_they_came_from() -> None:
    """At every depth, with fields that this version does not know; equality does not look at it."""
    node = {"name": "a", "labels": {}, "schedulable": True, "connected": True, "new": 1}
    frame = decode(LiveAgents, {"nodes": [node], "gone": ["b"], "newer": 2})
    assert frame.document["newer"] == 2
    assert frame.nodes[0].document["new"] == 1
    assert frame == decode(LiveAgents, {"nodes": [{**node, "new": 3}], "gone": ["b"]})


def test_times_have_an_offset() -> None:
    """A time without one is not as agreed."""
    with pytest.raises(ValueError, match=r"\$\.timestamp"):
        decode(FailedImage, {"nodeName": "n", "reason": "r", "timestamp": "2026-01-01T00:00:00"})


# ── addresses ──


@pytest.mark.parametrize(
    ("text", "url", "address"),
    [
        ("http://localhost:8080", "http://localhost:8080", ("http", "localhost")),
        ("https://ips.example/", "https://ips.example", ("https", "ips.example")),
        ("ips.example:81", "http://ips.example:81", ("http", "ips.example")),
        ("http://[::1]:80/a/b/", "http://[::1]:80/a/b", ("http", "::1")),
        ("[::1]", "http://[::1]", ("http", "::1")),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080", ("http", "2001:db8::1")),
        ("https://me:s3cret@[::1]:1", "https://[::1]:1", ("https", "::1")),
        ("https://me:s3cret@h", "https://h", ("https", "h")),
    ],
)
def test_servers(text: str, url: str, address: tuple[str, str]) -> None:
    """Addresses as people write them; credentials are never shown."""
    server = Server.parse(text)
    assert server.url == url
    assert (server.scheme, server.hostname) == address
    assert "s3cret" not in repr(server)


@pytest.mark.parametrize(
    "text",
    ["::1", "::1:8080", "http://::1", "http://[::1", "http://x[::1]", "http://[::1]x", "http://[]"],
)
def test_an_ipv6_address_stands_in_brackets(text: str) -> None:
    """And nothing but a port follows them."""
    with pytest.raises(ValueError, match="no address"):
        Server.parse(text)


def test_credentials() -> None:
    """User and password become a header."""
    assert Server.parse("http://a%40b:c@h").authorization == "Basic YUBiOmM="


def test_a_token() -> None:
    """Is sent as a bearer's, asked for anew each time, and never shown."""
    request, tokens = requests.get_task("t"), iter(["one", "two"])
    session = Session(Server.parse("http://h"), token=lambda: next(tokens))
    assert session.headers_of(request)["Authorization"] == "Bearer one"
    assert session.headers_of(request)["Authorization"] == "Bearer two"
    session = Session(Server.parse("http://h"), token="s3cret\n")
    assert "s3cret" not in repr(session)
    with pytest.raises(ValueError, match="cannot be sent") as caught:
        session.headers_of(request)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match="leave one of them out"):
        Session(Server.parse("http://a:b@h"), token="s3cret")


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "http://", "http://u:pw@h:port", "http://h/?a=b", "http://h\n"]
)
def test_no_servers(text: str) -> None:
    """What is no address is refused, without a password in the words."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the words are below
        Server.parse(text)
    assert "pw" not in str(caught.value)
