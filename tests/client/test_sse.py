"""Streams are read as the HTML standard says, however they are cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ips_client.sse import Frame, Parser

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        (b"event: a\nid: 7\ndata: {}\n\n", [Frame("a", "{}", "7")]),
        (b"data: x\n\n", [Frame("message", "x", None)]),
        (b"data:x\ndata: y\ndata:\n\n", [Frame("message", "x\ny\n", None)]),
        (b": comment\n\n", []),
        (b"event: a\n\ndata: x\n\n", [Frame("message", "x", None)]),
        (
            b"id: 1\ndata: x\n\ndata: y\n\n",
            [Frame("message", "x", "1"), Frame("message", "y", "1")],
        ),
        (b"id: 1\n\ndata: y\n\n", [Frame("message", "y", "1")]),
        (b"id: a\0b\ndata: y\n\n", [Frame("message", "y", None)]),
        (b"retry: 10\ndata\n\n", [Frame("message", "", None)]),
        (b"event: a\r\ndata: x\r\n\r\n", [Frame("a", "x", None)]),
        (b"\xef\xbb\xbfdata: x\n\n", [Frame("message", "x", None)]),
        (b"data: \xc3\xa4\n\n", [Frame("message", "ä", None)]),
        (b"data: cut off", []),
        (b"data: cut off\n", []),
    ],
)
def test_frames(stream: bytes, frames: list[Frame]) -> None:
    """Whole at once, and byte by byte."""
    assert Parser().feed(stream) == frames
    parser = Parser()
    assert [frame for byte in stream for frame in parser.feed(bytes([byte]))] == frames


def test_a_position_counts_when_its_frame_is_whole() -> None:
    """What is cut off before its empty line is asked for again."""
    parser = Parser("3")
    parser.feed(b"id: 4\ndata: x\n\nid: 5\ndata: y\n")
    assert parser.position == "4"


PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"data: x", b"data:", b"event: a", b"id: 1", b"id", b": c", b"\xc3\xa4", b"\r"]
)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.data())
def test_cuts_make_no_difference(stream: bytes, data: st.DataObject) -> None:
    """However a stream is cut, its frames are the same."""
    at = data.draw(st.integers(0, len(stream)))
    parser = Parser()
    assert [*parser.feed(stream[:at]), *parser.feed(stream[at:])] == Parser().feed(stream)
