"""Shortens a history that breaks a law: strikes are left out while it still breaks the same one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sandbox.simulator.history import Lived
from sandbox.simulator.strikes import Plan, Strike


def shorten(failed: Lived, live: Callable[[Plan], Lived], tries: int = 200) -> Lived:
    """The shortest history found that breaks the same law, in so many tries at most.

    Halves of the strikes are left out, then quarters, and so on (Zeller's ddmin).
    """
    assert failed.broken is not None  # noqa: S101 -- there is nothing else to shorten
    law, best = failed.broken.law, failed
    parts = 2
    while tries > 0 and len(best.plan.strikes) > 1:
        strikes = best.plan.strikes
        for rest in _without_a_part(strikes, parts):
            tries -= 1
            tried = live(replace(best.plan, strikes=tuple(rest)))
            if tried.broken is not None and tried.broken.law is law:
                best, parts = tried, max(parts - 1, 2)
                break
            if tries <= 0:
                break
        else:
            if parts >= len(strikes):
                break
            parts = min(parts * 2, len(strikes))
    return best


def _without_a_part(strikes: Sequence[Strike], parts: int) -> list[list[Strike]]:
    size = -(-len(strikes) // parts)
    starts = range(0, len(strikes), size)
    return [[*strikes[:start], *strikes[start + size :]] for start in starts]
