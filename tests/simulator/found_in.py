"""In how many histories each planted fault is found.

``python -m tests.simulator.found_in`` measures it anew: the dictionary below, and the table of
``docs/simulator.md``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator

import pytest

from tests.simulator import planted_sets
from tests.simulator.planted import FAULTS

__all__ = ["FAULTS", "FOUND_IN", "planted_sets"]

FOUND_IN: dict[str, int] = {
    "a_retry_is_forgotten": 2,
    "a_node_counts_with_each_attempt": 2,
    "only_what_pulls_has_a_place": 6,
    "silence_is_not_watched": 2,
    "what_agents_hold_is_forgotten_at_a_take_over": 21,
    "what_was_refused_is_not_sent_again": 2,
    "a_cancel_is_ignored": 5,
    "an_outcome_is_dropped_while_the_store_is_away": 6,
    "a_head_is_written_without_a_look": 2,
    "outcomes_before_the_start_are_dropped": 2,
    "a_replica_stops_to_follow_heads": 1,
    "a_leader_never_steps_down": 1,
    "every_epoch_is_the_first": 1,
    "events_are_told_twice_after_a_start": 2,
    "a_webhook_is_forgotten_after_a_restart": 33,
    "an_end_that_was_not_told_is_forgotten": 23,
    "each_delivery_has_an_id_of_its_own": 2,
}
"""By name of a plant: in how many histories, from seed 0, it was found the last time.

What is not here was not found in the few that there was time for.
"""


def table(most: int, only: str) -> Iterator[str]:
    """In how many histories each fault is found, and by which law: lines of Markdown."""
    for fault in FAULTS:
        if only not in fault.name:
            continue
        with pytest.MonkeyPatch.context() as patch:
            found = fault.find(most, patch)
        if found is None or found[1].broken is None:
            yield f"| {fault.name} | {fault.among} | not in {most} | |"
        else:
            yield f"| {fault.name} | {fault.among} | {found[0]} | {found[1].broken.law.name} |"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=60, help="histories for each")
    parser.add_argument("--only", default="", help="faults whose names hold this")
    options = parser.parse_args()
    for line in table(options.most, options.only):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
