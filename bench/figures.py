"""How figures are taken and shown."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Span:
    """Wall and own CPU time of something, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def timed() -> Iterator[Span]:
    """Time what happens inside."""
    span = Span()
    wall, cpu = time.monotonic(), time.process_time()
    yield span
    span.wall, span.cpu = time.monotonic() - wall, time.process_time() - cpu


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which so large a part of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def show(name: str, value: str, goal: str = "") -> None:
    """Print one figure, and what was aimed at."""
    print(f"  {name:<58} {value:>14}   {goal}", flush=True)
