"""A program on a kernel that seems to have no IPv6: every socket of that family is refused.

    python without_ipv6.py <program> <argument>...

A kernel that was started with ``ipv6.disable=1`` answers so. A filter of system calls (seccomp(2))
does the same for one program and its children, whatever language they are written in. Linux on
x86-64 and on arm64; needs root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from typing import Final

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}
"""The number of the system call socket(2)."""
_LOAD_WORD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_FIRST_ARGUMENT_AT: Final = 16


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter() -> list[bytes]:
    """``socket(AF_INET6, …)`` fails with EAFNOSUPPORT; all else is as ever."""

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    return [
        instruction(_LOAD_WORD, _NUMBER_AT),
        instruction(_JUMP_IF_EQUAL, _SOCKET[platform.machine()], if_false=3),
        instruction(_LOAD_WORD, _FIRST_ARGUMENT_AT),
        instruction(_JUMP_IF_EQUAL, socket.AF_INET6, if_false=1),
        instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
        instruction(_RETURN, _ALLOW),
    ]


def become(command: list[str]) -> None:
    """Turn into the command, without IPv6. Raises OSError, KeyError on another machine."""
    instructions = _filter()
    program = _Program(len(instructions), b"".join(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    become(sys.argv[1:])
