from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.redaction import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://user:s3cret@host:4222", "nats://***@host:4222"),
        ("nats://a:b@h1,nats://c:d@h2", "nats://***@h1,nats://***@h2"),
        ("nats://user:s3@cret@host", "nats://***@host"),
        ("nats://token@host", "nats://***@host"),
        ("https://user:s3cret?@host/v2/", "https://***@host/v2/"),
        (
            'Get "https://cdn.example/blobs/a?X-Amz-Signature=s3cret&b=1": EOF',
            'Get "https://cdn.example/blobs/a?***": EOF',
        ),
        ("http://u:p@h/x?token=s3cret", "http://***@h/x?***"),
    ],
)
def test_hidden(text: str, shown: str) -> None:
    """User information and queries of URLs are hidden, and all else stays."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user@host",
        "docker.io/library/nginx@sha256:0a",
        "https://registry.example/v2/library/nginx/manifests/latest",
        "why? because",
        'dial "https://registry.example": someone@example.org',
    ],
)
def test_untouched(text: str) -> None:
    """Text without credentials stays as it is."""
    assert redact(text) == text


@given(st.lists(st.sampled_from(["://", "http", "@", "?", ":", "/", " ", "a"])).map("".join))
@example("http://" * 50_000)
@example("http://a" + "?" * 100_000)
def test_again(text: str) -> None:
    """Hiding twice hides nothing more."""
    assert redact(redact(text)) == redact(text)
