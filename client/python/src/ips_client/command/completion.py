"""``ips completion``: scripts for shells, which shtab makes from the options as they are.

Ids of tasks come from the service itself, by ``ips ls -o name``, while one types.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import Any, Final

import shtab

from ips_client.command import codes
from ips_client.command.output import write_data

_IDS: Final = shtab.cmd("ips ls --patience 0 -o name 2>/dev/null")
_BY_METAVAR: Final = {"FILE": shtab.FILE, "ID": _IDS}


def completion(arguments: Namespace) -> int:
    """Print the script for a shell."""
    parser: argparse.ArgumentParser = arguments.root
    arguments.commands.help = "a command"  # shtab leaves out what help does not show
    for each in (parser, *arguments.commands.choices.values()):
        for action in each._actions:  # noqa: SLF001 -- argparse has no other way to list them
            _set_completer(action)
    write_data(shtab.complete(parser, arguments.shell))
    return codes.COMPLETED


def _set_completer(action: Any) -> None:
    if action.metavar in _BY_METAVAR:
        action.complete = _BY_METAVAR[action.metavar]
