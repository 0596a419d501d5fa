"""At which seed each planted fault is found.

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

__all__ = ["FAULTS", "FOUND_AT", "planted_sets"]

FOUND_AT: dict[str, int] = {
    "a_retry_is_forgotten": 1,
    "a_node_counts_with_each_attempt": 1,
    "only_what_pulls_has_a_place": 5,
    "silence_is_not_watched": 1,
    "what_agents_hold_is_forgotten_at_a_take_over": 17,
    "a_verdict_that_was_refused_is_given_up": 4,
    "an_end_that_was_refused_is_given_up": 7,
    "a_start_that_was_refused_is_given_up": 0,
    "what_was_refused_is_not_sent_again": 1,
    "an_image_that_arrived_has_to_arrive_again": 5,
    "a_stale_epoch_is_accepted": 0,
    "a_cancel_is_ignored": 4,
    "a_cancelled_task_is_forgotten_at_once": 0,
    "an_outcome_is_dropped_while_the_store_is_away": 5,
    "a_head_is_written_without_a_look": 1,
    "a_cancel_loses_to_an_outcome": 8,
    "a_cancel_counts_what_was_never_decided": 0,
    "a_create_is_answered_before_it_is_stored": 1,
    "outcomes_before_a_start_are_not_read": 1,
    "a_replica_stops_to_follow_heads": 0,
    "a_leader_never_steps_down": 0,
    "every_epoch_is_the_first": 0,
    "a_leader_does_not_wait_for_what_agents_hold": 20,
    "a_deposed_leader_publishes_on": 19,
    "a_webhook_is_forgotten_after_a_restart": 5,
    "an_end_that_was_not_told_is_forgotten": 5,
    "an_event_without_an_answer_is_published_again": 4,
    "each_delivery_has_an_id_of_its_own": 1,
    "a_deleted_set_is_repaired_on": 3,
    "repairs_have_no_limit": 0,
    "a_repair_that_was_refused_is_given_up": 0,
    "a_report_that_was_missed_is_not_asked_for": 1,
    "an_agent_that_was_restarted_is_not_told_what_is_wanted": 1,
    "a_replica_does_not_follow_sets": 1,
    "what_was_pulled_counts_as_warm_for_ever": 3,
}
"""By name of a plant: the first seed, from 0, at which it was found the last time.

What is not here was not found in as many histories as the table says.
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
            yield f"| {fault.name} | {fault.among} | {found[0] + 1} | {found[1].broken.law.name} |"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=60, help="histories for each")
    parser.add_argument("--only", default="", help="faults whose names hold this")
    options = parser.parse_args()
    for line in table(options.most, options.only):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
