"""Server-Sent Events: bytes in, frames out, as the HTML standard reads a stream.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class Frame(NamedTuple):
    """One event of a stream."""

    event: str
    data: str
    position: str | None
    """The last event id so far; None where there never was one."""


class Parser:
    """Reads one connection; ``position`` outlives it and is given to the next."""

    def __init__(self, position: str | None = None) -> None:
        self.position = position
        self._rest = b""
        self._fresh = True
        self._event = ""
        self._data: list[str] = []
        self._next_position = position

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete; what is cut off is never a frame."""
        text = self._rest + data
        if self._fresh and len(text) >= 3:  # noqa: PLR2004 -- a byte order mark has three bytes
            text, self._fresh = text.removeprefix(b"\xef\xbb\xbf"), False
        *lines, self._rest = _lines(text)
        return [frame for line in lines if (frame := self._line(line)) is not None]

    def _line(self, line: bytes) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        match name:
            case b"event":
                self._event = text
            case b"data":
                self._data.append(text)
            case b"id" if "\0" not in text:
                self._next_position = text
        return None

    def _dispatch(self) -> Frame | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        self.position = self._next_position
        return Frame(event, "\n".join(data), self.position) if data else None


def _lines(text: bytes) -> list[bytes]:
    """Lines without their ends, the unfinished last one too; a CR at the end may go on."""
    held = b"\r" if text.endswith(b"\r") else b""
    lines = _LINE_END.split(text[: len(text) - len(held)])
    lines[-1] += held
    return lines
