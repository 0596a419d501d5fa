"""Outcomes reach the store in order and once, whatever store and disk do. In virtual time."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agent.events import Event, OutcomeSettled
from agent.metrics import Metrics, MetricsObserver
from agent.notices import (
    AlreadyDecided,
    Notice,
    OutcomeRefused,
    SpoolRefused,
    SpoolUnreadable,
    StoreFailed,
)
from agent.outbox import LONGEST_PAUSE, Outbox, OutcomeSpool
from agent.spool import Spool, ThreadedSpool
from common.backoff import Backoff
from common.bus import BusError, NoResponders, NotConnected, StoreUnavailable, TimedOut
from common.messages import Outcome, OutcomeAnswer, OutcomeResult
from common.subjects import AttemptKey
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

NODE = "node-1"
KEYS = [AttemptKey(f"task-20260116-151234-0000000{n}", NODE, 1) for n in range(3)]
OUTCOME = Outcome(seconds=1.0)
STORED = OutcomeAnswer(result=OutcomeResult.STORED)
DECIDED = OutcomeAnswer(result=OutcomeResult.DECIDED)
REFUSED = OutcomeAnswer(result=OutcomeResult.REFUSED, message="Node n is not one of the task's.")


class ScriptedStore:
    """Answers as the test has written down, then takes everything."""

    def __init__(self, *answers: BusError | OutcomeAnswer) -> None:
        self._answers = list(answers)
        self.stored: list[AttemptKey] = []
        self.tries = 0
        self.connected = asyncio.Event()
        self.connected.set()

    def heal(self) -> None:
        """Refuse nothing from now on."""
        self._answers.clear()

    def fail_once(self) -> None:
        """Refuse the next one."""
        self._answers.append(StoreUnavailable("no leader"))

    async def wait_connected(self) -> None:
        """Wait for the test to connect."""
        await self.connected.wait()

    async def store(self, key: AttemptKey, outcome: bytes) -> OutcomeAnswer:
        """Take an outcome, or answer otherwise."""
        assert msgspec.json.decode(outcome, type=Outcome) == OUTCOME
        self.tries += 1
        answer = self._answers.pop(0) if self._answers else STORED
        if isinstance(answer, BusError):
            raise answer
        if answer is STORED:
            self.stored.append(key)
        return answer


class MemorySpool:
    """A spool without a disk, which refuses as the test wants."""

    def __init__(self) -> None:
        self.files: dict[AttemptKey, bytes] = {}
        self.refuses = False
        self.unreadable: list[tuple[str, str]] = []

    def load(self) -> list[tuple[AttemptKey, bytes]]:
        """What is there, the oldest first."""
        self._check()
        return list(self.files.items())

    async def write(self, key: AttemptKey, outcome: bytes) -> None:
        """Keep an outcome."""
        self._check()
        self.files[key] = outcome

    async def remove(self, key: AttemptKey) -> None:
        """Drop an outcome."""
        self._check()
        self.files.pop(key, None)

    def _check(self) -> None:
        if self.refuses:
            raise OSError("no space left")


class Bench:
    """An outbox, what it emits, and what it notices."""

    def __init__(
        self, store: ScriptedStore, spool: OutcomeSpool | Spool | None = None, seed: int = 1
    ) -> None:
        self.store = store
        self.registry = CollectorRegistry()
        self.events: list[Event] = []
        self.notices: list[Notice] = []
        self._observer = MetricsObserver(Metrics(self.registry))
        self.outbox = Outbox(
            store=store,
            spool=ThreadedSpool(spool) if isinstance(spool, Spool) else spool,
            backoff=Backoff(LONGEST_PAUSE, Random(seed)),
            emit=self.events.append,
            notify=self.notify,
        )

    def notify(self, notice: Notice) -> None:
        """Keep a notice, and have it counted."""
        self.notices.append(notice)
        self._observer.noticed(notice)

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


def test_in_order() -> None:
    """Outcomes are stored in the order in which they came."""
    bench = Bench(ScriptedStore())
    bench.run(deliver_all)
    assert bench.store.stored == KEYS
    assert bench.settled == KEYS


@pytest.mark.parametrize("refusal", [NotConnected("away"), NoResponders("nobody"), TimedOut("5 s")])
def test_until_stored(refusal: BusError) -> None:
    """A store that refuses is asked for as long as it takes, and nothing overtakes."""
    bench = Bench(ScriptedStore(*[refusal] * 50))
    bench.run(deliver_all)
    assert bench.store.stored == KEYS
    assert bench.settled == KEYS


def test_already_decided() -> None:
    """An attempt that is decided already is settled, and its outcome dropped."""
    bench = Bench(ScriptedStore(DECIDED))
    bench.run(deliver_all)
    assert bench.store.stored == KEYS[1:]
    assert bench.settled == KEYS


def test_refused() -> None:
    """An outcome that is refused for good is dropped, noticed and counted; the next one is sent."""
    spool = MemorySpool()
    bench = Bench(ScriptedStore(REFUSED), spool)
    bench.run(deliver_all)
    assert bench.store.stored == KEYS[1:]
    assert bench.settled == KEYS
    assert bench.notices == [OutcomeRefused(KEYS[0], REFUSED.message)]
    assert bench.registry.get_sample_value("ips_agent_unfit_results_total", {"result": "refused"})


def test_discarded() -> None:
    """An outcome that nobody wants any more is not tried again, and does not block the others."""

    async def script(bench: Bench) -> None:
        for key in KEYS:
            bench.outbox.deliver(key, OUTCOME)
        await asyncio.sleep(1)
        assert bench.store.tries > 0
        bench.outbox.discard(KEYS[0])
        await bench.outbox.emptied()

    bench = Bench(ScriptedStore(*[StoreUnavailable("no leader")] * 50))
    bench.run(script)
    assert bench.store.stored == KEYS[1:]
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
    assert bench.store.stored == KEYS


def test_disk_refuses(tmp_path: Path) -> None:
    """A disk that refuses an outcome is counted, and the outcome is sent all the same."""
    with Spool(tmp_path, NODE) as spool:
        (tmp_path / f"{KEYS[0].task}.1.json").mkdir()
        bench = Bench(ScriptedStore(), spool)
        bench.run(deliver_all)
    assert bench.store.stored == KEYS
    assert bench.registry.get_sample_value("ips_agent_spool_failures_total")


def test_unreadable_disk(tmp_path: Path) -> None:
    """A folder that cannot be read at all is counted and stops nothing."""
    with Spool(tmp_path / "folder", NODE) as spool:
        (tmp_path / "folder").rename(tmp_path / "elsewhere")
        bench = Bench(ScriptedStore(), spool)
        assert bench.outbox.recover() == []
    assert bench.registry.get_sample_value("ips_agent_spool_failures_total") == 1


# ── what observers see ───────────────────────────────────────────────────────────────────────


def test_spooled_before_it_is_stored() -> None:
    """An outcome is safe before the first try to store it, and leaves the spool after the last."""
    spool = MemorySpool()

    async def script(bench: Bench) -> None:
        bench.store.connected.clear()
        bench.outbox.deliver(KEYS[0], OUTCOME)
        await asyncio.sleep(1)
        assert list(spool.files) == [KEYS[0]]
        bench.store.connected.set()
        await asyncio.sleep(1)

    bench = Bench(ScriptedStore(), spool)
    bench.run(script)
    assert spool.files == {}
    assert bench.notices == []


def test_notices_of_the_store() -> None:
    """Each try that fails is noticed, and that another has decided."""
    store = ScriptedStore(StoreUnavailable("no leader"), NotConnected("away"), DECIDED)
    bench = Bench(store)
    bench.run(deliver_all)
    assert bench.notices == [
        StoreFailed(KEYS[0], "no leader"),
        StoreFailed(KEYS[0], "away"),
        AlreadyDecided(KEYS[0]),
    ]


def test_notices_of_the_spool() -> None:
    """A disk that refuses is noticed for each outcome, and stops none."""
    spool = MemorySpool()
    spool.refuses = True
    bench = Bench(ScriptedStore(), spool)
    assert bench.outbox.recover() == []
    bench.run(deliver_all)
    assert bench.settled == KEYS
    assert bench.notices[0] == SpoolUnreadable("no space left")
    refused = [notice.key for notice in bench.notices if isinstance(notice, SpoolRefused)]
    assert refused[: len(KEYS)] == KEYS


def test_pauses_grow_and_begin_anew() -> None:
    """The longer the store refuses, the less often it is asked; each outcome starts over."""

    async def script(bench: Bench) -> None:
        bench.outbox.deliver(KEYS[0], OUTCOME)
        await asyncio.sleep(600)
        assert 600 / LONGEST_PAUSE < bench.store.tries < 600
        before = bench.store.tries
        bench.store.heal()
        await bench.outbox.emptied()
        bench.store.fail_once()
        began = asyncio.get_running_loop().time()
        bench.outbox.deliver(KEYS[1], OUTCOME)
        await bench.outbox.emptied()
        assert asyncio.get_running_loop().time() - began <= Backoff.FIRST_CEILING
        assert bench.store.tries == before + 3

    Bench(ScriptedStore(*[StoreUnavailable("no leader")] * 10_000)).run(script)


def test_the_same_seed_gives_the_same_pauses() -> None:
    """All jitter comes from the source that is handed in."""

    def duration(seed: int) -> float:
        async def script(bench: Bench) -> None:
            await deliver_all(bench)
            ended.append(asyncio.get_running_loop().time())

        ended: list[float] = []
        Bench(ScriptedStore(*[StoreUnavailable("no leader")] * 20), seed=seed).run(script)
        return ended[0]

    assert duration(1) == duration(1) != duration(2)
