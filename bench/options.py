"""What a run of the benches was told."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Words behind ``python -m bench``."""

    names: list[str]
    """Which benches; none for all."""
    write: bool
    nodes: list[int] | None
    coordinators: int
    rounds: int
    minutes: float
    words: list[str]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Options:
        """Ends the program where they are none."""
        parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
        parser.add_argument("names", nargs="*", metavar="BENCH")
        parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
        parser.add_argument("--nodes", type=_numbers, metavar="N,N", help="sizes of the fleet")
        parser.add_argument("--coordinators", type=int, default=2, metavar="N")
        parser.add_argument("--rounds", type=int, default=3, metavar="N", help="median of so many")
        parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
        return cls(**vars(parser.parse_args(words)), words=list(words))

    @property
    def command(self) -> str:
        """The command that was given."""
        words = [word for word in self.words if word != "--write"]
        return f"make bench ARGS={shlex.quote(' '.join(words))}"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
