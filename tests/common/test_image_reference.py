"""References are read as the distribution project's Go package reads them.

Names, digests and verdicts of the tables are those of its own tests (``normalize_test.go``,
``reference_test.go``) or were obtained from it.
"""

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

SHA256 = "sha256:" + "f" * 64
SHA384 = "sha384:" + "0" * 96
SHA512 = "sha512:" + "a" * 128
ID = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # Docker's short names
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/user/x", "docker.io/user/x:latest"),
        ("user/x", "docker.io/user/x:latest"),
        ("library/foo/bar", "docker.io/library/foo/bar:latest"),
        ("docker.io/library/redis:7", "docker.io/library/redis:7"),
        # what looks like a host and, alone, is a name
        ("localhost", "docker.io/library/localhost:latest"),
        ("192.168.0.1", "docker.io/library/192.168.0.1:latest"),
        ("test.com:5000", "docker.io/library/test.com:5000"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("test_com/foo", "docker.io/test_com/foo:latest"),
        # registries
        ("localhost/x", "localhost/x:latest"),
        ("LOCALDOMAIN/x", "LOCALDOMAIN/x:latest"),
        ("Docker/docker", "Docker/docker:latest"),
        ("test:5000/repo", "test:5000/repo:latest"),
        ("test:5000/repo:tag", "test:5000/repo:tag"),
        ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/repo:tag", "[2001:db8::1]/repo:tag"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        # tags and digests
        ("x:Upper_Case-1.0", "docker.io/library/x:Upper_Case-1.0"),
        ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128),
        (f"x@{SHA256}", f"docker.io/library/x@{SHA256}"),
        (f"x@{SHA384}", f"docker.io/library/x@{SHA384}"),
        (f"x@{SHA512}", f"docker.io/library/x@{SHA512}"),
        (f"x:1@{SHA256}", f"docker.io/library/x:1@{SHA256}"),
        (f"test:5000/repo:tag@{SHA256}", f"test:5000/repo:tag@{SHA256}"),
        # names
        ("dock__er/docker", "docker.io/dock__er/docker:latest"),
        ("docker---rules/docker", "docker.io/docker---rules/docker:latest"),
        (f"docker.io/{ID}", f"docker.io/library/{ID}:latest"),
        (ID[:-1], f"docker.io/library/{ID[:-1]}:latest"),
        ("a/" * 127 + "a", "docker.io/" + "a/" * 127 + "a:latest"),
        ("example.com/" + "a" * 255 + ":tag", "example.com/" + "a" * 255 + ":tag"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    """Every spelling of an image leads to one full name."""
    assert ImageReference.parse(text).canonical == canonical


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        (" ", "white space"),
        ("nginx ", "white space"),
        ("ng\ninx", "white space"),
        ("nginx\u00a0:1", "white space"),
        ("https://github.com/docker/docker", "scheme"),
        (ID, "image id"),
        # registries
        ("foo:tag/x", "is no registry"),
        ("host:/x", "is no registry"),
        ("fc00::1:5000/debian", "is no registry"),
        ("[fe80::1%eth0]:5000/debian", "is no registry"),
        ("[2001:db8:3:4::192.0.2.33]:5000/debian", "is no registry"),
        ("-docker.io/docker/docker", "is no registry"),
        ("my_host.example/x", "is no registry"),
        # names
        (":justtag", "name is missing"),
        (f"@{SHA256}", "name is missing"),
        ("docker.io/", "name is missing"),
        ("library/", "name is missing"),
        ("test.com/", "name is missing"),
        ("[fc00::1]", "not allowed"),
        ("[fc00::1]:5000", "not allowed"),
        ("Uppercase:tag", "must be lower case"),
        ("docker/Docker", "must be lower case"),
        ("test:5000/Uppercase/lowercase:tag", "must be lower case"),
        ("docker/", "empty part"),
        ("docker///docker", "empty part"),
        ("docker.io//docker", "empty part"),
        ("-docker", "not allowed"),
        ("docker-/docker", "not allowed"),
        ("_docker/_docker", "not allowed"),
        ("dock..er/docker", "is no registry"),
        ("dock_.er/docker", "is no registry"),
        ("docker/dock..er", "not allowed"),
        ("docker/dock_.er", "not allowed"),
        ("a___b", "not allowed"),
        ("aa/asdf$$^/aa", "not allowed"),
        ("caf\u00e9", "not allowed"),
        ("example.com/" + "a" * 256, "256 characters, more than 255"),
        ("a" * 248, "256 characters, more than 255"),
        # tags
        ("nginx:", "is no tag"),
        ("nginx:-x", "is no tag"),
        ("nginx:.x", "is no tag"),
        ("nginx:a:b", "is no tag"),
        ("nginx:" + "t" * 129, "is no tag"),
        ("nginx:a/b", "is no registry"),
        (f"nginx:@{SHA256}", "is no tag"),
        # digests
        ("nginx@", "must begin with one of sha256:, sha384:, sha512:"),
        ("nginx@sha256", "has 0 digits; sha256 has 64"),
        ("nginx@md5:" + "f" * 32, "must begin with one of"),
        ("nginx@sha256:" + "f" * 63, "has 63 digits; sha256 has 64"),
        ("nginx@sha512:" + "f" * 64, "has 64 digits; sha512 has 128"),
        ("nginx@sha256:" + "F" * 64, "lower-case hexadecimal"),
        ("nginx@sha256:" + "g" * 64, "lower-case hexadecimal"),
        (f"nginx@{SHA256}@{SHA256}", "lower-case hexadecimal"),
    ],
)
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
