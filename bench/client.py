"""What a script pays for each start of ``ips``, in multiples of ``python -c pass`` (CPU time)."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

from bench.figures import show
from sandbox.programs import Coordinator

PAIRS = 21


async def run() -> None:
    """Measure and print; the pairs are taken in turn."""
    print("start-up of the command ips, against python -c pass, medians of pairs")
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(Path(folder))
        coordinator.start()
        await coordinator.ready()
        try:
            env = {"PATH": os.environ["PATH"], "IPS_SERVER": coordinator.url}
            for words in (["--version"], ["ls"]):
                ratio = await asyncio.to_thread(_ratio, words, env)
                show(f"ips {' '.join(words)}", f"{ratio:.1f} x")
        finally:
            await coordinator.terminate()


def _ratio(words: list[str], env: dict[str, str]) -> float:
    program = str(Path(sys.executable).with_name("ips"))
    nothing = [sys.executable, "-c", "pass"]
    pairs = [(_cpu([program, *words], env), _cpu(nothing, env)) for _ in range(PAIRS)]
    return statistics.median(mine / bare for mine, bare in pairs)


def _cpu(command: list[str], env: dict[str, str]) -> float:
    """CPU seconds of a program, start to end."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    process = os.posix_spawn(command[0], command, env, file_actions=null)
    _, status, used = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{command} failed")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(run())
