"""Server-Sent Events: bytes in, frames out, as the HTML standard reads a stream.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

from typing import NamedTuple


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
        self._rest: list[bytes] = []
        self._fresh = True
        self._event = ""
        self._data: list[str] = []
        self._next_position = position

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete; what is cut off is never a frame."""
        self._rest.append(data)
        if b"\n" not in data and b"\r" not in data:  # a long line is not looked at again and again
            return []
        text = b"".join(self._rest)
        if self._fresh and len(text) >= 3:  # noqa: PLR2004 -- a byte order mark has three bytes
            text, self._fresh = text.removeprefix(b"\xef\xbb\xbf"), False
        lines = text.splitlines(keepends=True)
        # A CR at the end may go on with an LF.
        self._rest = [] if text.endswith(b"\n") else [lines.pop()]
        found = [self._line(line.rstrip(b"\r\n")) for line in lines]
        return [frame for frame in found if frame is not None]

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
