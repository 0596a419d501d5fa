"""The commands that say what is where: ``ips node``, ``image`` and ``images``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from ips_client.command.options import connection, output

Command = Callable[..., argparse.ArgumentParser]
"""As ``arguments.command``."""
STATES: Final = ("present", "pulling", "failed", "absent", "unknown")


def add(commands: Any, command: Command) -> None:
    """Add them."""
    _node(commands, command)
    _image(commands, command)
    _images(commands, command)


def _node(commands: Any, command: Command) -> None:
    parser = command(
        commands,
        "node",
        "node",
        "NAME [--all] [option …]",
        "Show a node: what its container runtime has now, and what tasks did there.",
        "ips node node-17",
        "ips node node-17 -o json | jq -r '.images[].tags[]'",
    )
    parser.add_argument("name", metavar="NAME", help="a node")
    parser.add_argument("--all", action="store_true", help="every task that is kept, not 10")
    output(parser)
    connection(parser)


def _image(commands: Any, command: Command) -> None:
    parser = command(
        commands,
        "image",
        "image",
        "IMAGE [--nodes | --state A,B] [option …]",
        "Show where an image is, and what became of it in tasks. Nodes on which it is for\n"
        "certain are counted, the others listed.",
        "ips image redis:7",
        "ips image redis:7 --nodes",
        "ips image redis:7 --state failed,absent,unknown -o name",
    )
    parser.add_argument("image", metavar="IMAGE", help="an image, in whatever spelling")
    parser.add_argument("--nodes", action="store_true", help="every node")
    parser.add_argument(
        "--state", type=_states, default=[], metavar="A,B", help=f"nodes that are {_CHOICES}"
    )
    output(parser, lists=True)
    connection(parser)


def _images(commands: Any, command: Command) -> None:
    parser = command(
        commands,
        "images",
        "image",
        "[TEXT] [option …]",
        "List the images of tasks and warm sets.",
        "ips images",
        "ips images redis -o name",
    )
    parser.add_argument("text", nargs="?", default="", metavar="TEXT", help="stands in the name")
    output(parser, lists=True)
    connection(parser)


_CHOICES: Final = ", ".join(STATES)


def _states(text: str) -> list[str]:
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for strange in set(wanted).difference(STATES):
        raise argparse.ArgumentTypeError(f"{strange!r} is none of {_CHOICES}")
    return wanted
