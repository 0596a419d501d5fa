"""References are read as the distribution project's Go package reads them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.image_reference import (
    REPOSITORY_LIMIT,
    ImageReference,
    InvalidReference,
    familiar,
)
from tests.fixtures.image_references import CANONICAL, ID, REFUSED, SHA256, SHA384, SHA512


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_canonical_form(text: str, canonical: str) -> None:
    """Every spelling of an image leads to one full name."""
    assert ImageReference.parse(text).canonical == canonical


@pytest.mark.parametrize(("text", "fault"), REFUSED)
def test_faults(text: str, fault: str) -> None:
    """What is wrong with a text is said in words."""
    with pytest.raises(InvalidReference) as caught:
        ImageReference.parse(text)
    assert fault in str(caught.value)


def test_message() -> None:
    """A message is short and printable, whatever was sent."""
    with pytest.raises(InvalidReference) as caught:
        ImageReference.parse("a/\x1b[31m" + "x" * 100_000)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_parts() -> None:
    """A full reference comes apart into registry, repository, tag and digest."""
    assert ImageReference.parse(f"[::1]:5000/team/app:1.0@{SHA256}") == ImageReference(
        registry="[::1]:5000", repository="team/app", tag="1.0", digest=SHA256
    )


def test_digest_alone() -> None:
    """No tag is made up beside a digest."""
    assert ImageReference.parse(f"nginx@{SHA256}").tag is None


@pytest.mark.parametrize(
    ("text", "runtime_form"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        (f"nginx@{SHA256}", f"docker.io/library/nginx@{SHA256}"),
        (f"nginx:1@{SHA256}", f"docker.io/library/nginx@{SHA256}"),
    ],
)
def test_runtime_form(text: str, runtime_form: str) -> None:
    """A runtime is never given a tag beside a digest."""
    assert ImageReference.parse(text).runtime_form == runtime_form


# ── properties ───────────────────────────────────────────────────────────────────────────────

LABEL = st.sampled_from(["a", "Z", "0", "reg-1", "xn--n3h", "EXAMPLE", "com"])
WORD = st.sampled_from(["a", "0", "app", "x86", "library", "nginx"])
SEPARATOR = st.sampled_from([".", "_", "__", "-", "---"])
PART = st.one_of(WORD, st.tuples(WORD, SEPARATOR, WORD).map("".join))
PORT = st.sampled_from(["", ":1", ":5000"])
HOST = st.one_of(
    st.lists(LABEL, min_size=2, max_size=3).map(".".join),
    st.sampled_from(["localhost", "[::1]", "[2001:db8::1]", "127.0.0.1"]),
)
REGISTRY = st.tuples(HOST, PORT).map("".join)
REPOSITORY = st.lists(PART, min_size=1, max_size=4).map("/".join)
TAG = st.sampled_from(["latest", "1.27-alpine", "_", "A__b.C-", "t" * 128])
DIGEST = st.sampled_from([SHA256, SHA384, SHA512])
FULL = st.one_of(
    st.builds(ImageReference, REGISTRY, REPOSITORY, TAG, st.none() | DIGEST),
    st.builds(ImageReference, REGISTRY, REPOSITORY, st.none(), DIGEST),
)
ON_THE_HUB = st.builds(ImageReference, st.just("docker.io"), REPOSITORY, TAG)
NEARLY = st.lists(
    st.sampled_from(
        [
            *"/:@._-[]A a0é\n",
            "docker.io",
            "index.docker.io",
            "localhost",
            "library",
            "5000",
            "sha256",
            SHA256,
            ID,
        ]
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(
    ("canonical", "short"),
    [
        ("docker.io/library/redis:7", "redis:7"),
        ("docker.io/library/redis:latest", "redis:latest"),
        ("docker.io/a/b:1", "a/b:1"),
        ("docker.io/a/b/c:1", "a/b/c:1"),
        (f"docker.io/library/redis@{SHA256}", f"redis@{SHA256}"),
        (f"docker.io/a/b:1@{SHA256}", f"a/b:1@{SHA256}"),
        # one part alone is always a name, whatever it looks like
        ("docker.io/library/localhost:1", "localhost:1"),
        ("docker.io/library/192.168.0.1:1", "192.168.0.1:1"),
        # "library" stays where more than one part follows, as in Docker
        ("docker.io/library/distros/ubuntu:1", "library/distros/ubuntu:1"),
        # the short form would name another registry
        ("docker.io/a.b/c:1", "docker.io/a.b/c:1"),
        ("docker.io/localhost/c:1", "docker.io/localhost/c:1"),
        # other registries
        ("ghcr.io/library/redis:7", "ghcr.io/library/redis:7"),
        ("localhost:5000/redis:7", "localhost:5000/redis:7"),
        (f"quay.io/a/b@{SHA512}", f"quay.io/a/b@{SHA512}"),
    ],
)
def test_familiar_form(canonical: str, short: str) -> None:
    """What Docker shows for an image, whichever way it is spelled."""
    assert ImageReference.parse(canonical).familiar == short
    assert familiar(short) == short


@pytest.mark.parametrize("text", ["", "a/Upper", "two words", "https://x"])
def test_no_reference_has_no_other_form(text: str) -> None:
    """A text that is no reference is shown as it came."""
    assert familiar(text) == text


@given(FULL)
def test_round_trip(reference: ImageReference) -> None:
    """A full reference is its own canonical form."""
    assert ImageReference.parse(reference.canonical) == reference


@given(st.one_of(FULL, ON_THE_HUB))
@example(ImageReference("docker.io", "a.b/c", "1"))
@example(ImageReference("docker.io", "localhost/c", "1"))
def test_the_familiar_form_names_the_same_image(reference: ImageReference) -> None:
    """Nothing is lost by it."""
    assert ImageReference.parse(reference.familiar) == ImageReference.parse(reference.canonical)


@given(st.one_of(st.text(), NEARLY))
@example("\ud800")
@example("a" * 100_000 + "/")
@example("-" * 100_000)
def test_any_text(text: str) -> None:
    """Any text is read or refused, and what is read stays the same when it is read again."""
    try:
        reference = ImageReference.parse(text)
    except InvalidReference:
        return
    assert ImageReference.parse(reference.canonical) == reference
    assert ImageReference.parse(reference.runtime_form).runtime_form == reference.runtime_form
    assert reference.registry
    assert len(reference.repository) <= REPOSITORY_LIMIT
    assert reference.tag or reference.digest
