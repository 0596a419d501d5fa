"""What an agent says of a pull, as the API shows it."""

from __future__ import annotations

import pytest
from msgspec import UNSET, UnsetType

from common.messages import MOST_BYTES, ImageOutcome, ImageState
from coordinator.core.node_run import NodeRun
from coordinator.documents import encode
from coordinator.snapshots import NodePast
from coordinator.views.images import node_task
from tests.core.stage import head

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("size", "seconds", "speed"),
    [
        (3_000, 2.0, 1_500),
        (0, 2.0, 0),
        (MOST_BYTES, 1e-300, UNSET),
        (MOST_BYTES, 1e-9, UNSET),
        (MOST_BYTES, 5e-324, UNSET),
        (3_000, 0.0, UNSET),
        (3_000, None, UNSET),
        (None, 2.0, UNSET),
    ],
)
def test_a_speed_is_a_number_or_none(
    size: int | None, seconds: float | None, speed: int | UnsetType
) -> None:
    """Whatever an agent has measured, the node's past can be shown."""
    node = NodeRun("n1", 0, 1)
    pulled = ImageOutcome(image="a", state=ImageState.PULLED, seconds=seconds, bytes=size)
    node.images["a"] = pulled
    document = node_task(NodePast(head("task-20260101-000000-00000001"), node))
    assert document.bytes_per_second == speed
    assert encode(document)
