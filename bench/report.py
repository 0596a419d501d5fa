"""What a run has measured, as a section of ``docs/benchmarks.md`` that the run itself writes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from sandbox.programs import PROJECT

DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PREAMBLE = """# Benchmarks

Every section is written by the run that measured it: `make bench ARGS="<name> --write"`. All
parts, load generators included, share the cores of one machine. What is said in ratios was taken in
one run, in turns, so that it holds on a busy machine, too; seconds on the clock do not. CPU time is
user and system time of a process.
"""


class Report:
    """One section. Tables have a first column of names, and figures in all others."""

    def __init__(self, name: str, title: str, about: str) -> None:
        self._name = name
        self._about = about
        self._title = title
        self._tables: list[str] = []
        self._began = os.getloadavg()[0]
        self._since = time.monotonic()

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table, and print it."""
        lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        self._tables.append(text)
        print(f"\n{text}\n", flush=True)

    def say(self, text: str) -> None:
        """Add a paragraph, and print it."""
        self._tables.append(text)
        print(text, flush=True)

    def write(self, command: str) -> None:
        """Put this section into the document, in the place of what it said before."""
        begin, end = f"<!-- {self._name} -->\n", f"<!-- end of {self._name} -->\n"
        parts = [self._about, f"`{command}`, {self._circumstances()}.", *self._tables]
        section = "\n\n".join([f"{begin}\n## {self._title}", *parts]) + f"\n\n{end}"
        text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else PREAMBLE
        before = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        is_there = before.search(text) is not None
        text = before.sub(lambda _: section, text) if is_there else f"{text}\n{section}"
        DOCUMENT.write_text(text, encoding="utf-8")

    def _circumstances(self) -> str:
        minutes = (time.monotonic() - self._since) / 60
        loads = f"{self._began:.1f} before and {os.getloadavg()[0]:.1f} at the end"
        return (
            f"{time.strftime('%Y-%m-%d')}, {minutes:.0f} minutes, on {_machine()}; {_versions()}; "
            f"load average {loads} ({os.cpu_count()} cores)"
        )


def _machine() -> str:
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    model = cpu[1] if cpu else platform.machine()
    gib = int(memory[1]) / 1024**2 if memory else 0
    return f"{os.cpu_count()} cores of {model}, {gib:.0f} GiB, Linux {platform.release()}"


def _versions() -> str:
    nats_server = Path(sys.executable).with_name("nats-server")
    said = subprocess.run([nats_server, "--version"], capture_output=True, text=True, check=True)
    packages = [f"{name} {version(name)}" for name in ("nats-py", "msgspec", "aiohttp")]
    server = said.stdout.strip().replace(": v", " ")
    return ", ".join([f"CPython {platform.python_version()}", server, *packages])
