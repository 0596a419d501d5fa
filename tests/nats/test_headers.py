from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus.headers import decode, encode

pytestmark = pytest.mark.pure

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30).map(str.strip)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    """Colons and spaces in values, and every language."""
    assert decode(encode(headers)) == headers


@given(st.binary(max_size=200))
def test_nothing_from_the_network_is_fatal(block: bytes) -> None:
    """Whatever the bytes, there is an answer."""
    decode(block)


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503", "Description": ""}),
        (
            b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 5\r\n\r\n",
            {"Nats-Pending-Messages": "5", "Status": "408", "Description": "Request Timeout"},
        ),
    ],
)
def test_the_servers_own_status_is_a_header(block: bytes, headers: dict[str, str]) -> None:
    """It stands in the first line."""
    assert decode(block) == headers


@pytest.mark.parametrize("headers", [{"A": "b\r\nC: d"}, {"A\n": "b"}])
def test_nothing_can_be_smuggled_in(headers: dict[str, str]) -> None:
    """A line break would begin another header, or the payload."""
    with pytest.raises(ValueError, match="line break"):
        encode(headers)
