"""``kubectl apply -k deploy/`` on a real cluster, and everything that may happen to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.kubernetes.cluster import Cluster
from tests.e2e.installation import DEPLOY, Installation, installed
from tests.e2e.pods import run_pod

BOTH = ["node-1", "node-2"]


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Iterator[Installation]:
    """Three NATS servers, one coordinator, an agent on each node."""
    with installed(cluster, DEPLOY, servers=3) as installation:
        yield installation


async def test_applied_as_it_is_everything_becomes_ready(service: Installation) -> None:
    """Nothing has to be changed or waited for by hand; no container was ever started twice."""
    assert service.cluster.kubectl("diff", "-k", DEPLOY) == ""
    pods = service.get_object("pods", "--field-selector=status.phase=Running")["items"]
    restarts = {
        pod["metadata"]["name"]: status["restartCount"]
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }
    assert len(restarts) == 3 + 1 + 2
    assert set(restarts.values()) == {0}, restarts


async def test_a_task_warms_both_nodes_and_a_pod_starts_without_a_pull(
    service: Installation,
) -> None:
    """The kubelets say that the image is "already present", and the registry is asked nothing."""
    image = service.add_image()
    task = await service.post([image], nodeSelector={"kubernetes.io/os": "linux"})
    await service.ended_right(task, BOTH)
    asked = service.requests(image)
    for node in BOTH:
        said = await run_pod(service.cluster, image, node)
        assert [text for text in said if "already present on machine" in text], said
        assert not [text for text in said if text.startswith("Pulling")], said
    assert service.requests(image) == asked
