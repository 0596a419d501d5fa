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
    "what_agents_hold_is_forgotten_at_a_take_over": 18,
    "a_verdict_that_was_refused_is_given_up": 5,
    "an_end_that_was_refused_is_given_up": 8,
    "a_start_that_was_refused_is_given_up": 1,
    "what_was_refused_is_not_sent_again": 2,
    "an_image_that_arrived_has_to_arrive_again": 6,
    "a_stale_epoch_is_accepted": 1,
    "a_cancel_is_ignored": 5,
    "a_cancelled_task_is_forgotten_at_once": 1,
    "an_outcome_is_dropped_while_the_store_is_away": 6,
    "a_head_is_written_without_a_look": 2,
    "a_cancel_loses_to_an_outcome": 9,
    "a_cancel_counts_what_was_never_decided": 1,
    "a_create_is_answered_before_it_is_stored": 2,
    "a_replica_stops_to_follow_heads": 1,
    "a_leader_never_steps_down": 1,
    "every_epoch_is_the_first": 1,
    "a_leader_does_not_wait_for_what_agents_hold": 21,
    "what_happens_while_a_leader_catches_up_is_dropped": 12,
    "a_webhook_is_forgotten_after_a_restart": 6,
    "an_end_that_was_not_told_is_forgotten": 6,
    "an_event_without_an_answer_is_published_again": 5,
    "each_delivery_has_an_id_of_its_own": 2,
    "a_deleted_set_is_repaired_on": 4,
    "repairs_have_no_limit": 1,
    "a_repair_that_was_refused_is_given_up": 1,
    "a_report_that_was_missed_is_not_asked_for": 2,
    "an_agent_that_was_restarted_is_not_told_what_is_wanted": 2,
    "a_replica_does_not_follow_sets": 2,
    "what_was_pulled_counts_as_warm_for_ever": 4,
}
"""By name of a plant: in how many histories, from seed 0, it was found the last time.

What is not here was not found in as many as the table says.
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
