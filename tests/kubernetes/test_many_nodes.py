"""5,000 nodes of real size: what they cost the coordinator, and how soon a change is known."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from sandbox.kubernetes.control_plane import ControlPlane
from tests.fixtures.kubernetes import Kube
from tests.kubernetes.conftest import Watch
from tests.kubernetes.table import equal

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

COUNT = 5_000
LABELS = {f"example.com/label-{number}": f"value-{number}" for number in range(20)}
PADDING = 18_000
CHANGES, PER_SECOND = 1_000, 200


class Turns:
    """The longest CPU time, in s, that one callback of this thread's event loop took.

    CPU time, because others' work on a busy machine is not what blocks the loop.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.culprit = ""
        self._thread = threading.get_ident()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure every callback of whatever loop runs."""
        run, clock = asyncio.Handle._run, time.thread_time

        def timed(handle: asyncio.Handle) -> None:
            began = clock()
            run(handle)
            took = clock() - began
            if took > self.longest and threading.get_ident() == self._thread:
                self.longest, self.culprit = took, repr(handle)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", timed)
            yield


async def make_nodes(kube: Kube) -> list[str]:
    """Create all nodes, sixteen at a time; their names."""
    slots = asyncio.Semaphore(16)

    async def create(name: str) -> None:
        async with slots:
            await kube.create_node(name, {**LABELS, "example.com/name": name}, padding=PADDING)

    names = [f"node-{number:04}" for number in range(COUNT)]
    await asyncio.gather(*map(create, names))
    return names


async def test_five_thousand_nodes_cost_little_and_never_block(
    kube: Kube, watch: Watch, record_property: Callable[[str, object], None]
) -> None:
    """No turn of the loop over 20 ms, less than 20 MiB kept; changes are known at once."""
    names = await make_nodes(kube)
    gc.collect()
    gc.freeze()  # the heap of the tests is no part of what is measured
    tracemalloc.start()
    _, table = await watch(kube.config)
    await table.until(lambda: table.is_listed, within=120)
    kept = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    assert len(table.nodes) == COUNT
    assert kept < 20, f"{kept:.1f} MiB are kept"

    turns = Turns()
    with turns.measured():
        began = time.monotonic()
        _, table = await watch(kube.config)
        await table.until(lambda: table.is_listed, within=120)
        listed = time.monotonic() - began
        sent = await asyncio.to_thread(lambda: asyncio.run(_changes(kube.plane, names)))
        await table.until(lambda: all("changed" in table.nodes[name].labels for name in sent))
    # An answer may be read later than the event that belongs to it.
    seconds = sorted(max(0.0, table.seen_at[name] - sent[name]) for name in sent)
    gc.unfreeze()
    await equal(table, kube)
    await kube.clear()
    await table.until(lambda: not table.nodes, within=120)
    p99 = seconds[int(CHANGES * 0.99)]
    figures = {
        "kept_mib": round(kept, 1),
        "listed_s": round(listed, 2),
        "longest_turn_ms": round(turns.longest * 1e3, 1),
        "change_p50_ms": round(seconds[CHANGES // 2] * 1e3, 1),
        "change_p99_ms": round(p99 * 1e3, 1),
    }
    for name, value in figures.items():
        record_property(name, value)
    logging.getLogger(__name__).info("%s", figures)  # pytest --log-cli-level=info shows it
    assert turns.longest < 0.02, turns.culprit
    assert p99 < 1.0


async def _changes(plane: ControlPlane, names: Sequence[str]) -> dict[str, float]:
    """Label nodes at an even pace, on a loop of its own; when each request was answered."""
    answered: dict[str, float] = {}

    async def change(name: str, when: float) -> None:
        await asyncio.sleep(when - time.monotonic())
        await kube.label(name, changed="yes")
        answered[name] = time.monotonic()

    async with plane.client() as http:
        kube, began = Kube(plane, http), time.monotonic()
        changes = [change(name, began + n / PER_SECOND) for n, name in enumerate(names[:CHANGES])]
        await asyncio.gather(*changes)
    return answered
