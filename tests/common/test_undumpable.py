"""A program whose memory nobody gets to see."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import ctypes
from common.undumpable import keep_out_of_dumps
libc = ctypes.CDLL(None)
print(libc.prctl(3, 0, 0, 0, 0))
keep_out_of_dumps()
print(libc.prctl(3, 0, 0, 0, 0))
"""


def test_it_is_not_dumpable_any_more() -> None:
    """PR_GET_DUMPABLE says so: the kernel then writes no core dump."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True)
    assert done.stdout.split() == [b"1", b"0"]
