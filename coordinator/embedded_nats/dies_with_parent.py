"""A program that turns into another one, which is then ended when its parent dies.

    python dies_with_parent.py <parent's pid> <program> <argument>...

The kernel sends SIGTERM, so that the child ends in order: a nats-server that is killed instead
may find what it had purged again (nats-server #8505). Done in a process of its own because code
between fork and exec (``preexec_fn``) is not safe, and not by ``setpriv``, which small images lack.
It is started by its path, so it may import nothing of this project.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(parent: int, command: list[str]) -> None:
    """Ask the kernel for the signal, then turn into the command."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() == parent:  # else it died before the kernel was asked
        os.execv(command[0], command)  # noqa: S606 -- no shell is the point


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
