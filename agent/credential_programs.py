"""Runs a program of the node that knows credentials: bounded in time and output, told no secret.

What the agent itself was given (``IPS_…``) is not in its environment; whatever else an
administrator put into the agent's is, as a cloud's programs need it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agent.runtime.failures import presentable
from agent.runtime.program_output import TooMuchOutputError, read_both

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_SECONDS: Final = 60.0
"""As the kubelet waits for its credential providers."""
MOST_OUTPUT: Final = 1024 * 1024
_OURS: Final = "IPS_"
_END_SECONDS: Final = 1.0
_SAID: Final = 200

_log = logging.getLogger(__name__)


class CredentialProgramError(Exception):
    """A program gave no credentials; the text says why, and holds nothing that it printed.

    What it said on stderr, which may be a secret, too, is in the agent's log alone.
    """


class EndedBadlyError(CredentialProgramError):
    """It ended with another code than 0; ``output`` is what it printed, which is to be kept."""

    def __init__(self, why: str, output: bytes) -> None:
        super().__init__(why)
        self.output = output


async def answer_of(
    program: Path,
    arguments: Sequence[str],
    question: bytes,
    environment: Mapping[str, str],
    seconds: float = ANSWER_SECONDS,
) -> bytes:
    """What a program prints when it has read a question. Raises CredentialProgramError."""
    process = await _start(program, arguments, environment)
    try:
        async with asyncio.timeout(seconds):
            asking = asyncio.ensure_future(_ask(process, question))
            try:
                output, errors = await read_both(process, MOST_OUTPUT)
                await process.wait()
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
    except TooMuchOutputError as error:
        raise CredentialProgramError(str(error)) from None
    except TimeoutError:
        raise CredentialProgramError(f"no answer within {seconds:g} s") from None
    finally:
        await _end(process)
    if process.returncode:
        said = presentable(errors.decode(errors="replace"))[:_SAID]
        _log.warning("%s ended with code %d: %s", program, process.returncode, said)
        raise EndedBadlyError(f"it ended with code {process.returncode}", output)
    return output


async def _start(
    program: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(_OURS)}
    try:
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=inherited | dict(environment),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it cannot be started with these arguments"
        raise CredentialProgramError(f"{program}: {why}") from None


async def _ask(process: asyncio.subprocess.Process, question: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 -- it was asked for
    try:
        with suppress(ConnectionError):  # who needs no question reads none
            process.stdin.write(question)
            await process.stdin.drain()
    finally:
        process.stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it and whatever it has started, which may hold its output open."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    # What has left its group lives on; its output is not read any more, and closed (``read_both``).
    # The limit is for one that cannot be killed.
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
