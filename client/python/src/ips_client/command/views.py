"""Where progress is shown while one waits: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Final, Protocol, TextIO

from ips_client.command.board import Board, plain
from ips_client.command.output import is_terminal

DRAW_SECONDS: Final = 0.2
"""Between two pictures."""
LINE_SECONDS: Final = 5.0
"""Between two plain lines about a task, at least."""


class View(Protocol):
    """Shows a board."""

    def refresh(self) -> None:
        """Called some times a second."""

    def finish(self) -> None:
        """Called once: leave the place to the result."""


def view_of(board: Board) -> View:
    """The view that suits standard error: progress is no data."""
    return Bars(board, sys.stderr) if is_terminal(sys.stderr) else Lines(board, sys.stderr)


class Bars:
    """A picture that is drawn over and over at the foot of a terminal."""

    def __init__(self, board: Board, stream: TextIO) -> None:
        self._board = board
        self._stream = stream
        self._drawn = 0
        self._state: tuple[int, int] | None = None
        board.unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"

    def refresh(self) -> None:
        """Draw, if anything has changed or a second has passed (times are shown)."""
        state = (self._board.changes, int(time.monotonic()))
        if state != self._state:
            self._state = state
            width, height = _size(self._stream)
            # The last column stays free: some terminals wrap as soon as it is written to.
            self._draw(self._board.rows(width - 1, height - 1))

    def finish(self) -> None:
        """Take the picture away."""
        self._draw([])

    def _draw(self, rows: list[str]) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"{row}\x1b[K\n" for row in rows)
        self._stream.write(f"{up}\r{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(rows)


class Lines:
    """A line whenever a task has changed, at most one about each task every few seconds."""

    def __init__(self, board: Board, stream: TextIO) -> None:
        self._board = board
        self._stream = stream
        self._told: dict[str, tuple[float, str]] = {}

    def refresh(self) -> None:
        """Tell what has changed."""
        now = time.monotonic()
        for task_id, progress in self._board.progress.items():
            told_at, told = self._told.get(task_id, (-LINE_SECONDS, ""))
            if now - told_at >= LINE_SECONDS and (line := plain(progress)) != told:
                self._told[task_id] = (now, line)
                self._stream.write(f"{time.strftime('%H:%M:%S')} {line}\n")
                self._stream.flush()

    def finish(self) -> None:
        """The result says the rest."""


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24
