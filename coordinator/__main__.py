"""``python -m coordinator``."""

from __future__ import annotations

import sys

from common import command_line
from common.lifecycle import run
from coordinator.credentials_key import credentials_key
from coordinator.hash_token import hash_token
from coordinator.join_token import callout_key, join_token
from coordinator.main import main
from coordinator.settings import CoordinatorSettings

commands = {
    "hash-token": hash_token,
    "join-token": join_token,
    "callout-key": callout_key,
    "credentials-key": credentials_key,
}
if command := commands.get("".join(sys.argv[1:2])):
    sys.exit(command(sys.argv[2:]))
command_line.read(
    "coordinator",
    "Decides which node pulls which image and when; serves the REST interface and the page.",
    CoordinatorSettings,
    sys.argv[1:],
)
sys.exit(run(main))
