"""Data to standard output: as a table, as the service's own document, or names alone."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from ips_client.command.text import cut_middle, shown

if TYPE_CHECKING:
    from rich.console import Console

Row = Sequence[str]

_STYLES: Final = {
    "completed": "green",
    "succeeded": "green",
    "present": "green",
    "pulled": "green",
    "failed": "red",
    "running": "cyan",
    "pulling": "cyan",
    "retrying": "yellow",
    "cancelled": "yellow",
}
LONGEST_CELL: Final = 48
"""Characters of a cell on a terminal, but for the last: a long name leaves others room."""
_UNBOUNDED: Final = 100_000
"""Columns of what is no terminal."""
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
"""How a formula begins; the page's exports have the same rule."""
_STEERING: Final = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What JSON may hold as it is, and a terminal may obey."""


def is_terminal(stream: TextIO) -> bool:
    """Whether colours and bars may go there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_unicode(stream: TextIO) -> bool:
    """Whether every character can be written there."""
    return (stream.encoding or "").lower().startswith("utf")


def width_of(stream: TextIO) -> int:
    """Columns of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def make_console(stream: TextIO, *, coloured: bool, width: int | None = None) -> Console:
    """A console that writes what it is given, in colours only where they may go."""
    from rich.console import Console  # noqa: PLC0415 -- costs start-up, and not all output needs it

    class Honest(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 -- rich calls this where it has caught it, to end the program

    return Honest(
        file=stream,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        force_jupyter=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        width=width,
    )


class Painted(str):
    """A line whose control characters are our own."""

    __slots__ = ()


class Table(list[str]):
    """The lines of a table, with the cells that they are made of."""

    __slots__ = ("head", "rows")

    def __init__(self, lines: Iterable[str], head: Row, rows: Sequence[Row]) -> None:
        super().__init__(lines)
        self.head = head
        self.rows = rows


JSONPATH: Final = "jsonpath="


def show(
    output: str,
    document: Any,
    *,
    names: Iterable[str],
    lines: Iterable[str],
) -> None:
    """Write data in the form that was asked for; ``lines`` are the table's.

    Raises ValueError where it has no such form.
    """
    if output.startswith(JSONPATH):
        from ips_client.command.jsonpath import render  # noqa: PLC0415 -- few ask for it

        text = render(output.removeprefix(JSONPATH), document)
        if text:
            write_data(text.removesuffix("\n"))
        return
    match output:
        case "csv":
            if not isinstance(lines, Table):
                raise ValueError("-o csv is for lists")  # noqa: TRY004 -- a user's fault
            write_data(_as_csv(lines))
        case "json":
            write_data(as_json(document))
        case "yaml":
            write_data(as_yaml(document))
        case "name":
            write(*names)
        case _:
            write(*lines)


def _as_csv(table: Table) -> str:
    """Cells as RFC 4180 has them; what in them steers a terminal is escaped.

    A cell that a spreadsheet would take for a formula is a text: it may come from anybody.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in (table.head, *table.rows):
        writer.writerow([_as_text(cell) for cell in row])
    return out.getvalue().rstrip("\n")


def _as_text(cell: str) -> str:
    is_formula = _FORMULA.match(cell) and cell != "-"  # which is our own word for nothing
    return f"'{shown(cell)}" if is_formula else shown(cell)


def as_json(document: Any, *, indent: int | None = 2) -> str:
    """A document as JSON that neither steers a terminal nor has what its encoding lacks."""
    text = json.dumps(document, indent=indent, ensure_ascii=not is_unicode(sys.stdout))
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_yaml(document: Any) -> str:
    """A document as YAML, in its own order."""
    import yaml  # noqa: PLC0415 -- costs start-up, and few ask for it

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        document, Dumper=dumper, sort_keys=False, allow_unicode=is_unicode(sys.stdout)
    )
    if not all(map(str.isprintable, text.split("\n"))):
        text = yaml.dump(document, Dumper=dumper, sort_keys=False)  # all beyond ASCII is escaped
    return text.rstrip("\n")


def write(*lines: str) -> None:
    """Write lines; what in them could steer a terminal is escaped. Raises BrokenPipeError."""
    for line in lines:
        sys.stdout.write(f"{line if isinstance(line, Painted) else shown(line)}\n")
    sys.stdout.flush()


def write_data(text: str) -> None:
    """Write what is data, or a script, as it is. Raises BrokenPipeError."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(
    head: Row,
    rows: Sequence[Row],
    *,
    status: int | None = None,
    whole: bool = False,
    none: str = "",
) -> Table:
    """Columns side by side; on a terminal without empty ones, and no wider than it.

    ``whole`` cuts nothing. ``status`` is the column that is coloured; it and those before it are
    never empty. Where the width does not suffice the last columns are cut. ``none`` is said where
    there are no rows.
    """
    if not rows:
        return Table([none] if none else [], head, rows)
    from rich.table import Table as Grid  # noqa: PLC0415 -- see make_console
    from rich.text import Text  # noqa: PLC0415

    made = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    is_read = sys.stdout.isatty()
    narrow = is_read and not whole
    nothing = "" if is_read else "-"  # a program counts columns, whatever stands in them today
    columns = enumerate(zip(*rows, strict=True))
    used = [number for number, column in columns if any(column) or not is_read]
    for number in used:
        made.add_column(Text(head[number]), no_wrap=number != used[-1])

    def fitted(cell: str, at: int) -> str:
        text = shown(cell or nothing)
        return cut_middle(text, LONGEST_CELL) if narrow and at != used[-1] else text

    for row in rows:
        styles = [_STYLES.get(row[at], "") if at == status else "" for at in used]
        made.add_row(
            *(
                Text(fitted(row[at], at), style, no_wrap=True, overflow="ellipsis")
                for at, style in zip(used, styles, strict=True)
            )
        )
    out = io.StringIO()
    make_console(
        out,
        coloured=is_terminal(sys.stdout),
        width=width_of(sys.stdout) if narrow else _UNBOUNDED,
    ).print(made)
    return Table([Painted(line.rstrip()) for line in out.getvalue().splitlines()], head, rows)


def facts(pairs: Mapping[str, str | Sequence[str]]) -> list[str]:
    """Names and values below one another; what is empty is left out."""
    width = max(map(len, pairs))
    lines = []
    for name, value in pairs.items():
        values = [value] if isinstance(value, str) else value
        for number, line in enumerate(each for each in values if each):
            lines.append(f"  {'' if number else name:<{width}}  {line}")
    return lines
