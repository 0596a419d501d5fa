"""Why this agent takes no work, in words for a probe."""

from __future__ import annotations

from agent.agent import Agent
from common.lifecycle import Stop


class Readiness:
    """Ready means: NATS has us, the container runtime answers, and nobody has asked us to stop."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._bus = "NATS has not answered yet"
        self._agent: Agent | None = None

    def bus_changed(self, connected: bool, why: str) -> None:
        """Take in what the bus says of its connection."""
        self._bus = "" if connected else why
        if connected and self._agent is not None:
            self._agent.reconnected()

    def agent_started(self, agent: Agent) -> None:
        """There is an agent to ask, and to tell of reconnections."""
        self._agent = agent

    def why_not(self) -> str:
        """What is missing; empty when ready."""
        if self._stop.requested:
            return "the agent is stopping"
        if self._bus:
            return self._bus
        return "the agent is starting" if self._agent is None else self._agent.why_no_runtime
