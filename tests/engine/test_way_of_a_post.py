"""How far the way of a POST is through the coordinator, until the outcome it leads to counts.

Counted in virtual time, so that the figures are the same in every run; ``scripts/trace-post``
counts the same on a real bus. A way that grows is easier to see here than in any of its steps.
"""

from __future__ import annotations

import asyncio

from sandbox.call_trace import CallTrace
from sandbox.simulator.cluster import Cluster
from sandbox.virtual.time import virtual

DECIDES = ("coordinator/engine/", "coordinator/core/", "coordinator/store.py")
CHANGES_THERE = 104
"""Of module, among what decides and stores; the table of sets looks at three of the events, an
image's tally at two, and who dispatches asks a task whether it names credentials."""
CHANGES = 150
"""Of module, with all that is read, shown and logged by the way; the bus left out."""
ENTERED = 4
"""No object is entered more often by others, but for these."""
MORE_OFTEN = {
    # A head and its list are written, a head is swapped, earlier outcomes are looked for, and the
    # outcome is stored and read back.
    "Store": 5,
    # Read once an event, and once for each of two heads.
    "Clock": 6,
    # Each of three events, and twice what they have to tell together.
    "Briefer": 5,
}
OF_THE_BUS = {"VirtualBus", "KeyValue", "PendingCalls"}


async def traced() -> CallTrace:
    """One task with one image, on one node."""
    trace = CallTrace()
    async with Cluster() as cluster:
        leader = await cluster.leader()
        await cluster.node("n1", seconds=0.2)
        await asyncio.sleep(3.0)
        trace.begin()
        try:
            await cluster.create(leader)
            await trace.over.wait()
        finally:
            trace.end()
    return trace


@virtual
async def test_the_way_of_a_post_stays_short() -> None:
    """From the create on: what is entered of the coordinator, one after the other."""
    trace = await traced()
    beside_bus = {entry.file for entry in trace.entries if not entry.file.startswith("common/bus/")}
    assert trace.changes(DECIDES) <= CHANGES_THERE
    assert trace.changes(beside_bus) <= CHANGES
    entered = trace.entered()
    too_often = {
        name: count
        for name, count in entered.items()
        if count > MORE_OFTEN.get(name, ENTERED) and name not in OF_THE_BUS
    }
    assert not too_often
