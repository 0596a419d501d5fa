"""The commands that hold a task back: ``ips pause`` and ``ips resume``."""

from __future__ import annotations

from typing import Any

from ips_client.command.options import connection, output
from ips_client.command.place_arguments import Command


def add(commands: Any, command: Command) -> None:
    """Add them."""
    for name, about, example in (
        (
            "pause",
            "Let no new node of running tasks begin. Pulls that run go on.",
            "ips pause task-20260116-151234-a1b2c3d4",
        ),
        (
            "resume",
            "Let paused tasks go on.",
            "ips resume $(ips ls --status running -o name)",
        ),
    ):
        parser = command(commands, name, "pausing", "ID … [option …]", about, example)
        parser.add_argument("ids", nargs="+", metavar="ID", help="a running task")
        output(parser)
        connection(parser)
