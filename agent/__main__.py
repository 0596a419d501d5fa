"""``python -m agent``."""

from __future__ import annotations

import sys

from agent.main import main
from agent.settings import AgentSettings
from common import command_line

command_line.read(
    "agent",
    "Pulls images through this node's container runtime as the coordinator asks.",
    AgentSettings,
    sys.argv[1:],
)
sys.exit(main())
