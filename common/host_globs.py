"""Globs of a host's name, one label each, as Go's ``filepath.Match`` reads ``*`` and ``?``.

In time that grows with the label alone, however a pattern was written.
"""

from __future__ import annotations

from typing import Final

_NOT_READ: Final = frozenset("[]\\")
_LONGEST: Final = 255
"""Characters of a host's name; what asks for more of them fits none."""


class LabelGlob:
    """What one label is to look like; ``*`` is any characters, ``?`` is one.

    Classes and escapes (``[``, ``]``, backslash) are not read: what holds one matches nothing.
    """

    __slots__ = ("_any_of", "_end", "_is_plain", "_places", "_repeats", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        wanted = len(text) - text.count("*")
        self._is_plain = wanted > _LONGEST or not ("*" in text or "?" in text)
        # Bit n: what stands at place n of the pattern, not counting its stars.
        self._places: dict[str, int] = {}
        self._any_of = self._repeats = 0
        self._end = 1
        if not self._is_plain:
            self._compile()

    def _compile(self) -> None:
        for char in self.text:
            if char == "*":
                self._repeats |= self._end
                continue
            if char == "?":
                self._any_of |= self._end
            else:
                self._places[char] = self._places.get(char, 0) | self._end
            self._end <<= 1

    def matches(self, label: str) -> bool:
        """Whether a label of a host, which is no pattern, looks like that."""
        if not _NOT_READ.isdisjoint(self.text):
            return False
        if self._is_plain:
            return self.text == label
        reached = 1  # bit n: the pattern's first n places fit what was read of the label
        for char in label:
            step = reached & (self._any_of | self._places.get(char, 0))
            reached = step << 1 | reached & self._repeats
        return bool(reached & self._end)
