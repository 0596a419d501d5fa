"""A webhook's address is sent byte for byte: signatures are made over these bytes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.access.receivers import Receivers
from coordinator.documents import Document
from coordinator.engine.webhooks import Parcel, Webhooks, as_written, new_http_session

HERE = Receivers(loopback=True)
TASK = "task-20260101-000000-00000001"
UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PCHAR = [*UNRESERVED, *"!$&'()*+,;=", *":@"]
"""RFC 3986, 3.3; beside them a percent sign with two digits, of either case."""
ENCODED = ["%2F", "%2f", "%41", "%61", "%25", "%7E", "%C3%A9", "%c3%a9", "%00", "%20", "%3F", "%23"]


def text_of(*more: str) -> st.SearchStrategy[str]:
    """Any text of these characters and of those that any part may hold."""
    return st.lists(st.sampled_from([*PCHAR, *ENCODED, *more]), max_size=40).map("".join)


PATHS = st.just("") | text_of("/", "/../", "/./", "//").map("/{}".format)
QUERIES = st.none() | text_of("/", "?")
FRAGMENTS = st.none() | text_of("/", "?")


class Receiver:
    """A bare socket: it keeps the head of each request as it came, and says that all is well."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.port = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen on loopback."""
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield


async def nothing() -> Document:
    """What is told is made elsewhere."""
    raise AssertionError


async def head_of(rest: str) -> tuple[bytes, int]:
    """What is sent for an address with this after its authority, and the port it is sent to."""
    receiver = Receiver()
    async with receiver.listening(), new_http_session(HERE) as http:
        address = f"http://127.0.0.1:{receiver.port}{rest}"
        parcel = Parcel({}, address, "id", "id", 0.0, nothing)
        webhooks = Webhooks(http, time.time, random.Random(1), receivers=HERE)
        assert await webhooks._post(parcel, b"{}") is None
    (sent,) = receiver.heads
    return sent, receiver.port


@given(PATHS, QUERIES, FRAGMENTS)
@example("", None, None)
@example("", "", None)
@example("", "token=a", None)
@example("/", "", "")
@example("/hook", "", None)
@example("/hook", "sig=a%2Fb%2f+c%20d&x=%41&&y==", "secret")
@example("/a/../b/./c//", None, "")
@example("//two", "?", "/?")
@example("/" + "".join(PCHAR), "".join([*PCHAR, "/", "?"]), "".join(PCHAR))
@example("/" + "".join(ENCODED), "".join(ENCODED), None)
def test_every_byte_is_sent_as_it_is_written(
    path: str, query: str | None, fragment: str | None
) -> None:
    """Path and query, all of RFC 3986; never the fragment; an empty path is a slash."""
    rest = path + ("" if query is None else f"?{query}")
    sent, port = asyncio.run(head_of(rest + ("" if fragment is None else f"#{fragment}")))
    line, *fields = sent.decode("ascii").split("\r\n")
    assert line == f"POST {rest if path else f'/{rest}'} HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in fields


@pytest.mark.parametrize(
    ("address", "scheme", "host", "port"),
    [
        ("HTTPS://Hooks.Example", "https", "Hooks.Example", 443),
        ("http://user:p%40ss@h:8080?x", "http", "h", 8080),
        ("http://[2001:db8::1]:81/x", "http", "2001:db8::1", 81),
        ("http://h:/x", "http", "h", 80),
    ],
)
def test_where_an_address_leads(address: str, scheme: str, host: str, port: int) -> None:
    """What stands before the path is understood as ever."""
    url = as_written(address)
    assert (url.scheme, url.raw_host, url.port) == (scheme, host, port)


def test_credentials_are_a_header_as_ever() -> None:
    """HTTP has no place for them in what is asked for."""
    url = as_written("http://user:p%40ss@h/x")
    assert (url.user, url.password, url.raw_path_qs) == ("user", "p@ss", "/x")


@pytest.mark.parametrize("address", ["", "ftp://h/", "http:/h", "h/x"])
def test_what_is_no_address(address: str) -> None:
    """It is a failure of the delivery, without the address in its words."""
    with pytest.raises(ValueError, match=r"^no http or https address$"):
        as_written(address)
