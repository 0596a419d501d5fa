"""The command line of the commands about warm sets."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from ips_client.command.options import connection, output

NewCommand = Callable[..., argparse.ArgumentParser]

_ALL: Final = 100.0


def sets(command: NewCommand) -> None:
    """``ips sets``."""
    parser = command(
        "sets",
        "sets",
        "[NAME] [--all] [option …]",
        "List the warm sets, or show one with the nodes that are not warm, and why.",
        "ips sets",
        "ips sets web --all",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a set")
    parser.add_argument("--all", action="store_true", help="its warm nodes, too")
    output(parser, lists=True)
    connection(parser)


def apply(command: NewCommand) -> None:
    """``ips apply``."""
    parser = command(
        "apply",
        "sets",
        "-f FILE … [--dry-run] [option …]",
        "Create and replace warm sets. A file is YAML or JSON, and may hold several documents:\n"
        "each is what PUT /api/v1/sets/NAME takes, with `name` beside it.",
        "ips apply -f set.yaml",
        "ips apply -f set.yaml --dry-run",
    )
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        required=True,
        dest="files",
        metavar="FILE",
        help="a file that describes sets; - is standard input; may be given several times",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would change, and how many nodes match, and change nothing",
    )
    output(parser)
    connection(parser)


def delete(command: NewCommand) -> None:
    """``ips delete set``."""
    parser = command(
        "delete",
        "sets",
        "set NAME … [--purge] [option …]",
        "Delete warm sets. Their images stay where they are, or are removed with --purge where\n"
        "no container uses them and no other set wants them.",
        "ips delete set web",
        "ips delete set web --purge",
    )
    parser.add_argument("kind", choices=("set", "sets"), metavar="set", help="what is deleted")
    parser.add_argument("names", nargs="+", metavar="NAME", help="a set")
    parser.add_argument("--purge", action="store_true", help="remove their images, too")
    output(parser)
    connection(parser)


def refresh(command: NewCommand) -> None:
    """``ips refresh``."""
    parser = command(
        "refresh",
        "sets",
        "NAME … [option …]",
        "Look now whether the tags of warm sets have moved: on one warm node of each; where one\n"
        "has, the other nodes follow in batches.",
        "ips refresh web",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a set")
    output(parser)
    connection(parser)


def why(command: NewCommand) -> None:
    """``ips why``."""
    parser = command(
        "why",
        "why",
        "SET|NODE|IMAGE [option …]",
        "Say what keeps a set, a node or an image of sets from being warm, one line for each\n"
        "reason. set/NAME, node/NAME and image/NAME say which of them is meant.",
        "ips why web",
        "ips why node/node-7",
        "ips why shop/web:2.4",
    )
    parser.add_argument("what", metavar="SET|NODE|IMAGE", help="what is not warm")
    output(parser)
    connection(parser)


def at_least(parser: Any) -> None:
    """How much of a set is waited for."""
    parser.add_argument(
        "--at-least",
        type=_percent,
        default=_ALL,
        metavar="N%",
        help="for set/NAME: so many of its nodes (100%%)",
    )


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= _ALL:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage: 95% is one")
    return value
