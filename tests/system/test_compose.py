"""The compose file's parts without Docker: its scripts, its NATS, a coordinator and an agent."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.child import Child
from sandbox.ports import free_port
from sandbox.programs import PROJECT
from tests.fixtures.fleet import Fleet
from tests.fixtures.nats import PROGRAM, eventually

pytestmark = pytest.mark.system

NODE = "my-node.lan"
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
FAKE = """#!/bin/sh
# compose run --rm --no-deps -T coordinator ...: no container, and a folder for its volume.
shift 5
set -- $(printf '%s ' "$@" | sed "s:/var/lib/ips:{folder}:")
IPS_NATS_URL=nats://nats IPS_NATS_CALLOUT_KEY={folder}/callout-key exec {python} -m coordinator "$@"
"""


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """What ``.env`` holds after the two scripts, and after they have run once more."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    compose = tmp_path / "compose"
    compose.write_text(FAKE.format(folder=tmp_path, python=sys.executable))
    compose.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin", "COMPOSE": str(compose), "PYTHONPATH": str(PROJECT)}
    written = []
    for _ in range(2):
        for script in ("make-tokens", "make-node-token"):
            said = subprocess.run(
                [tmp_path / "scripts" / script],
                env=env | {"IPS_NODE_NAME": NODE},
                check=True,
                capture_output=True,
            )
            assert (said.stdout, said.stderr) == (b"", b"")
        written.append((tmp_path / ".env").read_text())
    assert written[0] == written[1]
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    return dict(line.split("=", 1) for line in written[0].splitlines())


async def test_a_host_of_compose_warms_an_image_and_its_agent_is_its_node_alone(
    tokens: dict[str, str], fleet: Fleet, tmp_path: Path
) -> None:
    """The agent gets a join token; the token of NATS is the coordinator's and NATS's alone."""
    told = {name: each.get("environment", {}) for name, each in COMPOSE["services"].items()}
    assert told["agent"]["IPS_NATS_TOKEN"] == "${IPS_AGENT_TOKEN:-}"
    assert tokens["IPS_NATS_TOKEN"] not in tokens["IPS_AGENT_TOKEN"]
    port = free_port()
    config = (PROJECT / "deploy/compose/nats.conf").read_text()
    config = config.replace("listen: 4222", f"listen: 127.0.0.1:{port}")
    config = config.replace("/data", str(tmp_path / "store"))
    (tmp_path / "nats.conf").write_text(config)
    environment: list[str | Path] = ["env", f"NATS_TOKEN={tokens['IPS_NATS_TOKEN']}"]
    environment.append(f"NATS_ISSUER={tokens['IPS_NATS_ISSUER']}")
    command = [*environment, PROGRAM, "-c", tmp_path / "nats.conf"]
    nats = Child(command, tmp_path / "nats-server.log")
    nats.start()
    try:
        await eventually(lambda: "Server is ready" in nats.log)
        url = {"IPS_NATS_URL": f"nats://127.0.0.1:{port}"}
        own = {
            "IPS_NATS_TOKEN": tokens["IPS_NATS_TOKEN"],
            "IPS_NATS_CALLOUT_KEY": str(tmp_path / "callout-key"),
        }
        await fleet.add_coordinator(url | own)
        agent = {"IPS_NATS_TOKEN": tokens["IPS_AGENT_TOKEN"], "IPS_NODE_NAME": NODE}
        fleet.nats_settings = url
        await fleet.add_agents(1, agent)
        task = await fleet.post(["nginx"], nodeNames=[NODE])
        assert (await fleet.over(task))["status"] == "completed"
    finally:
        await nats.kill()
