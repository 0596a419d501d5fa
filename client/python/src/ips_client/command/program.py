"""From a command line to an exit code, and from errors to words."""

from __future__ import annotations

import io
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Final, TextIO

from ips_client import errors
from ips_client.command import codes
from ips_client.command.arguments import parse
from ips_client.command.messages import faults, refusal
from ips_client.command.text import shown
from ips_client.errors import IpsError, Refused

_OPTIONS: Final = {
    "images": "IMAGE",
    "batchSize": "--batch-size",
    "priority": "--priority",
    "maxRetries": "--retries",
    "retryStrategy": "--retry-strategy",
    "retryDelay": "--retry-delay",
    "webhookUrl": "--webhook",
    "nodeSelector": "--selector",
    "matchExpressions": "--selector",
    "nodeNames": "--node",
    "maxFailedNodes": "--max-failed",
    "rollout": "--rolling",
    "imagePullPolicy": "--pull",
    "pullTimeoutSeconds": "--pull-timeout",
    "credentials": "--credential",
    "pullSecrets": "--pull-secret",
    "Idempotency-Key": "--idempotency-key",
    "?limit": "--limit",
    "?status": "--status",
    "?selector": "--selector",
    "?since": "--since",
}
"""The option behind each field of the service's answers to a bad request."""
_WITHOUT_SERVER: Final = frozenset({"config", "completion"})
"""Commands that ask no server, and need no context: a file that is broken is no matter to them."""


def run(words: Sequence[str]) -> int:
    """Run a command line; its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to end
            stream.reconfigure(errors="replace")
    try:
        return _run(parse(words))
    except KeyboardInterrupt:
        return codes.INTERRUPTED
    except BrokenPipeError:
        silence(sys.stdout)
        silence(sys.stderr)
        return codes.COMPLETED


def _run(arguments: Namespace) -> int:
    try:
        if arguments.command not in _WITHOUT_SERVER:
            from ips_client.command.contexts import apply  # noqa: PLC0415 -- help needs none

            apply(arguments)
        if arguments.insecure and arguments.command not in _WITHOUT_SERVER:
            say("ips: --insecure: whoever answers is trusted, and gets the credentials")
        code: int = arguments.handler()(arguments)
        sys.stdout.flush()
    except IpsError as error:
        return report(error)
    except ValueError as why:
        say(*(f"ips: {line}" for line in str(why).splitlines()))
        return codes.WRONG_USE
    return code


def report(error: IpsError, about: str = "") -> int:
    """Tell a user about an error; the exit code that goes with it.

    ``about`` is the task that it is about, said where the error does not name it.
    """
    text = refusal(error)
    say(f"ips: {text}" if about in text else f"ips: {about}: {text}")
    if isinstance(error, errors.TimeLimit):
        return codes.TIME_LIMIT
    if isinstance(error, errors.Unauthorized):
        say(
            "ips: a token goes into IPS_TOKEN or IPS_TOKEN_FILE; other credentials go into the "
            "address: --server https://user:password@host"
        )
    if isinstance(error, errors.Refused):
        say(*_faults(error))
    wrong = (errors.BadRequest, errors.NotFound, errors.Conflict)
    return codes.WRONG_USE if isinstance(error, wrong) else codes.NO_ANSWER


def _faults(error: Refused) -> list[str]:
    shown = []
    for field, message in faults(error.problem.document):
        root = field.split("/")[1] if field.startswith("/") else field
        shown.append(f"  {_OPTIONS.get(root, field)}: {message}")
    return shown


def say(*lines: str) -> None:
    """Say something that is no data, if anybody listens."""
    try:
        sys.stderr.write("".join(f"{shown(line)}\n" for line in lines))
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Whoever read this has gone: let all that is still written, at exit too, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
