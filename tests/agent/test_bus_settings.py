"""As whom an agent connects to NATS: as its own node and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.main import bus_settings
from agent.settings import AgentSettings
from common.join_token import JoinKind, JoinToken
from common.lifecycle import StartupError

if TYPE_CHECKING:
    from pathlib import Path

MINE = JoinToken(JoinKind.NODE, "node-1", 1, "A" * 43)


def settings(**token: str) -> AgentSettings:
    """Those of the agent of node-1."""
    return AgentSettings.load({"IPS_NATS_URL": "nats://n", "IPS_NODE_NAME": "node-1"} | token)


def test_its_own_join_token_is_taken() -> None:
    """As it is, with an inbox that its rights allow."""
    taken = bus_settings(settings(IPS_NATS_TOKEN=str(MINE)))
    assert (taken.token, taken.inbox) == (str(MINE), "_INBOX.agent.node-1")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (MINE._replace(kind=JoinKind.EVENTS), r"of kind events \(node-1\).*for node node-1"),
        (MINE._replace(name="node-2"), "made for node node-2.*of node node-1"),
    ],
)
def test_a_join_token_of_anybody_else_is_refused(
    tmp_path: Path, token: JoinToken, why: str
) -> None:
    """At the start, with what is wrong: NATS would send it away for ever, or let it do nothing."""
    with pytest.raises(StartupError, match=why):
        bus_settings(settings(IPS_NATS_TOKEN=str(token)))
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    with pytest.raises(StartupError, match=why):
        bus_settings(settings(IPS_NATS_TOKEN_FILE=str(file)))
