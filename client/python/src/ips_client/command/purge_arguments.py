"""The command line of ``ips purge``."""

from __future__ import annotations

from typing import Any

from ips_client.command.options import connection, output, where
from ips_client.command.place_arguments import Command


def add(commands: Any, command: Command) -> None:
    """Add it."""
    parser = command(
        commands,
        "purge",
        "purge",
        "IMAGE … (-l SELECTOR | --node NAME | --all-nodes) [--dry-run] [option …]",
        "Take images off nodes that no container uses and no warm set wants there, and say what\n"
        "was kept and why. With the id of a purge in place of images, show that one.",
        "ips purge shop/web:2.3 -l pool=web --dry-run",
        "ips purge shop/web:2.3 --all-nodes",
        "ips purge purge-20260116-151234-a1b2c3d4",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image, or a purge's id")
    where(parser)
    parser.add_argument("--all-nodes", action="store_true", help="every node")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )
    output(parser, lists=True)
    connection(parser)
