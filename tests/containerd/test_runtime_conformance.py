"""The suite for all drivers, run for the simulated one and for ``cri`` on every containerd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.runtime.cri import CriRuntime
from agent.runtime.simulated import SimulatedRuntime
from sandbox.containerd import Containerd
from sandbox.registry import Registry
from tests.containerd.conformance import Conformance, RealConformance
from tests.containerd.nodes import MIB, PROGRESS_SECONDS, RealNode, SimulatedNode


class TestSimulated(Conformance):
    """The fake passes the suite of the real ones."""

    pytestmark = pytest.mark.pure

    @pytest.fixture
    def node(self, tmp_path: Path) -> SimulatedNode:
        """Make one that is quick."""
        hold = tmp_path / "hold"
        runtime = SimulatedRuntime(
            seconds=0.1, size=MIB, progress_seconds=PROGRESS_SECONDS, hold=hold
        )
        return SimulatedNode(runtime, hold)


@pytest.mark.containerd
class TestCri(RealConformance):
    """The driver that speaks to the socket."""

    @pytest.fixture
    async def node(self, containerd: Containerd, registry: Registry) -> AsyncIterator[RealNode]:
        """Connect to a containerd of each release line."""
        node = RealNode(_cri, containerd, registry)
        await node.runtime.facts()
        yield node
        await node.runtime.close()


def _cri(containerd: Containerd) -> CriRuntime:
    return CriRuntime(f"unix://{containerd.socket}", progress_seconds=PROGRESS_SECONDS)
