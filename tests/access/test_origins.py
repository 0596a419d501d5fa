from __future__ import annotations

import pytest

from coordinator.access.origins import is_foreign, is_stranger, origin_of

pytestmark = pytest.mark.pure
OWN = "https://ips.example"


@pytest.mark.parametrize(
    ("site", "origin", "host", "foreign"),
    [
        (None, None, "ips.example", False),  # a program
        ("same-origin", OWN, "ips.example", False),
        ("none", None, "ips.example", False),
        ("same-origin", None, None, False),
        ("same-site", OWN, "ips.example", True),
        ("cross-site", None, "ips.example", True),
        ("anything new", None, "ips.example", True),
        (None, "https://evil.example", "ips.example", True),
        (None, "null", "ips.example", True),
        (None, "http://localhost:8080", "localhost:8080", False),
        (None, "http://LOCALHOST:8080", "localhost:8080", False),
        (None, "http://localhost:8081", "localhost:8080", True),
        (None, OWN, "inner:8080", False),  # behind a proxy that renames the host
        (None, f"{OWN}.evil.example", "inner:8080", True),
        (None, "https://evil.example", None, True),
    ],
)
def test_a_page_of_another_site_is_known(
    site: str | None, origin: str | None, host: str | None, foreign: bool
) -> None:
    """By what browsers say and no page can change."""
    assert is_foreign(site, origin, host, OWN) is foreign


@pytest.mark.parametrize(
    ("host", "strange"),
    [
        ("localhost", False),
        ("localhost:8080", False),
        ("LocalHost.:8080", False),
        ("a.localhost:1", False),
        ("127.0.0.1:8080", False),
        ("[::1]:8080", False),
        ("192.0.2.7", False),
        ("ips.example", False),
        ("IPS.example", False),
        ("evil.example", True),
        ("localhost.evil.example", True),
        ("ips.example.evil", True),
        ("[::1", True),
        ("", True),
        (None, False),
    ],
)
def test_a_name_that_was_made_to_point_here_is_known(host: str | None, strange: bool) -> None:
    """Addresses and this machine's own name are none."""
    assert is_stranger(host, OWN) is strange


def test_without_a_public_address_no_other_name_is_known() -> None:
    """Only loopback's own."""
    assert is_stranger("ips.example", None)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://ips.example/", "https://ips.example"),
        ("https://IPS.example:443", "https://ips.example"),
        ("http://ips.example:80", "http://ips.example"),
        ("http://ips.example:8080", "http://ips.example:8080"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    """Without the port that goes without saying."""
    assert origin_of(url) == origin
