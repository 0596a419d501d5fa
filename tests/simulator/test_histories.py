"""Some histories in the fast ring, many in a ring of their own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from sandbox.simulator.history import Lived, live
from sandbox.simulator.laws import Broken, Law
from sandbox.simulator.shortening import shorten
from sandbox.simulator.strikes import Plan, Strike, draw

FEW = range(4)
ALWAYS = 1000
"""Seeds that are lived through each time."""
OTHERS = 200
"""Seeds beyond those (``make test-sim FROM=…`` lives through others)."""
AT_A_TIME = 25
LONGEST = 1800
"""Seconds for so many, on a machine that has little time left for them."""


def test_some_histories_break_no_law() -> None:
    """The first seeds; each is a tenth of a second."""
    for seed in FEW:
        assert live(draw(seed)).broken is None, f"make sim SEED={seed} tells what happened"


@pytest.mark.sim
@pytest.mark.deep
@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("first", range(len(FEW), ALWAYS, AT_A_TIME))
def test_many_histories_break_no_law(first: int) -> None:
    """The same ones each time; one that fails is shortened by ``make sim``."""
    _live_through(range(first, min(first + AT_A_TIME, ALWAYS)))


@pytest.mark.sim
@pytest.mark.deep
@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("further", range(0, OTHERS, AT_A_TIME))
def test_histories_that_nobody_has_seen_break_no_law(further: int) -> None:
    """Further ones from a seed that the environment names."""
    first = int(os.environ.get("SIM_FROM", str(ALWAYS))) + further
    _live_through(range(first, first + AT_A_TIME))


def _live_through(seeds: range) -> None:
    for seed in seeds:
        assert live(draw(seed)).broken is None, f"make sim SEED={seed} tells what happened"


def test_a_seed_is_the_same_in_every_process() -> None:
    """Whatever order sets and dictionaries of strings have there: another interpreter has to start.

    What is compared is a hash over all that was sent and stored, and when.
    """
    seed = 11
    program = (
        "import logging; logging.disable(logging.CRITICAL)\n"
        "from sandbox.simulator.history import live\n"
        "from sandbox.simulator.strikes import draw\n"
        f"print(live(draw({seed})).trace)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    other = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == live(draw(seed)).trace


def test_plans_differ_and_name_all_that_happens() -> None:
    """Two seeds, and what is printed of them."""
    first, second = draw(1), draw(2)
    assert first.strikes != second.strikes
    assert first == draw(1)
    assert str(first).count("\n") == len(first.strikes)


def test_a_history_that_fails_is_shortened_to_what_it_needs() -> None:
    """Two strikes of ten break the law, whatever the others do."""
    plan = draw(1)
    strikes = tuple(replace(plan.strikes[0], at=float(number)) for number in range(10))
    needed = {strikes[2], strikes[7]}

    def pretend(tried: Plan) -> Lived:
        broken = Broken(Law.CAP, "so it is") if needed <= set(tried.strikes) else None
        return Lived(tried, broken, "", 0.0, 0.0)

    shortened = shorten(pretend(replace(plan, strikes=strikes)), pretend)
    assert set(shortened.plan.strikes) == needed


def test_what_is_broken_can_be_sent_to_another_process() -> None:
    """``make sim JOBS=2`` lives through histories in several."""
    broken = Broken(Law.CAP, "so it is")
    back = pickle.loads(pickle.dumps(broken))  # noqa: S301 -- our own
    assert (back.law, str(back)) == (Law.CAP, str(broken))


def test_another_law_is_no_reason_to_shorten() -> None:
    """What is left breaks the same law."""
    plan = draw(1)
    strikes: tuple[Strike, ...] = plan.strikes[:4]

    def pretend(tried: Plan) -> Lived:
        law = Law.CAP if len(tried.strikes) == len(strikes) else Law.ENDS
        return Lived(tried, Broken(law, "so it is"), "", 0.0, 0.0)

    assert shorten(pretend(replace(plan, strikes=strikes)), pretend).plan.strikes == strikes
