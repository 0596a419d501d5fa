"""A nats-server of the coordinator's own, as its child (decisions: NATS is embedded by default).

It is started with the coordinator, started again when it dies, and never outlives it. Its folder
is ``nats`` in the data directory; it inherits that directory's lock, so that nothing else touches
the store as long as it lives. It is started again, too, when a full disk has made it deaf: after
one write that failed, nats-server 2.15.1 answers no write to that stream any more, however much
room there is again (tried); a new process writes on where the old one stopped.
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
import time
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from common.backoff import Backoff
from common.lifecycle import StartupError
from common.listening import (
    EVERY_IPV4_ADDRESS,
    WILDCARDS,
    has_ipv4_loopback,
    has_ipv6,
    only_ipv6_address,
    own_address,
)
from common.logs import Log
from coordinator.callout.server_settings import TIMEOUT_SECONDS, authorization
from coordinator.data_dir import write_private
from coordinator.embedded_nats import dies_with_parent
from coordinator.embedded_nats.program import find_program

if TYPE_CHECKING:
    from common.setting_kinds import Listen
    from coordinator.data_dir import DataDir

log = Log(__name__)

STOP_SECONDS = 10.0
RESTART_CEILING = 5.0
STABLE_SECONDS = 60.0
"""One that dies sooner is started again ever more slowly."""
LOADING_SECONDS = 10.0
"""How often the log says that the server is still loading its store."""
LOOK_SECONDS = 5.0
"""How often the server's own log is read for a write that failed."""
ROOM_BYTES = 16 * 1024 * 1024
"""So much must be free before a server that could not write is started again."""

