from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.reasons import MESSAGE_LIMIT, Reason, clip

RETRY_MAKES_SENSE = {
    "ImageNotFound": False,
    "Unauthorized": False,
    "InvalidReference": False,
    "PlatformMismatch": False,
    "UnsupportedImage": False,
    "TLSError": False,
    "RegistryUnreachable": True,
    "RegistryError": True,
    "RateLimited": True,
    "CorruptImage": True,
    "DiskFull": True,
    "Timeout": True,
    "Stalled": True,
    "RuntimeUnavailable": True,
    "AgentUnavailable": True,
    "AgentLost": True,
    "Unknown": True,
    "Cancelled": False,
}
"""The public table of reasons."""


def test_table() -> None:
    """The reasons and what may be retried are what users were told."""
    assert {reason.value: reason.retry_makes_sense for reason in Reason} == RETRY_MAKES_SENSE


@given(st.text(max_size=1000))
def test_clip(text: str) -> None:
    """A message is one line of at most 300 characters, and clipping it again changes nothing."""
    clipped = clip(text)
    assert len(clipped) <= MESSAGE_LIMIT == 300
    assert clipped == clipped.strip()
    assert len(clipped.splitlines()) <= 1
    assert clip(clipped) == clipped


def test_clip_keeps_what_fits() -> None:
    """Text within the limit is kept word for word; a cut one says so."""
    assert clip("a" * 300) == "a" * 300
    assert clip("a" * 301) == "a" * 299 + "…"
    assert clip(" failed\n\tto pull ") == "failed to pull"


@pytest.mark.parametrize("padding", [0, 250, 280, 295])
def test_clip_hides_credentials(padding: int) -> None:
    """No part of a password travels, even where the cut goes through it."""
    text = "x" * padding + ' Get "https://user:s3cret@registry.example/v2/?token=s3cret": EOF'
    assert "s3c" not in clip(text)
