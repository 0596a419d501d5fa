"""The entry: from a command line to an exit code, and from errors to words.

Modules are imported when they are needed, because a script starts this again and again.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ips_client.command import codes
from ips_client.version import __version__

if TYPE_CHECKING:
    from argparse import Namespace
    from typing import TextIO

    from ips_client.errors import IpsError, Refused


def main() -> int:
    """Run ``ips`` with the arguments of this process; its exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"ips {__version__}\n")
        return codes.COMPLETED
    from ips_client.command.arguments import parse  # noqa: PLC0415 -- see above

    try:
        return _run(parse(sys.argv[1:]))
    except KeyboardInterrupt:
        return codes.INTERRUPTED
    except BrokenPipeError:
        silence(sys.stdout)
        silence(sys.stderr)
        return codes.COMPLETED


def _run(arguments: Namespace) -> int:
    from ips_client.errors import IpsError  # noqa: PLC0415 -- see above

    try:
        code: int = arguments.handler()(arguments)
        sys.stdout.flush()
    except IpsError as error:
        return report(error)
    except ValueError as why:
        say(*(f"ips: {line}" for line in str(why).splitlines()))
        return codes.WRONG_USE
    return code


def report(error: IpsError, about: str = "") -> int:
    """Tell a user about an error; the exit code that goes with it."""
    from ips_client import errors  # noqa: PLC0415 -- see above

    say(f"ips: {about}{error}")
    if isinstance(error, errors.TimeLimit):
        return codes.TIME_LIMIT
    if isinstance(error, errors.Unauthorized):
        say("ips: credentials go into the address: --server https://user:password@host")
    if isinstance(error, errors.Refused):
        say(*_faults(error))
    wrong = (errors.BadRequest, errors.NotFound, errors.Conflict)
    return codes.WRONG_USE if isinstance(error, wrong) else codes.NO_ANSWER


def _faults(error: Refused) -> list[str]:
    from ips_client.command.arguments import OPTIONS  # noqa: PLC0415 -- see above

    shown = []
    for fault in error.problem.errors:
        root = fault.field.split("/")[1] if fault.field.startswith("/") else fault.field
        where = OPTIONS.get(root, fault.field)
        shown.append(f"  {where}: {fault.message}")
    return shown


def say(*lines: str) -> None:
    """Say something that is no data, if anybody listens."""
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Whoever read this has gone: let all that is still written, at exit too, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
