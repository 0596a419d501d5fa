"""The suite for all drivers, run for ``crictl``, and what is its own.

The program is the one that IPS_TEST_CRICTL names, or that of the release line that is pinned (see
``sandbox.kubernetes.parts``), which scripts/fetch-crictl builds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from agent.runtime.crictl import CrictlRuntime
from agent.runtime.protocol import Credentials, RuntimeAway
from sandbox.containerd import Containerd
from sandbox.kubernetes.parts import PartMissingError, find
from sandbox.registry import Registry
from tests.containerd.conformance import RealConformance
from tests.containerd.nodes import Pull, RealNode, repository_of
from tests.fixtures.parts import lacking

pytestmark = pytest.mark.crictl


@pytest.fixture(scope="session")
def program() -> str:
    """Find a crictl."""
    if named := os.environ.get("IPS_TEST_CRICTL"):
        if found := shutil.which(named):
            return found
        pytest.fail(f"IPS_TEST_CRICTL names no program: {named}", pytrace=False)
    try:
        return str(find("crictl"))
    except PartMissingError as missing:
        lacking(str(missing))


def connect(program: str, containerd: Containerd) -> CrictlRuntime:
    """Make the driver."""
    return CrictlRuntime(f"unix://{containerd.socket}", program=program)


@pytest.fixture
def node(containerd: Containerd, registry: Registry, program: str) -> RealNode:
    """Connect to a containerd of each release line."""
    return RealNode(partial(connect, program), containerd, registry)


class TestCrictl(RealConformance):
    """The driver that runs a program."""


async def test_credentials_are_not_in_argv(node: RealNode) -> None:
    """Everybody on the node can read that; only the owner reads a process's environment."""
    reference = node.image()
    node.registry.protect(repository_of(reference), "me", "s3cret")
    pull = Pull(node.runtime, reference)
    node.hold(reference)
    task = asyncio.create_task(pull.run(Credentials(node.registry.host, "me", "s3cret")))
    await node.under_way(pull)
    [line] = [line for line in command_lines() if reference in line]
    assert "s3cret" not in line
    assert "bWU6czNjcmV0" not in line
    node.let_go(reference)
    await task


async def test_no_program_is_left_behind(node: RealNode) -> None:
    """A cancelled pull ends its process, and reaps it."""
    pull = Pull(node.runtime, node.image())
    node.hold(pull.reference)
    task = asyncio.create_task(pull.run())
    await node.under_way(pull)
    task.cancel()
    await asyncio.wait([task])
    assert not [line for line in command_lines() if pull.reference in line]


async def test_a_paused_runtime_is_away(node: RealNode, program: str) -> None:
    """It accepts connections and never answers."""
    runtime = CrictlRuntime(f"unix://{node.containerd.socket}", program=program, answer_seconds=0.3)
    node.containerd.pause()
    with pytest.raises(RuntimeAway, match="no container runtime at unix:"):
        await runtime.facts()
    node.containerd.resume()


def command_lines() -> list[str]:
    """List the processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has just ended
            continue
    return lines
