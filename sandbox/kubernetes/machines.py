"""Machines on this one: Linux namespaces of network, mounts and processes, and who holds them.

Nothing of a machine has a name in the system: when its first process ends, which the death of the
program that started it brings about too, its processes, mounts and network are gone. Needs root.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from sandbox.child import Child
from sandbox.ports import free_port

Command = Sequence[str | Path]

_NEW_NAMESPACES: Final = (
    "unshare",
    "--net",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child=KILL",
    "--mount-proc",
)
# Containers need mounts that can be shared. What a node keeps is in memory: to delete the tens of
# thousands of files of its images from a disk takes a minute. The loop is an init's work: it takes
# leave of every orphan that ends.
_FIRST_PROCESS: Final = """\
set -eu
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755,size={memory} tmpfs /var/lib
mount --bind {log} /var/log
ip link set lo up
: > {ready}
while :; do sleep 3600 & wait $!; done
"""
_MEMORY: Final = "8g"
"""What a node may keep; it takes what it uses."""
_CLONE_NEWNET: Final = 0x40000000
_START_SECONDS: Final = 20.0
_PROBE_SECONDS: Final = 0.02


class MachineError(Exception):
    """A machine did not start, or a command in it failed; the text holds what was said."""


class Place(Protocol):
    """Where programs run and listen."""

    address: str
    """What they listen on, as IPv4."""

    def inside(self, command: Command) -> Command:
        """The command that runs a command there."""

    def port(self, usual: int) -> int:
        """A port that is free there: the usual one if possible."""

    def socket(self, address: Any = None) -> socket.socket:
        """A TCP socket there; the argument is what ``aiohttp.TCPConnector`` tells its factory."""


class Loopback:
    """This machine, on loopback, where others may listen too."""

    address = "127.0.0.1"

    def inside(self, command: Command) -> Command:
        """The command as it is."""
        return command

    def port(self, usual: int) -> int:
        """Any port that is free."""
        del usual
        return free_port()

    def socket(self, address: Any = None) -> socket.socket:
        """A socket like any other."""
        del address
        return socket.socket()


class Machine:
    """Namespaces with a network, mounts and processes of their own.

    ``/run`` and ``/var/lib`` are empty and in memory there; ``/var/log`` is ``log`` in ``folder``,
    where its programs may keep other files. All else is this machine's.
    """

    def __init__(self, name: str, folder: Path, address: str) -> None:
        self.name = name
        self.folder = folder
        self.address = address
        self._ready = folder / "ready"
        log = folder / "log"
        log.mkdir(parents=True, exist_ok=True)
        script = _FIRST_PROCESS.format(
            memory=_MEMORY, log=shlex.quote(str(log)), ready=shlex.quote(str(self._ready))
        )
        self._holder = Child([*_NEW_NAMESPACES, "sh", "-c", script], folder / "machine.log")
        self._first = 0

    @property
    def first(self) -> int:
        """Id, in this machine's own view, of the process that all of it lives by."""
        if not self._first:
            raise MachineError(f"{self.name} does not run")
        return self._first

    async def start(self) -> None:
        """Make the namespaces. Raises MachineError."""
        self._ready.unlink(missing_ok=True)
        self._holder.start()
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not self._ready.exists():
                    if self._holder.pid is None:
                        raise MachineError(f"{self.name} does not start: {self._holder.log}")
                    await asyncio.sleep(_PROBE_SECONDS)
        except TimeoutError:
            raise MachineError(f"{self.name} does not start: {self._holder.log}") from None
        self._first = child_of(self._holder.pid)
        (self.folder / "pid").write_text(str(self._first))

    async def stop(self) -> None:
        """End it, as a power cut would. Does nothing the second time."""
        self._first = 0
        await self._holder.kill()

    # ── what a place is ──

    def inside(self, command: Command) -> Command:
        """The command that runs a command there: it sees and is seen by nothing else."""
        return ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "--", *command]

    def port(self, usual: int) -> int:
        """The usual one: nobody else is here."""
        return usual

    def socket(self, address: Any = None) -> socket.socket:
        """A TCP socket in the machine's network, for this process."""
        del address
        with _network_of(self.first):
            return socket.socket()

    def run(self, *command: str | Path) -> str:
        """Run a command there to its end; what it printed. Raises MachineError."""
        done = subprocess.run(self.inside(command), capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"{self.name}: {shlex.join(map(str, command))}: {done.stderr}")
        return done.stdout

    def give_interface(self, name: str, to: Machine) -> None:
        """Move a network interface to another machine. Raises MachineError.

        Only the network is entered for it: a process is named as this machine sees it.
        """
        enter = ["nsenter", f"--net=/proc/{self.first}/ns/net"]
        command = [*enter, "ip", "link", "set", name, "netns", str(to.first)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"{self.name}: {name} does not move: {done.stderr}")


def child_of(pid: int | None) -> int:
    """The only child of a process: of ``nsenter``, the program that it runs there."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


@contextmanager
def _network_of(pid: int) -> Iterator[None]:
    """Put this thread, and no other, into the network of a process for a moment."""
    with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{pid}/ns/net").open() as its:
        _enter(its.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(namespace: int) -> None:
    """setns(2), which Python has from 3.12 on. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
