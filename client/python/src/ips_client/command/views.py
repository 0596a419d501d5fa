"""Where progress is shown while one waits: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from typing import Final, Protocol, TextIO

from rich.live import Live

from ips_client.command.board import Board, plain
from ips_client.command.output import is_terminal, make_console
from ips_client.command.text import clock, shown

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
        self._console = make_console(stream, coloured=True)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._state: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Draw, if anything has changed or a second has passed (times are shown)."""
        state = (self._board.changes, int(time.monotonic()))
        if state != self._state:
            self._state = state
            width, height = self._console.size
            # The last column stays free: some terminals wrap as soon as it is written to.
            self._live.update(self._board.picture(width - 1, height - 1))
            self._live.start()
            self._console.show_cursor()  # a program that is killed could not give it back
            self._live.refresh()

    def finish(self) -> None:
        """Take the picture away."""
        self._live.stop()


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
                self._stream.write(f"{clock(datetime.now(timezone.utc))} {shown(line)}\n")
                self._stream.flush()

    def finish(self) -> None:
        """The result says the rest."""
