"""Data to standard output: as a table, as the service's own document, or names alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from ips_client.command.text import cut

Row = Sequence[str]

_COLOURS: Final = {
    "completed": "32",
    "succeeded": "32",
    "present": "32",
    "pulled": "32",
    "failed": "31",
    "running": "36",
    "pulling": "36",
    "retrying": "33",
    "cancelled": "33",
    "dim": "2",
}
_GAP: Final = "  "


def is_terminal(stream: TextIO) -> bool:
    """Whether colours and bars may go there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width_of(stream: TextIO) -> int:
    """Columns of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def paint(text: str, meaning: str) -> str:
    """A text in the colour of a status."""
    colour = _COLOURS.get(meaning) if text else None
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def show(
    output: str,
    document: Any,
    *,
    names: Iterable[str],
    lines: Iterable[str],
) -> None:
    """Write data in the form that was asked for; ``lines`` are the table's."""
    match output:
        case "json":
            write(json.dumps(document, indent=2, ensure_ascii=False))
        case "yaml":
            write(as_yaml(document))
        case "name":
            write(*names)
        case _:
            write(*lines)


def as_yaml(document: Any) -> str:
    """A document as YAML, in its own order."""
    import yaml  # noqa: PLC0415 -- costs start-up, and few ask for it

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")


def write(*lines: str) -> None:
    """Write lines. Raises BrokenPipeError where the reader has gone."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(
    head: Row, rows: Sequence[Row], *, status: int | None = None, whole: bool = False
) -> list[str]:
    """Columns side by side, without empty ones; on a terminal no wider than it, unless ``whole``.

    ``status`` is the column that is coloured; it and those before it are never empty.
    """
    if not rows:
        return []
    used = [number for number, column in enumerate(zip(*rows, strict=True)) if any(column)]
    head, *rows = ([row[number] for number in used] for row in (head, *rows))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    coloured = is_terminal(sys.stdout)
    limit = width_of(sys.stdout) if sys.stdout.isatty() and not whole else sys.maxsize
    lines = [cut(_aligned(row, widths), limit) for row in (head, *rows)]
    if coloured and status is not None:
        at = sum(widths[:status]) + len(_GAP) * status
        lines[1:] = [
            _painted(line, at, row[status]) for line, row in zip(lines[1:], rows, strict=True)
        ]
    return lines


def _aligned(row: Row, widths: Sequence[int]) -> str:
    return _GAP.join(map(str.ljust, row, widths)).rstrip()


def _painted(line: str, at: int, word: str) -> str:
    end = at + len(word)
    return line[:at] + paint(word, word) + line[end:] if line[at:end] == word else line


def facts(pairs: Mapping[str, str | Sequence[str]]) -> list[str]:
    """Names and values below one another; what is empty is left out."""
    width = max(map(len, pairs))
    lines = []
    for name, value in pairs.items():
        values = [value] if isinstance(value, str) else value
        for number, line in enumerate(each for each in values if each):
            lines.append(f"  {'' if number else name:<{width}}  {line}")
    return lines
