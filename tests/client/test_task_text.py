"""Tables of what a task's nodes are doing."""

from __future__ import annotations

import pytest
from ips_client.command.task_text import node_table
from ips_client.documents import NodeImage, TaskNode

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("phase", "shown"),
    [(None, "pulling"), ("queued", "pulling (queued)"), ("one day", "pulling (one day)")],
)
def test_the_phase_stands_beside_the_state(phase: str | None, shown: str) -> None:
    """Where it is known, and also one that is newer than the command."""
    image = NodeImage(image="redis:7", state="pulling", phase=phase)
    node = TaskNode(node_name="n", state="pulling", batch=1, attempt=1, images=(image,))
    row = node_table([node])[1]
    assert f"redis:7  {shown}" in row