_LOOK_AGAIN_SECONDS = 0.01
_LOG_BYTES = 16 * 1024 * 1024
_FATAL = re.compile(r"\[FTL\] (.+)")
_FAILED_WRITE = re.compile(r"critical write error: (.+)", re.IGNORECASE)
_MOST_SUBSCRIPTIONS = 65_536
"""Of one connection: NATS applies no limit of a user who was let in by the coordinators (tried)."""
_NO_LIMIT = 1 << 50
"""Bytes. By itself nats-server would take three quarters of what is free when it starts, not
counting what it holds already, and refuse to write on a disk with room."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """Where it listens (port 0: any free one), which program it is, and the token it demands.

    Without ``token`` and ``token_file`` a token is made at the first start and kept in ``token``
    in its folder, readable by this user alone. With an ``issuer`` (the public part of the
    coordinators' key) the token is one user's password, and the coordinators say who others are.
    """

    listen: Listen
    program: Path | None = None
    token: str | None = None
    token_file: Path | None = None
    issuer: str | None = None
    certificate: tuple[Path, Path] | None = None
    """With its private key; with it the server speaks TLS alone."""


class EmbeddedNats:
    """A running nats-server. ``run`` must be kept running; ``stop`` ends it in order."""

    def __init__(
        self, program: Path, settings: EmbeddedSettings, token: str, data_dir: DataDir
    ) -> None:
        self.token = token
        self._program = program
        self._host = settings.listen.host
        self._port = settings.listen.port
        self._issuer = settings.issuer
        self._certificate = settings.certificate
        self._lock = data_dir.lock
        self._folder = data_dir.path / "nats"
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._log_read = 0
        """Bytes of the server's log that are known already."""

    @classmethod
    async def start(cls, settings: EmbeddedSettings, data_dir: DataDir) -> Self:
        """Start it and wait until it has loaded its store and listens.

        Raises StartupError, one line: no program, port in use, a folder or token that is no good.
        """
        program = await find_program(settings.program)
        server = cls(program, settings, _token(settings, data_dir.path / "nats"), data_dir)
        try:
            await server._launch()
        except BaseException:
            await server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """Where it is reached from this machine, without the token."""
        host = own_address(self._host) if self._host in WILDCARDS else self._host
        return f"nats://{host}:{self._port}"

    async def run(self) -> None:
        """Start it again whenever it ends, with growing pauses, until ``stop``."""
        backoff = Backoff(RESTART_CEILING)
        while not self._stopping:
            since = time.monotonic()
            await self._until_ended()
            if self._stopping:
                return
            if time.monotonic() - since > STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())
            try:
                await self._launch()
            except StartupError as error:
                log.warning("nats-server cannot be started again yet", why=str(error))

    async def _until_ended(self) -> None:
        """Wait for the end of the process; bring it about when it has become deaf to writes."""
        deaf = False
        while not await self._ends_within(LOOK_SECONDS):
            if failed := _FAILED_WRITE.search(self._news()):
                log.error("nats-server cannot write", why=failed[1])
                deaf = True
            if deaf and self._has_room():
                log.info("there is room for nats-server again: starting it anew")
                self._signal(signal.SIGTERM)
        if not self._stopping:
            log.warning("nats-server has ended: starting it again", code=self._exit_code)

    def _has_room(self) -> bool:
        with suppress(OSError):
            return shutil.disk_usage(self._folder).free >= ROOM_BYTES
        return False

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                if self._process is not None:
                    await self._process.wait()
        except TimeoutError:
            return False
        return True

    @property
    def _exit_code(self) -> int | None:
        return None if self._process is None else self._process.returncode

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """Ask it to end, wait, and kill it if it does not."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        if not await self._ends_within(STOP_SECONDS):
            log.warning("nats-server does not end: killing it")
            self._signal(signal.SIGKILL)
            await self._ends_within(STOP_SECONDS)

    # ── one run ──────────────────────────────────────────────────────────────────────────────

    async def _launch(self) -> None:
        try:
            self._prepare()
            self._news()
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
        await self._until_ready(self._process)
        log.info("nats-server listens", url=self.url, pid=self._process.pid)

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        config = {
            "listen": f"{self._listen_host()}:{self._port or -1}",
            "server_name": "ips",
            "authorization": (
                authorization(self._issuer, self.token) if self._issuer else {"token": self.token}
            ),
            "max_subscriptions": _MOST_SUBSCRIPTIONS,
            "jetstream": {
                "store_dir": str(self._folder),
                "sync_interval": "always",
                "max_file_store": _NO_LIMIT,
            },
            "log_file": str(self._folder / "nats-server.log"),
            "logfile_size_limit": _LOG_BYTES,
            "logfile_max_num": 2,
            "ports_file_dir": str(self._folder),
        }
        if self._certificate is not None:
            file, key = map(str, self._certificate)
            config["tls"] = {"cert_file": file, "key_file": key, "timeout": TIMEOUT_SECONDS}
        write_private(self._folder / "nats-server.conf", json.dumps(config, ensure_ascii=False))

    def _listen_host(self) -> str:
        """Where nats-server is to listen. Raises StartupError where that cannot be said to it.

        It takes either wildcard for every address of both families. But the IPv6 one is an error to
        it where the host has no IPv6, and without 127.0.0.1 the runtime of Go takes both for
        IPv4 alone (``favoriteAddrFamily`` in ``net/ipsock_posix.go``; tried with 2.15.1).
        """
        if self._host not in WILDCARDS:
            return self._host
        if not has_ipv6():
            return EVERY_IPV4_ADDRESS
        if has_ipv4_loopback():
            return self._host
        if address := only_ipv6_address():
            return address
        raise StartupError(
            f"IPS_NATS_LISTEN: {self._host}:{self._port} would be IPv4 alone to nats-server on a "
            "host without 127.0.0.1: name one address, such as [::1]:4222, or add that one to lo"
        )

    def _command(self) -> list[str]:
        guard = [sys.executable, "-I", "-S", dies_with_parent.__file__, str(os.getpid())]
        return [*guard, str(self._program), "-c", str(self._folder / "nats-server.conf")]

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        say_again = time.monotonic() + LOADING_SECONDS
        while not self._learn_port(process.pid):
            if process.returncode is not None:
                raise StartupError(self._why_not(process.returncode))
            if time.monotonic() > say_again:
                log.info("nats-server is still loading its store", folder=str(self._folder))
                say_again += LOADING_SECONDS
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _learn_port(self, pid: int) -> bool:
        """Read the file that the server writes once it listens; false while it is not there."""
        with suppress(OSError):  # no file can be opened at this moment: looked at again
            for file in self._folder.glob(f"*_{pid}.ports"):
                with suppress(ValueError, LookupError):  # half written
                    url: str = json.loads(file.read_bytes())["nats"][0]
                    self._port = int(url.rpartition(":")[2])
                    return True
        return False

    def _news(self) -> str:
        """Read what the server has logged since the last time.

        Nothing where the log cannot be opened now (there is none yet, or too many files are open).
        """
        with suppress(OSError), (self._folder / "nats-server.log").open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._log_read:  # it was rotated
                self._log_read = 0
            file.seek(self._log_read)
            news = file.read()
            self._log_read += len(news)
            return news.decode(errors="replace")
        return ""

    def _stderr(self) -> str:
        with suppress(OSError):
            return (self._folder / "stderr").read_text(errors="replace")
        return ""

    def _why_not(self, code: int) -> str:
        """Find the server's last words of this run."""
        fatal = _FATAL.search(self._news())
        said = fatal[1] if fatal else self._stderr()
        where = f"IPS_NATS_LISTEN: {self._host}:{self._port}"
        if "address already in use" in said:
            return (
                f"{where} is in use by another program: choose another port, or set IPS_NATS_URL "
                "if that is the NATS to use"
            )
        if "cannot assign requested address" in said:
            return f"{where} cannot be listened on: cannot assign requested address to this host"
        reason = " ".join(said.split()) or f"it ended with {_ending(code)}"
        return f"the coordinator's own nats-server does not start: {reason}"


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


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
        raise StartupError(
            f"the token for NATS cannot be read ({error}): set IPS_NATS_TOKEN_FILE"
        ) from error
    if not token:
        raise StartupError(f"the token for NATS in {file} is empty")
    return token
