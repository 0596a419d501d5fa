"""What manifests and configs say, whatever they say."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.image_parts import MOST_BYTES, bounded_size, read_chain, read_manifest

pytestmark = pytest.mark.pure


def manifest(*sizes: object) -> bytes:
    """Write a manifest of a config of 20 bytes and of layers."""
    layers = [{"digest": f"layer-{n}", "size": size} for n, size in enumerate(sizes)]
    return json.dumps({"config": {"digest": "config", "size": 20}, "layers": layers}).encode()


def test_what_an_image_consists_of() -> None:
    """Each blob once, its manifest and index too."""
    parts = read_manifest(manifest(100, 200), {"manifest": 10, "index": 5})
    assert parts is not None
    assert (parts.config, parts.layers) == ("config", ("layer-0", "layer-1"))
    assert parts.total == 335


@pytest.mark.parametrize("size", [-1, MOST_BYTES + 1, 2**53, 2**63 - 1, 10**400])
def test_a_size_that_cannot_be_is_unknown(size: int) -> None:
    """And so is what it would add up to; the other blobs keep theirs."""
    parts = read_manifest(manifest(100, size), {})
    assert parts is not None
    assert parts.total is None
    assert parts.sizes == {"config": 20, "layer-0": 100, "layer-1": 0}
    assert bounded_size(size) is None


def test_sums_have_a_bound() -> None:
    """Fifty images of a node come to less than 2^53, whatever their manifests say."""
    assert 50 * MOST_BYTES < 2**53
    parts = read_manifest(manifest(MOST_BYTES, MOST_BYTES), {})
    assert parts is not None
    assert parts.total is None


@pytest.mark.parametrize(
    "content",
    [
        manifest("100"),
        manifest(1.5),
        manifest(None),
        b"[]",
        b'{"config": {"digest": "' + b"x" * 300 + b'", "size": 1}, "layers": []}',
        b'{"config": {"digest": "\xe4", "size": 1}, "layers": []}',
        b'{"x":' + b"[" * 10_000,
    ],
)
def test_what_is_no_manifest_tells_nothing(content: bytes) -> None:
    """The pull will say what is wrong with it."""
    assert read_manifest(content, {}) is None
    assert read_chain(content) == ()


def test_chain_ids() -> None:
    """As the image specification defines them."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]}})
    second = hashlib.sha256(b"sha256:a sha256:b").hexdigest()
    assert read_chain(config.encode()) == ("sha256:a", f"sha256:{second}")


NAMES = st.sampled_from(["config", "layers", "size", "digest", "rootfs", "diff_ids"])
VALUES = st.recursive(
    st.none() | st.integers() | st.just("x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    """Never an error of another kind."""
    content = json.dumps(value).encode()
    read_manifest(content, {})
    read_chain(content)
