"""Outcomes reach the store in order and once, whatever store and disk do. In virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent.events import Event, OutcomeSettled
from agent.metrics import Metrics
from agent.outbox import LONGEST_PAUSE, Outbox
from agent.spool import Spool
from common import subjects
from common.bus import BusError, Conflict, NotConnected, StoreRefused, StoreUnavailable
from common.messages import Outcome
from common.subjects import AttemptKey
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

NODE = "node-1"
KEYS = [AttemptKey(f"task-20260116-151234-0000000{n}", NODE, 1) for n in range(3)]
OUTCOME = Outcome(seconds=1.0)


class ScriptedStore:
    """Refuses as the test has written down, then takes everything."""

    def __init__(self, *refusals: BusError) -> None:
        self._refusals = list(refusals)
        self.stored: list[str] = []
        self.tries = 0
        self.connected = asyncio.Event()
        self.connected.set()

    async def wait_connected(self) -> None:
        """Wait for the test to connect."""
        await self.connected.wait()

    async def store(self, subject: str, payload: bytes, *, expect_last: int | None) -> int:
        """Take a record, or refuse it."""
        assert expect_last == 0
        assert msgspec.json.decode(payload, type=Outcome) == OUTCOME
        self.tries += 1
        if self._refusals:
            raise self._refusals.pop(0)
        self.stored.append(subject)
        return len(self.stored)


class Bench:
    """An outbox and what it tells."""

    def __init__(self, store: ScriptedStore, spool: Spool | None = None) -> None:
        self.store = store
        self.registry = CollectorRegistry()
        self.events: list[Event] = []
        self.outbox = Outbox(
            store=store, spool=spool, metrics=Metrics(self.registry), tell=self.events.append
        )

    @property
    def settled(self) -> list[AttemptKey]:
        """Attempts that are decided, in order."""
        return [event.key for event in self.events if isinstance(event, OutcomeSettled)]

    def run(self, script: Callable[[Bench], Coroutine[None, None, None]]) -> None:
        """Run the outbox while a script goes on."""

        async def work() -> None:
            running = asyncio.create_task(self.outbox.run())
            await script(self)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()

        in_virtual_time(work())


async def deliver_all(bench: Bench) -> None:
    """Deliver three outcomes and wait until they are stored."""
    for key in KEYS:
        bench.outbox.deliver(key, OUTCOME)
    await bench.outbox.emptied()


def in_order(keys: Sequence[AttemptKey]) -> list[str]:
    """The subjects of these outcomes."""
    return [subjects.result(*key) for key in keys]


def test_in_order() -> None:
    """Outcomes are stored in the order in which they came."""
    bench = Bench(ScriptedStore())
    bench.run(deliver_all)
    assert bench.store.stored == in_order(KEYS)
    assert bench.settled == KEYS


@pytest.mark.parametrize(
    "refusal", [NotConnected("away"), StoreUnavailable("no leader"), StoreRefused("disk full")]
)
def test_until_stored(refusal: BusError) -> None:
    """A store that refuses is asked for as long as it takes, and nothing overtakes."""
    bench = Bench(ScriptedStore(*[refusal] * 50))
    bench.run(deliver_all)
    assert bench.store.stored == in_order(KEYS)
    assert bench.settled == KEYS


def test_already_decided() -> None:
    """An attempt that is decided already is settled, and its outcome dropped."""
    bench = Bench(ScriptedStore(Conflict("wrong last sequence")))
    bench.run(deliver_all)
    assert bench.store.stored == in_order(KEYS[1:])
    assert bench.settled == KEYS


def test_discarded() -> None:
    """An outcome that nobody wants any more is not tried again, and does not block the others."""

    async def script(bench: Bench) -> None:
        for key in KEYS:
            bench.outbox.deliver(key, OUTCOME)
        await asyncio.sleep(1)
        assert bench.store.tries > 0
        bench.outbox.discard(KEYS[0])
        await bench.outbox.emptied()

    bench = Bench(ScriptedStore(*[StoreUnavailable("no leader")] * 4))
    bench.run(script)
    assert bench.store.stored == in_order(KEYS[1:])
    assert bench.settled == KEYS[1:]


def test_away() -> None:
    """While there is no connection nothing is tried; afterwards everything goes at once."""

    async def script(bench: Bench) -> None:
        bench.store.connected.clear()
        for key in KEYS:
            bench.outbox.deliver(key, OUTCOME)
        await asyncio.sleep(10 * LONGEST_PAUSE)
        assert bench.store.tries == 0
        bench.store.connected.set()
        await bench.outbox.emptied()

    bench = Bench(ScriptedStore())
    bench.run(script)
    assert bench.store.tries == len(KEYS)


def test_on_disk_first(tmp_path: Path) -> None:
    """What cannot be sent yet is on the disk, and leaves it when it is stored."""

    async def script(bench: Bench) -> None:
        bench.store.connected.clear()
        for key in KEYS:
            bench.outbox.deliver(key, OUTCOME)
        while len(list(tmp_path.glob("*.json"))) < len(KEYS):
            await asyncio.sleep(1)
        assert [key for key, _ in spool.load()] == KEYS
        bench.store.connected.set()
        await bench.outbox.emptied()
        while list(tmp_path.glob("*.json")):
            await asyncio.sleep(1)

    with Spool(tmp_path, NODE) as spool:
        Bench(ScriptedStore(), spool).run(script)


def test_recover(tmp_path: Path) -> None:
    """What a former run has left is sent before anything new."""

    async def script(bench: Bench) -> None:
        bench.outbox.deliver(KEYS[2], OUTCOME)
        await bench.outbox.emptied()
        while list(tmp_path.glob("*.json")):
            await asyncio.sleep(1)

    with Spool(tmp_path, NODE) as spool:
        for key in KEYS[:2]:
            spool.write(key, msgspec.json.encode(OUTCOME))
        bench = Bench(ScriptedStore(), spool)
        assert bench.outbox.recover() == KEYS[:2]
        bench.run(script)
    assert bench.store.stored == in_order(KEYS)


def test_disk_refuses(tmp_path: Path) -> None:
    """A disk that refuses an outcome is counted, and the outcome is sent all the same."""
    with Spool(tmp_path, NODE) as spool:
        (tmp_path / f"{KEYS[0].task}.1.json").mkdir()
        bench = Bench(ScriptedStore(), spool)
        bench.run(deliver_all)
    assert bench.store.stored == in_order(KEYS)
    assert bench.registry.get_sample_value("ips_agent_spool_failures_total")


def test_unreadable_disk(tmp_path: Path) -> None:
    """A folder that cannot be read at all is counted and stops nothing."""
    with Spool(tmp_path / "folder", NODE) as spool:
        (tmp_path / "folder").rename(tmp_path / "elsewhere")
        bench = Bench(ScriptedStore(), spool)
        assert bench.outbox.recover() == []
    assert bench.registry.get_sample_value("ips_agent_spool_failures_total") == 1
