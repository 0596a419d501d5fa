"""What a program that was started prints, as far as that is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process


class TooMuchOutputError(Exception):
    """A program printed more than it may, and was killed."""


async def read_both(process: Process, most: int) -> tuple[bytes, bytes]:
    """Read what a program prints and what it says on stderr, ``most`` bytes of each.

    Raises TooMuchOutputError where that is not enough.
    """
    assert process.stdout is not None  # noqa: S101 -- both were asked for
    assert process.stderr is not None  # noqa: S101
    output, errors = await asyncio.gather(
        _read_start(process.stdout, process, most), _read_start(process.stderr, process, most)
    )
    if max(len(output), len(errors)) > most:
        raise TooMuchOutputError(f"it prints more than {most} bytes")
    return output, errors


async def _read_start(stream: asyncio.StreamReader, process: Process, most: int) -> bytes:
    """Read up to the end, but keep only a bounded beginning, and end who says more."""
    kept = bytearray()
    while part := await stream.read(65_536):
        if len(kept) <= most:
            kept += part
        elif process.returncode is None:
            process.kill()
    return bytes(kept)
