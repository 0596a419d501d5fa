"""Our images, as our Dockerfiles make them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from common.version import VERSION
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.our_images import PROGRAMS, build
from tests.e2e.installation import DEPLOY, Installation, installed
from tests.e2e.smoke import BOTH, warms_both_nodes

ROOT = "0"
SAY_WHO = "import os; print(os.getuid(), os.getgid())"
ASK_TO_END = "import os, signal; os.kill(1, signal.SIGTERM)"
CAPABILITIES = "print([l for l in open('/proc/1/status') if l.startswith('CapEff')][0].split()[1])"


@pytest.fixture(scope="module")
def installation(cluster: Cluster) -> Iterator[Installation]:
    """One coordinator, an agent on each node."""
    with installed(cluster, DEPLOY / "overlays/single", servers=0) as installation:
        yield installation


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_says_what_it_is(program: str) -> None:
    """Labels of OCI; the program itself as its entrypoint, without a shell before it."""
    image = build(program, VERSION, {"CRICTL": "none"} if program == "agent" else {})
    config = json.loads(image.blobs[0].content)["config"]
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in config["Labels"].items()
        if key.startswith("org.opencontainers.image.")
    }
    assert labels["title"] == f"Image Prewarm Service, {program}"
    assert labels["version"] == VERSION
    assert labels["licenses"] == "MIT"
    assert labels["description"]
    assert config["Entrypoint"] == ["python3", "-m", program]
    assert config.get("User", ROOT) == ("10001:10001" if program == "coordinator" else ROOT)


async def test_no_program_has_a_capability_and_the_coordinator_is_nobody(
    service: Installation,
) -> None:
    """As the kernel sees them."""
    coordinator = await service.pod("ips-coordinator")
    agent = await service.pod("ips-agent", node="node-1")
    assert service.python_in(coordinator, SAY_WHO).split() == ["10001", "10001"]
    for pod in (coordinator, agent):
        assert int(service.python_in(pod, CAPABILITIES), 16) == 0


@pytest.mark.parametrize("app", ["ips-coordinator", "ips-agent"])
async def test_asked_to_end_as_process_1_a_program_ends_well(
    service: Installation, app: str
) -> None:
    """SIGTERM is heeded (the kernel gives process 1 no default for it), and the exit code is 0."""
    pod = await service.pod(app)
    service.python_in(pod, ASK_TO_END)
    ended = await service.ended_once(pod)
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    await service.rolled_out()
    await service.known_nodes(len(BOTH))
    await warms_both_nodes(service)
