"""A command on a terminal: a pseudo-terminal, and as much of a screen as bars need."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence

from tests.fixtures.patience import PATIENCE

_PIECE = re.compile(r"\x1b\[(?P<number>\??\d*)(?P<what>[A-Za-z])|(?P<plain>[^\x1b\r\n]+|\r|\n)")


class Terminal:
    """Runs a command on a terminal of so many columns; ``pid`` is its own."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, columns: int = 80, lines: int = 24
    ) -> None:
        self.columns = columns
        self.pid, self._end = pty.fork()
        if self.pid == 0:  # pragma: no cover -- another program from here on
            os.execvpe(command[0], list(command), dict(env))  # noqa: S606 -- no shell is wanted
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.written = ""
        self.pictures: list[list[str]] = []
        """What the screen showed after each piece of output."""
        self._rows = [""]
        self._row = 0

    def run(self, *, until: str | None = None, within: float = PATIENCE) -> int | None:
        """Read until a pattern stands on the screen (None), or to the end (the exit code)."""
        deadline = time.monotonic() + within
        while until is None or not re.search(until, "\n".join(self.screen)):
            if not select.select([self._end], [], [], max(deadline - time.monotonic(), 0))[0]:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(self.written[-4096:])
            try:
                data = os.read(self._end, 65536)
            except OSError:
                break
            self.written += data.decode()
            self._show(data.decode())
        else:
            return None
        os.close(self._end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._end, keys)

    @property
    def screen(self) -> list[str]:
        """The rows as they are now, without empty ones at the end."""
        return "\n".join(self._rows).rstrip("\n").split("\n")

    def _show(self, text: str) -> None:
        for found in _PIECE.finditer(text):
            if plain := found["plain"]:
                self._type(plain)
            else:
                self._control(found["what"], found["number"])
        self.pictures.append(self.screen)

    def _type(self, plain: str) -> None:
        if plain == "\n":
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append("")
        elif plain == "\r":
            self._fresh = True
        else:
            before = "" if self._fresh else self._rows[self._row]
            self._rows[self._row], self._fresh = before + plain, False

    _fresh = False

    def _control(self, what: str, number: str) -> None:
        if what == "A":
            self._row -= int(number or 1)
        elif what == "K":
            assert number == "2", number  # a whole row
            self._rows[self._row] = ""
        else:
            assert what == "m" or number == "?25", what + number  # a colour, or the cursor's looks
