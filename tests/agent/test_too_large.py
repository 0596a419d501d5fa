"""What is too large to be sent is cut, and stays true about the state of every image."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.heartbeat import fitting as fitting_heartbeat
from agent.outbox import fitting
from agent.progress import messages_of
from common.messages import (
    MOST_HOLDS,
    MOST_IMAGES,
    MOST_LABELS,
    MOST_PULLS,
    AttemptProgress,
    Heartbeat,
    Hold,
    ImageOutcome,
    ImageProgress,
    ImageState,
    Outcome,
    Progress,
)
from common.reasons import Reason
from common.subjects import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.pure

TASK = "task-20260116-151234-a1b2c3d4"
LETTERS = st.sampled_from(["x", "\x00", "\U0001f600", '"'])


@given(
    letter=LETTERS,
    length=st.integers(1, 1000),
    message=st.integers(0, 8192),
    images=st.integers(1, MOST_IMAGES),
)
def test_an_outcome(letter: str, length: int, message: int, images: int) -> None:
    """It fits; no image changes its state or its reason, unless its very name does not fit."""
    outcome = Outcome(
        images=[
            ImageOutcome(
                image=f"{number}{letter * length}",
                state=ImageState.FAILED if number % 2 else ImageState.PULLED,
                reason=Reason.RATE_LIMITED if number % 2 else None,
                message=letter * message,
                digest="d" * 256,
            )
            for number in range(images)
        ],
        instance="0123456789abcdef",
    )
    payload, is_cut = fitting(outcome)
    sent = msgspec.json.decode(payload, type=Outcome)
    assert len(payload) <= MAX_MESSAGE_BYTES
    assert is_cut or sent == outcome
    if sent.images:
        assert [(i.image, i.state, i.reason) for i in sent.images] == [
            (i.image, i.state, i.reason) for i in outcome.images
        ]
    else:
        assert sent.reason is Reason.UNKNOWN
        assert images * length * 6 > MAX_MESSAGE_BYTES // 2


@given(letter=LETTERS, length=st.integers(1, 1000), images=st.integers(1, MOST_IMAGES))
def test_progress(letter: str, length: int, images: int) -> None:
    """Nothing of it is left out: it comes in several messages."""
    reports = [
        AttemptProgress(
            task=TASK,
            attempt=attempt,
            images=[
                ImageProgress(image=f"{number}{letter * length}", state=ImageState.PULLING)
                for number in range(images)
            ],
        )
        for attempt in (1, 2)
    ]
    messages = list(messages_of(reports))
    assert max(map(len, messages)) <= MAX_MESSAGE_BYTES
    parts = [part for m in messages for part in msgspec.json.decode(m, type=Progress).attempts]
    for report in reports:
        said = [i for part in parts if part.attempt == report.attempt for i in part.images]
        assert said == report.images


@pytest.mark.parametrize("letter", ["x", "\x00"])
def test_a_heartbeat(letter: str) -> None:
    """The most that an agent can hold fits, whatever it pulls; what it holds is always said."""
    heartbeat = Heartbeat(
        agent_version="1" * 256,
        driver="cri",
        labels={f"{'k' * 313}{number:04}": "v" * 63 for number in range(MOST_LABELS)},
        pulling=[f"{number}{letter * 1270}" for number in range(MOST_PULLS)],
        holds=[Hold(task=TASK, attempt=999_999_999, seconds=999_999_999.999)] * MOST_HOLDS,
    )
    payload = fitting_heartbeat(heartbeat)
    assert len(payload) <= MAX_MESSAGE_BYTES
    assert msgspec.json.decode(payload, type=Heartbeat).holds == heartbeat.holds
