"""A program's command line: it takes no arguments, and ``--help`` tells its settings."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from common.settings import Computed, ProgramSettings, Setting

_WIDTH: Final = 96


def read(module: str, purpose: str, settings: type[ProgramSettings], given: Sequence[str]) -> None:
    """Go on if nothing is given; else print help, or refuse with exit code 2 (``SystemExit``).

    ``module`` is what stands after ``python -m``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"{purpose} Told what to do by its environment:",
        epilog="\n".join(_table(settings)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(given)


def _table(settings: type[ProgramSettings]) -> Iterator[str]:
    for setting in settings.declarations().values():
        yield setting.name
        yield from textwrap.wrap(
            f"{setting.doc} ({setting.kind.accepts}{_default(setting)})".replace("`", ""),
            width=_WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
        )


def _default(setting: Setting[Any]) -> str:
    match setting.default:
        case Computed(words=words):
            return f"; default: {words}"
        case None:
            return "" if setting.optional else "; must be set"
        case text:
            return f"; default: {text}" if text else ""
