"""What histories of the model world are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from common.messages import ImageOutcome, ImageState, Outcome
from common.reasons import Reason
from coordinator.core.scheduler import Limits
from coordinator.core.task import RetryStrategy, Rollout, TaskImage, TaskSpec

Option = TypeVar("Option")

SPECS = st.builds(
    lambda images, **fields: TaskSpec(
        images=images,
        work=tuple(TaskImage(name=name, reference=f"ref/{name}") for name in images),
        **fields,
    ),
    images=st.sampled_from([("a",), ("a", "b")]),
    batch_size=st.integers(1, 3),
    priority=st.sampled_from([1, 5, 5, 10]),
    max_retries=st.integers(0, 2),
    retry_strategy=st.sampled_from(RetryStrategy),
    retry_delay=st.sampled_from([1, 7, 20]),
    rollout=st.sampled_from(Rollout),
    max_failed_nodes=st.integers(0, 1),
    node_selector=st.sampled_from([{}, {}, {"zone": "a"}, {"zone": "mars"}]),
)
RESULTS = (None, None, Reason.REGISTRY_ERROR, Reason.TIMEOUT, Reason.IMAGE_NOT_FOUND)
"""What becomes of an image: None is success."""
FAULTS = (None, None, None, None, None, None, Reason.RUNTIME_UNAVAILABLE, Reason.CANCELLED)
"""What the node itself is to blame for."""
PICKS = st.integers(0, 2**16)
"""Which of several: much cheaper to draw than from what there is at the moment."""
LIMITS = st.builds(
    Limits,
    max_concurrent_tasks=st.integers(1, 3),
    max_nodes_in_flight=st.sampled_from([0, 0, 2, 3]),
    agent_wait=st.just(25.0),
    first_look=st.just(8.0),
)


def choose(options: Sequence[Option], pick: int) -> Option:
    """One of several."""
    return options[pick % len(options)]


def image_outcome(image: TaskImage, reason: Reason | None) -> ImageOutcome:
    """One image of an attempt."""
    state = ImageState.PULLED if reason is None else ImageState.FAILED
    return ImageOutcome(image=image.name, state=state, reason=reason)


def all_pulled(images: Iterable[TaskImage]) -> Outcome:
    """An attempt without a fault."""
    return Outcome(images=[image_outcome(image, None) for image in images])
