"""``python -m sandbox.simulator --seeds 200 --first 0``, or ``--seed 17`` for one, told in full."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

from sandbox.simulator.history import Lived, live
from sandbox.simulator.shortening import shorten
from sandbox.simulator.strikes import draw

AT_A_TIME = 20
"""Seeds that a process takes at once."""


def main() -> int:
    """Run histories; 1 if a law was broken in one."""
    options = _options()
    logging.disable(logging.CRITICAL)  # of the programs: what counts is in the trace
    if options.seed is not None:
        return _tell(options.seed, shortened=options.shorten)
    seeds = range(options.first, options.first + options.seeds)
    return _run(seeds, options.jobs, options.stop_after)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="so many histories")
    parser.add_argument("--first", type=int, default=0, help="beginning with this seed")
    parser.add_argument("--seed", type=int, help="one alone, told in full")
    parser.add_argument("--shorten", action="store_true", help="with --seed: as short as it fails")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--stop-after", type=int, default=3, help="failures, and then no more")
    return parser.parse_args()


def _tell(seed: int, *, shortened: bool) -> int:
    """One history, line by line."""
    lived = live(draw(seed), keep_lines=True)
    if shortened and lived.broken is not None:
        lived = shorten(lived, partial(live, keep_lines=True))
    print(lived.plan)
    print(*lived.lines, sep="\n")
    print(f"trace {lived.trace}, {lived.seconds:.0f} s of virtual time")
    if lived.broken is not None:
        print(f"BROKEN {lived.broken}")
    return int(lived.broken is not None)


def _live(seed: int) -> Lived:
    return live(draw(seed))


def _all(seeds: Iterable[int], jobs: int) -> Iterator[Lived]:
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        if pool is None:
            yield from map(_live, seeds)
        else:
            yield from pool.map(_live, seeds, chunksize=AT_A_TIME)


def _run(seeds: range, jobs: int, stop_after: int) -> int:
    """Many; those that fail are shortened."""
    number, hours, cpu, failed = 0, 0.0, 0.0, 0
    for lived in _all(seeds, jobs):
        number += 1
        hours += lived.seconds / 3600
        cpu += lived.cpu
        if lived.broken is None:
            continue
        failed += 1
        _tell_failure(lived)
        if failed >= stop_after:
            break
    pace = hours / (cpu / 60) if cpu else 0.0
    print(
        f"{number} histories, {hours:.1f} simulated hours in {cpu:.1f} s of CPU"
        f" ({pace:.0f} hours a minute), {failed} broken"
    )
    return int(failed > 0)


def _tell_failure(lived: Lived) -> None:
    print(f"seed {lived.plan.seed} breaks a law: {lived.broken}")
    shortened = shorten(lived, live)
    print(f"shortened from {len(lived.plan.strikes)} to {len(shortened.plan.strikes)} strikes:")
    print(shortened.plan)
    print(f"  {shortened.broken}")
    print(f"again, in full: make sim SEED={lived.plan.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
