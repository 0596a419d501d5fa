"""Seals a task's credentials for the very instance of an agent that is to have the work."""

from __future__ import annotations

from typing import Protocol

from common.messages import Heartbeat
from common.subjects import AgentAddress
from common.texts import NODE_NO_AGENT
from coordinator.core.commands import Assign
from coordinator.engine.task_credentials import SealedWork, TaskCredentials
from coordinator.port import StoreAway


class AgentsSaid(Protocol):
    """What agents have said of themselves."""

    def said_by(self, address: AgentAddress) -> Heartbeat | None:
        """The newest heartbeat of an instance; None where another has spoken since."""


class AgentSeals:
    """Finds the key of who is to have the work."""

    def __init__(self, credentials: TaskCredentials, agents: AgentsSaid) -> None:
        self._credentials = credentials
        self._agents = agents

    async def seal(self, command: Assign) -> SealedWork:
        """The credentials. Raises CannotBeGivenError, StoreAway and AuthorityAwayError."""
        node = command.key.node
        said = self._agents.said_by(AgentAddress(node, command.instance))
        if said is None:  # it will be asked again, or another one
            raise StoreAway(NODE_NO_AGENT(node=node))
        return await self._credentials.seal(command, said)
