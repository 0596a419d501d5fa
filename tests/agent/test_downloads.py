"""The bytes of one pull, from what a content store says of blobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.downloads import Download
from agent.runtime.protocol import Bytes

pytestmark = pytest.mark.pure

SIZES = {"manifest": 10, "config": 20, "a": 100, "b": 200}


def download() -> Download:
    """Know what an image consists of."""
    made = Download()
    made.expect(SIZES)
    return made


def test_nothing_is_known_before_the_manifest() -> None:
    """What is complete by then counts as soon as it is known for what it is."""
    unknown = Download()
    unknown.see(["manifest", "a"], {"b": 50})
    assert not unknown.is_known
    unknown.expect(SIZES)
    unknown.see(["manifest", "a"], {"b": 50})
    assert unknown.bytes == Bytes(160, 330)


def test_blobs_of_other_images_do_not_count() -> None:
    """The content store speaks of all downloads of the node."""
    made = download()
    made.see(["other"], {"another": 5})
    assert made.bytes == Bytes(0, 330)


def test_a_blob_that_begins_anew_is_no_step_back() -> None:
    """A failed layer starts from 0; a complete one leaves the list of the unfinished."""
    made = download()
    made.see([], {"b": 150})
    made.see([], {"b": 0})
    made.see([], {})
    assert made.bytes == Bytes(150, 330)


OBSERVATIONS = st.lists(
    st.tuples(
        st.sets(st.sampled_from([*SIZES, "other"])),
        st.dictionaries(st.sampled_from([*SIZES, "other"]), st.integers(0, 10**6)),
    )
)


@given(OBSERVATIONS)
def test_bytes_never_fall_and_never_exceed_the_total(
    observations: list[tuple[set[str], dict[str, int]]],
) -> None:
    """Whatever is seen in whatever order."""
    made = download()
    before = 0
    for complete, offsets in observations:
        made.see(complete, offsets)
        assert before <= made.bytes.done <= 330
        before = made.bytes.done
    assert made.all_bytes == Bytes(330, 330)
