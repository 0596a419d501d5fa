"""Whether an agent has its bus and its runtime, as its metrics show it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from agent.metrics import StateCollector
from common.version import VERSION


@pytest.mark.parametrize("bus", ["", "NATS is away"])
@pytest.mark.parametrize("runtime", ["", "no socket"])
def test_bus_and_runtime_are_two_things(bus: str, runtime: str) -> None:
    """1 where all is well, 0 where there is a reason why not."""
    registry = CollectorRegistry()
    registry.register(StateCollector(lambda: bus, lambda: runtime))
    assert registry.get_sample_value("ips_agent_bus_up") == (0 if bus else 1)
    assert registry.get_sample_value("ips_agent_runtime_up") == (0 if runtime else 1)
    assert registry.get_sample_value("ips_agent_build_info", {"version": VERSION}) == 1
