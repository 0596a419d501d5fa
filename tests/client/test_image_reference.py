"""The client refuses no reference that the service takes, and names it as the service does."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ips_client.image_reference import canonical

from common.image_reference import ImageReference, InvalidReference

pytestmark = pytest.mark.pure

SHA256 = "sha256:" + "f" * 64
PIECES = st.lists(
    st.sampled_from(
        [*"/:@._-[]Aa0é", "docker.io", "index.docker.io", "localhost", "library", "5000", SHA256]
    ),
    max_size=8,
).map("".join)


@given(st.one_of(st.text(), PIECES))
@example("nginx")
@example("library/nginx")
@example("docker.io/nginx")
@example("index.docker.io/user/x")
@example("localhost/x")
@example("LOCALDOMAIN/x")
@example("192.168.0.1")
@example("test:5000/repo:tag")
@example("[2001:db8::1]:5000/repo")
@example(f"x:1@{SHA256}")
@example("a" * 256)
@example("example.com/" + "a" * 255)
@example("f" * 64)
@example(SHA256)
@example("sha512:" + "f" * 128)
@example("https://example.com/x")
def test_as_the_service(text: str) -> None:
    """Same verdict, same full name."""
    if re.fullmatch("(sha256:)?[0-9a-f]{64}", text):
        with pytest.raises(ValueError, match="image id"):
            canonical(text)
        return
    try:
        expected = ImageReference.parse(text).canonical
    except InvalidReference:
        with pytest.raises(ValueError):  # noqa: PT011 -- words differ
            canonical(text)
    else:
        assert canonical(text) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("a b", "whitespace"),
        ("http://x/y", "scheme"),
        ("f" * 64, "image id"),
        (SHA256, "image id"),
        ("Team/App", "capital"),
        ("a..b/c:1", "registry"),
        ("x:", "tag"),
        ("x@sha256:1", "digest"),
        ("a//b", "repository"),
        ("docker.io/", "no repository name"),
        ("{{ .x }}", "placeholder"),
    ],
)
def test_words(text: str, word: str) -> None:
    """What is wrong is said."""
    with pytest.raises(ValueError, match=word):
        canonical(text)
