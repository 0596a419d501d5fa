"""What a program that was started prints, as far as that is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process


class TooMuchOutputError(Exception):
    """A program prints more than it may; to end it is the caller's business."""


async def read_both(process: Process, most: int) -> tuple[bytes, bytes]:
    """Read what a program prints and what it says on stderr, ``most`` bytes of each.

    Raises TooMuchOutputError as soon as that is not enough.
    """
    assert process.stdout is not None  # noqa: S101 -- both were asked for
    assert process.stderr is not None  # noqa: S101
    reading = [
        asyncio.ensure_future(_read_all(stream, most))
        for stream in (process.stdout, process.stderr)
    ]
    try:
        output, errors = await asyncio.gather(*reading)
    except BaseException:
        for each in reading:
            each.cancel()
        _close_output(process)
        raise
    return output, errors


def _close_output(process: Process) -> None:
    """Let go of what is not read any more: some versions of asyncio wait for its end."""
    transport = process._transport  # type: ignore[attr-defined]  # noqa: SLF001 -- no other way
    for descriptor in (1, 2):
        transport.get_pipe_transport(descriptor).close()


async def _read_all(stream: asyncio.StreamReader, most: int) -> bytes:
    """Read up to the end, which may never come: whoever prints may be a child, out of reach."""
    kept = bytearray()
    while part := await stream.read(65_536):
        kept += part
        if len(kept) > most:
            raise TooMuchOutputError(f"it prints more than {most} bytes")
    return bytes(kept)
