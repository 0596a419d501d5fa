"""Why this agent takes no work, as the readiness probe shows it."""

from __future__ import annotations

from agent.agent import Agent
from common.lifecycle import Stop


class Readiness:
    """Ready: connected to NATS, the container runtime answers, and no stop is requested."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._bus = "NATS has not answered yet"
        self._agent: Agent | None = None

    def bus_changed(self, connected: bool, why: str) -> None:
        """Take in what the bus says of its connection."""
        self._bus = "" if connected else why
        if connected and self._agent is not None:
            self._agent.reconnected()

    def bus_away(self) -> str:
        """Why there is no connection to NATS; empty where there is one."""
        return self._bus

    def runtime_away(self) -> str:
        """Why the container runtime cannot be used; empty where it answers."""
        return "the agent is starting" if self._agent is None else self._agent.why_no_runtime

    def agent_started(self, agent: Agent) -> None:
        """Ask this agent from now on, and tell it of reconnections."""
        self._agent = agent

    def why_not(self) -> str:
        """What is missing; empty when ready."""
        if self._stop.requested:
            return "the agent is stopping"
        return self._bus or self.runtime_away()
