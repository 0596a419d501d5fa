from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import aclosing

import msgspec
import pytest

from common import subjects
from common.bus import (
    BusError,
    Conflict,
    Draft,
    Electing,
    Record,
    StoreRefused,
    StoreUnavailable,
    StreamConfig,
    reading,
)
from common.bus import bus as bus_module
from coordinator.streams import definitions
from tests.fixtures.memory import ON_NATS, AnyBus, now, soon
from tests.fixtures.nats import NatsServer, OpenBus, StartNats, eventually, heard

BOTH = True
DELAY = (0.0001, 0.0005)

TASK = "task-20260116-151234-a1b2c3d4"
EVENT = f"{subjects.PREFIX}.event.node.failed.{TASK}"


def result(node: int, attempt: int = 1) -> str:
    """The subject of an outcome."""
    return subjects.result(TASK, f"n{node}", attempt)


async def store_results(bus: AnyBus, numbers: range) -> None:
    """Store one outcome for each node; so many at once as a busy machine answers in time."""
    for some in (numbers[first : first + 50] for first in range(0, len(numbers), 50)):
        await asyncio.gather(*(bus.store(result(n), b"%d" % n, expect_last=0) for n in some))


async def read(
    bus: AnyBus,
    stream: str = subjects.RESULTS,
    subject: str | list[str] = ">",
    *,
    start: int = 1,
    upto: int | None = None,
    last_per_subject: bool = False,
) -> list[Record]:
    """Replay to the end; no list on the way is empty."""
    found: list[Record] = []
    async for records in bus.replay(
        stream, subject, start=start, upto=upto, last_per_subject=last_per_subject
    ):
        assert records
        found += records
    return found


# ── write ──


async def test_the_first_writer_wins_for_ever(nats_server: NatsServer, bus: AnyBus) -> None:
    """Expected sequence 0 is refused after the first, after kill -9 as well.

    Decisions: outcomes are written once.
    """
    seq = await bus.store(result(1), b"first", expect_last=0)
    with pytest.raises(Conflict):
        await bus.store(result(1), b"second", expect_last=0)
    await nats_server.restart()
    await heard(bus)
    with pytest.raises(Conflict):
        await bus.store(result(1), b"third", expect_last=0)
    stored = await bus.last(subjects.RESULTS, result(1))
    assert stored is not None
    assert (stored.data, stored.seq) == (b"first", seq)


async def test_what_is_stored_soon_tells_a_callback(nats_server: NatsServer, bus: AnyBus) -> None:
    """Its sequence, or what became of it; nothing is sent while the store is away."""
    told: list[int | BusError] = []
    for _ in range(2):
        bus.store_soon(result(1), b"", expect_last=0, on_stored=told.append)
    bus.store_soon("nowhere.at.all", b"", expect_last=0, on_stored=told.append)
    await eventually(lambda: len(told) == 3)
    faults = [type(one) for one in told if isinstance(one, BusError)]
    assert (sorted(faults, key=str), [one for one in told if one == 1]) == (
        [Conflict, Electing],
        [1],
    )
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    with pytest.raises(StoreUnavailable):
        bus.store_soon(result(2), b"", expect_last=0, on_stored=told.append)
    assert len(told) == 3


async def test_what_is_stored_soon_is_waited_for_no_longer_than_all_else(
    nats_server: NatsServer, bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stands still may have it all the same."""
    monkeypatch.setattr(bus_module, "ANSWER_SECONDS", 0.2)
    told: list[int | BusError] = []
    await nats_server.pause()
    bus.store_soon(result(1), b"", expect_last=0, on_stored=told.append)
    await eventually(lambda: len(told) == 1)
    nats_server.resume()
    assert isinstance(told[0], StoreUnavailable)


async def test_the_newest_record_of_a_pattern_is_found(bus: AnyBus) -> None:
    """Whoever cancels asks for the newest outcome of a task, on whichever node."""
    assert await bus.last(subjects.RESULTS, subjects.results_of(TASK)) is None
    await bus.store(result(2), b"", expect_last=0)
    newest = await bus.store(result(1), b"", expect_last=0)
    record = await bus.last(subjects.RESULTS, subjects.results_of(TASK))
    assert record is not None
    assert (record.subject, record.seq) == (result(1), newest)


async def test_an_expectation_is_about_its_own_subject(bus: AnyBus) -> None:
    """What others store between does not matter."""
    seq = await bus.store(result(1), b"", expect_last=0)
    await bus.store(result(2), b"", expect_last=0)
    assert await bus.store(result(1), b"", expect_last=seq) == seq + 2
    with pytest.raises(Conflict):
        await bus.store(result(1), b"", expect_last=seq)
    await bus.store(result(1), b"", expect_last=None)


async def test_a_store_that_is_away_is_said_at_once_and_nothing_lands_later(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """No waiting while not connected, and nothing kept for afterwards."""
    await nats_server.kill()
    await eventually(lambda: not bus.connected)
    began = now()
    with pytest.raises(StoreUnavailable):
        await bus.store(result(1), b"", expect_last=0)
    with pytest.raises(StoreUnavailable):
        await bus.last(subjects.RESULTS, result(1))
    assert now() - began < soon(1)
    await nats_server.start()
    await heard(bus)
    assert await bus.last(subjects.RESULTS, result(1)) is None


async def test_a_write_without_an_answer_may_have_landed(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """The connection ends between the write and its answer: unavailable, and a repetition tells."""
    await nats_server.pause()
    storing = asyncio.create_task(bus.store(result(1), b"x", expect_last=0))
    await asyncio.sleep(0.1)
    await bus.session.hang_up()
    with pytest.raises(StoreUnavailable):
        await storing
    nats_server.resume()
    await heard(bus)
    async with asyncio.timeout(soon(5)):
        while await bus.last(subjects.RESULTS, result(1)) is None:
            await asyncio.sleep(0.02)
    with pytest.raises(Conflict):
        await bus.store(result(1), b"x", expect_last=0)


async def test_a_store_without_a_leader_is_asked_again(
    nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """No responders, as during an election: the write waits for the stream to be there."""
    bus = await open_bus(nats_server)
    storing = asyncio.create_task(bus.store(result(1), b"x", expect_last=0))
    await asyncio.sleep(0.5)
    assert not storing.done()
    for definition in definitions(replicas=1):
        await bus.ensure_stream(definition)
    assert await storing == 1


async def test_asking_again_has_an_end(bus: AnyBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subject of no stream is one of no leader: unavailable after a while."""
    monkeypatch.setattr(bus_module, "ELECTION_SECONDS", 0.3)
    with pytest.raises(StoreUnavailable, match="no stream takes it"):
        await bus.store("ips.v1.unknown", b"", expect_last=None)


async def test_a_full_store_refuses_in_its_own_words(
    start_nats: StartNats, open_bus: OpenBus
) -> None:
    """Nothing was stored, and what was stored can be read.

    Decisions: a full store does not stop reads.
    """
    server = await start_nats(jetstream={"max_file_store": 300_000})
    bus = await open_bus(server)
    results, *_ = definitions(replicas=1)
    await bus.ensure_stream(results)

    async def fill() -> None:
        for n in itertools.count(1):
            await bus.store(result(n), bytes(20_000), expect_last=0)

    with pytest.raises(StoreRefused, match="insufficient resources") as refused:
        await fill()
    assert refused.value.code == 10023
    assert 10 <= len(await read(bus)) <= 15


async def test_a_batch_is_stored_whole_and_in_order(bus: AnyBus) -> None:
    """200 messages, one answer: the sequence of the last."""
    drafts = [Draft(EVENT, b"%d" % n, {"Nats-Msg-Id": f"{n}"}) for n in range(200)]
    assert await bus.store_batch(drafts) == 200
    records = await read(bus, subjects.EVENTS)
    assert [record.data for record in records] == [draft.payload for draft in drafts]
    assert records[7].headers["Nats-Msg-Id"] == "7"


async def test_a_batch_with_one_conflict_is_not_stored(bus: AnyBus) -> None:
    """All or none."""
    await bus.store(EVENT, b"", expect_last=0)
    with pytest.raises(Conflict):
        await bus.store_batch([Draft(f"{EVENT}2", b""), Draft(EVENT, b"", expect_last=0)])
    assert (await bus.stream_state(subjects.EVENTS)).messages == 1


async def test_a_batch_may_not_expect_what_it_writes_itself(bus: AnyBus) -> None:
    """An expectation about a subject that stands before it in the batch is lost."""
    for expected in (0, 1, None):
        first = Draft(EVENT, b"", expect_last=0)
        storing = bus.store_batch([first, Draft(EVENT, b"", expect_last=expected)])
        if expected is None:
            assert await storing == 2
        else:
            with pytest.raises(Conflict, match="wrong last sequence"):
                await storing


async def test_a_message_id_is_stored_once(bus: AnyBus) -> None:
    """Again by itself it is the record that is there; in a batch it is refused."""
    headers = {"Nats-Msg-Id": "1"}
    seq = await bus.store(EVENT, b"", expect_last=None, headers=headers)
    assert await bus.store(EVENT, b"", expect_last=None, headers=headers) == seq
    with pytest.raises(Conflict, match="duplicate message id"):
        await bus.store_batch([Draft(EVENT, b"", headers)])
    with pytest.raises(Conflict, match="duplicate message id"):
        await bus.store_batch([Draft(EVENT, b"", {"Nats-Msg-Id": "2"})] * 2)


async def test_an_expectation_can_be_about_other_subjects(bus: AnyBus) -> None:
    """The newest of all events of a task; also for the first of a batch."""
    fence = {"Nats-Expected-Last-Subject-Sequence-Subject": subjects.events_of(TASK)}
    seq = await bus.store(EVENT, b"", expect_last=0)
    other = EVENT.replace("failed", "started")
    with pytest.raises(Conflict, match="wrong last sequence"):
        await bus.store(other, b"", expect_last=0, headers=fence)
    with pytest.raises(Conflict, match="wrong last sequence"):
        await bus.store_batch([Draft(other, b"", fence, 0), Draft(EVENT, b"")])
    assert await bus.store_batch([Draft(other, b"", fence, seq), Draft(EVENT, b"")]) == seq + 2


async def test_a_batch_over_two_streams_is_not_stored(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of its messages."""
    monkeypatch.setattr(bus_module, "ELECTION_SECONDS", 0.3)
    with pytest.raises(StoreUnavailable, match="batch is incomplete"):
        await bus.store_batch([Draft(result(1), b""), Draft(EVENT, b"")])
    for stream in (subjects.RESULTS, subjects.EVENTS):
        assert (await bus.stream_state(stream)).messages == 0


async def test_a_time_to_live_needs_a_stream_that_has_it(bus: AnyBus) -> None:
    """And is a second at least."""
    with pytest.raises(StoreRefused, match="TTL is disabled"):
        await bus.store(result(1), b"", expect_last=0, ttl=3)
    with pytest.raises(StoreRefused, match="invalid per-message TTL"):
        await bus.store(f"$KV.{subjects.LEASE_BUCKET}.a", b"", expect_last=None, ttl=0)


async def test_the_state_counts_all_that_is_kept_of_a_record(bus: AnyBus) -> None:
    """Subject, payload, and the headers with which it was sent; and where it begins and ends."""
    empty = await bus.stream_state(subjects.EVENTS)
    assert (empty.first_seq, empty.last_seq, empty.messages, empty.bytes) == (0, 0, 0, 0)
    await bus.store(EVENT, b"abc", expect_last=0)
    await bus.store(EVENT, b"abc", expect_last=None, headers={"A": "b"})
    await bus.store_batch([Draft(f"{EVENT}2", b"a", expect_last=0), Draft(f"{EVENT}2", b"")])
    last = await bus.last(subjects.EVENTS, f"{EVENT}2")
    assert last is not None
    assert last.headers["Nats-Batch-Commit"] == "1"
    full = await bus.stream_state(subjects.EVENTS)
    assert (full.first_seq, full.last_seq, full.messages, full.bytes) == (1, 4, 4, 631)
    await bus.purge(subjects.EVENTS, EVENT)
    rest = await bus.stream_state(subjects.EVENTS)
    assert (rest.first_seq, rest.last_seq, rest.messages, rest.bytes) == (3, 4, 2, 379)
    await bus.purge(subjects.EVENTS, ">")
    gone = await bus.stream_state(subjects.EVENTS)
    assert (gone.first_seq, gone.last_seq, gone.messages, gone.bytes) == (5, 4, 0, 0)
    await bus.ensure_stream(StreamConfig(name="F", subjects=("f.>",), first_seq=100))
    begun = await bus.stream_state("F")
    assert (begun.first_seq, begun.last_seq) == (100, 99)
    assert await bus.store("f.a", b"", expect_last=0) == 100


async def test_records_leave_when_they_are_too_old(bus: AnyBus) -> None:
    """Nobody has to ask or to store for it."""
    await bus.ensure_stream(StreamConfig(name="S", subjects=("s",), max_age=3_000_000_000))
    await bus.store("s", b"", expect_last=0)
    assert await bus.last("S", "s") is not None
    async with asyncio.timeout(soon(5)):
        while (await bus.stream_state("S")).messages:
            await asyncio.sleep(0.05)
    assert await bus.last("S", "s") is None
    assert await bus.store("s", b"", expect_last=0) == 2


async def test_what_was_published_without_asking_is_stored_too(bus: AnyBus) -> None:
    """Its acknowledgement goes wherever the publisher wants, and is stored there."""
    reply = f"$KV.{subjects.KEYS_BUCKET}.ack"
    bus.publish(result(1), b"x", reply=reply)
    async with asyncio.timeout(soon(5)):
        while (ack := await bus.last(f"KV_{subjects.KEYS_BUCKET}", reply)) is None:
            await asyncio.sleep(0.02)
    assert msgspec.json.decode(ack.data) == {"stream": subjects.RESULTS, "seq": 1}
    heard: list[bytes] = []
    await bus.subscribe("ips.v1.result.>", lambda received: heard.append(received.data))
    await bus.store(result(2), b"y", expect_last=0)
    await eventually(lambda: heard == [b"y"])


async def test_what_is_no_batch_is_refused(bus: AnyBus) -> None:
    """Too many, none, too large, or for a stream that takes none."""
    with pytest.raises(ValueError, match="no batch"):
        await bus.store_batch([])
    with pytest.raises(ValueError, match="no batch"):
        await bus.store_batch([Draft(EVENT, b"")] * 201)
    with pytest.raises(ValueError, match="no batch"):
        await bus.store_batch([Draft(EVENT, bytes(100_000))] * 100)
    with pytest.raises(StoreRefused, match="atomic publish is disabled"):
        await bus.store_batch([Draft(result(1), b""), Draft(result(2), b"")])


async def test_purge_removes_one_tasks_records(bus: AnyBus) -> None:
    """And says how many; subjects counts what is left."""
    await store_results(bus, range(5))
    other = subjects.result(TASK.replace("a1", "b2"), "n", 1)
    await bus.store(other, b"", expect_last=0)
    await bus.store(other, b"", expect_last=None)
    assert await bus.purge(subjects.RESULTS, subjects.results_of(TASK)) == 5
    assert await bus.subjects(subjects.RESULTS) == {other: 2}
    assert await bus.subjects(subjects.RESULTS, subjects.results_of(TASK)) == {}


# ── read ──


async def test_last_is_the_newest_record_with_all_its_parts(bus: AnyBus) -> None:
    """Time by the store's clock, headers, sequence; None where there is none."""
    assert await bus.last(subjects.RESULTS, result(1)) is None
    await bus.store(result(1), b"old", expect_last=None)
    seq = await bus.store(result(1), b"new", expect_last=None, headers={"A-b": "c: d"})
    record = await bus.last(subjects.RESULTS, result(1))
    assert record is not None
    assert (record.subject, record.data, record.seq) == (result(1), b"new", seq)
    assert record.headers == {"A-b": "c: d"}
    assert abs(record.time - time.time()) < 5
    [replayed] = await read(bus, start=seq)
    assert abs(replayed.time - record.time) < 1e-5


async def test_a_stream_that_is_not_there_is_refused(bus: AnyBus) -> None:
    """At once: waiting would not bring it."""
    with pytest.raises(StoreRefused, match="not found"):
        await bus.last("NONE", "a")
    with pytest.raises(StoreRefused, match="not found"):
        await read(bus, "NONE")


async def test_replay_ends_where_nothing_is(bus: AnyBus) -> None:
    """An empty stream, a filter that matches nothing, a start behind the end."""
    assert await read(bus) == []
    await store_results(bus, range(3))
    assert await read(bus, subject=subjects.results_of(TASK.replace("a1", "b2"))) == []
    assert await read(bus, start=4) == []


async def test_replay_is_whole_and_in_order(bus: AnyBus) -> None:
    """Over several pulls."""
    await store_results(bus, range(1800))
    records = await read(bus)
    assert [record.seq for record in records] == list(range(1, 1801))
    assert {int(record.data) for record in records} == set(range(1800))
    assert records[-1].pending == 0


async def test_replay_of_a_part(bus: AnyBus) -> None:
    """From a sequence, up to a sequence, of one subject or of several."""
    for n in range(10):
        await bus.store(result(n), b"", expect_last=0)
    assert [record.seq for record in await read(bus, start=4, upto=6)] == [4, 5, 6]
    several = await read(bus, subject=[result(2), result(8)])
    assert [record.seq for record in several] == [3, 9]
    assert [record.seq for record in await read(bus, subject=[result(2), result(8)], upto=5)] == [3]


async def test_replay_of_the_newest_of_each_subject(bus: AnyBus) -> None:
    """What was overwritten does not come."""
    for n in (1, 2, 3, 1, 3):
        await bus.store(result(n), b"", expect_last=None)
    records = await read(bus, last_per_subject=True)
    assert [(record.subject, record.seq) for record in records] == [
        (result(2), 2),
        (result(1), 4),
        (result(3), 5),
    ]


async def test_the_newest_of_each_subject_is_there_though_it_is_overwritten(bus: AnyBus) -> None:
    """Its old record is gone when its turn comes; its new one is read instead."""
    keys = [f"$KV.{subjects.TASKS_BUCKET}.n{n}" for n in range(1200)]
    await asyncio.gather(*(bus.store(key, b"old", expect_last=0) for key in keys))
    found: set[str] = set()
    stream = f"KV_{subjects.TASKS_BUCKET}"
    async for records in bus.replay(stream, last_per_subject=True):
        if not found:
            await bus.store(keys[-1], b"new", expect_last=None)
        found.update(record.subject for record in records)
    assert found == set(keys)


async def test_replay_ends_though_more_is_stored_meanwhile(bus: AnyBus) -> None:
    """It brings what was there at the call, and nothing behind it."""
    await store_results(bus, range(600))
    numbers = itertools.count(1000)
    stop = asyncio.Event()

    async def publish() -> None:
        while not stop.is_set():
            first = next(numbers) * 10
            await store_results(bus, range(first, first + 10))

    publishing = asyncio.create_task(publish())
    end = 0
    async for records in bus.replay(subjects.RESULTS):
        await asyncio.sleep(0.05)
        end = records[-1].seq
    stop.set()
    await publishing
    assert 600 <= end < (await bus.stream_state(subjects.RESULTS)).last_seq


async def test_replay_ends_though_what_it_waited_for_is_removed(bus: AnyBus) -> None:
    """The server counted records that nobody will ever see."""
    await store_results(bus, range(3000))
    count = 0
    async with aclosing(bus.replay(subjects.RESULTS)) as replay:
        async for records in replay:
            if not count:
                await bus.purge(subjects.RESULTS, subjects.results_of(TASK))
            count += len(records)
    assert 0 < count < 3000


async def test_replay_goes_on_over_a_killed_server(nats_server: NatsServer, bus: AnyBus) -> None:
    """Each record once, in order, and an end."""
    await store_results(bus, range(3000))
    seqs: list[int] = []
    async for records in bus.replay(subjects.RESULTS):
        if len(seqs) < 1500 <= len(seqs) + len(records):
            await nats_server.restart()
        seqs += [record.seq for record in records]
    assert seqs == list(range(1, 3001))


async def test_the_newest_of_each_subject_goes_on_over_a_killed_server(
    nats_server: NatsServer, bus: AnyBus
) -> None:
    """It begins again and leaves out what was handed out."""
    await store_results(bus, range(3000))
    seqs: list[int] = []
    async for records in bus.replay(subjects.RESULTS, last_per_subject=True):
        if len(seqs) < 1500 <= len(seqs) + len(records):
            await nats_server.restart()
        seqs += [record.seq for record in records]
    assert seqs == list(range(1, 3001))


@ON_NATS
async def test_a_copy_that_takes_itself_for_whole_ends_no_replay(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any copy of the stream may serve it, one that is behind too: its leader says what is left."""
    await store_results(bus, range(1200))
    monkeypatch.setattr(reading._Consumer, "exhausted", True)
    everything = list(range(1, 1201))
    assert [record.seq for record in await read(bus)] == everything
    assert [record.seq for record in await read(bus, upto=700)] == everything[:700]
    of_task = await read(bus, subject=subjects.results_of(TASK), upto=2000)
    assert [record.seq for record in of_task] == everything
    newest = await read(bus, subject=[result(2), result(8)], last_per_subject=True)
    assert {record.subject for record in newest} == {result(2), result(8)}
    assert await read(bus, subject=subjects.results_of(TASK.replace("a1", "b2"))) == []


@ON_NATS
async def test_a_copy_that_brings_nothing_is_left_for_another(
    bus: AnyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be cut off from the stream's leader for long."""
    await store_results(bus, range(3))
    config, starts = reading.Reading._config, iter([100, 1])

    def elsewhere(self: reading.Reading, name: str) -> dict[str, object]:
        return config(self, name) | {"opt_start_seq": next(starts)}

    monkeypatch.setattr(reading.Reading, "_config", elsewhere)
    monkeypatch.setattr(reading, "_PATIENT_BEATS", 0)
    assert [record.seq for record in await read(bus)] == [1, 2, 3]


# ── the streams themselves ──


async def test_programs_that_start_at_once_agree_on_the_streams(
    nats_server: NatsServer, open_bus: OpenBus
) -> None:
    """Ten make all of them, with settings of two releases."""
    buses = [await open_bus(nats_server) for _ in range(10)]
    old = definitions(replicas=1)
    new = [msgspec.structs.replace(config, allow_direct=True) for config in old]
    for _ in range(3):
        await asyncio.gather(
            *(
                bus.ensure_stream(config)
                for n, bus in enumerate(buses)
                for config in (old if n % 2 else new)
            )
        )
    for config in new:
        await buses[0].ensure_stream(config)
        assert (await settings_of(buses[0], config.name))["allow_direct"] is True


async def test_a_stream_is_brought_up_to_date_and_an_administrators_settings_stay(
    bus: AnyBus,
) -> None:
    """Only what the service has an opinion on is changed."""
    config = StreamConfig(name="S", subjects=("s.>",))
    await bus.ensure_stream(config)
    theirs = await settings_of(bus, "S") | {"description": "ours", "max_msg_size": 1000}
    await bus.call("$JS.API.STREAM.UPDATE.S", msgspec.json.encode(theirs), soon(2))
    await bus.ensure_stream(msgspec.structs.replace(config, max_age=10**12))
    now = await settings_of(bus, "S")
    assert (now["max_age"], now["description"], now["max_msg_size"]) == (10**12, "ours", 1000)


async def test_three_replicas_on_one_server_are_refused_with_the_reason(bus: AnyBus) -> None:
    """A wrong IPS_REPLICAS shows at the start."""
    with pytest.raises(StoreRefused, match="replicas > 1 not supported"):
        await bus.ensure_stream(definitions(replicas=3)[0])


async def test_full_events_give_up_their_oldest(bus: AnyBus) -> None:
    """A limit by bytes, not a refusal: one full stream would stop every stream's writes."""
    small = StreamConfig(name="S", subjects=("s",), max_bytes=10_000)
    await bus.ensure_stream(small)
    for _ in range(30):
        await bus.store("s", bytes(1000), expect_last=None)
    state = await bus.stream_state("S")
    assert state.bytes <= 10_000
    assert (state.first_seq > 1, state.last_seq) == (True, 30)


async def settings_of(bus: AnyBus, stream: str) -> dict[str, object]:
    """A stream's settings as the server has them."""
    answer = await bus.call(f"$JS.API.STREAM.INFO.{stream}", b"", soon(2))
    config: dict[str, object] = msgspec.json.decode(answer)["config"]
    return config


@pytest.mark.parametrize(
    ("what", "other"), [("task", TASK.replace("a1", "b2")), ("set", "set/web")]
)
async def test_a_batch_says_which_event_of_each_task_it_follows(
    bus: AnyBus, what: str, other: str
) -> None:
    """Over all subjects of a task or a set, on its first message: all fail if one is wrong."""

    def draft(kind: str, task: str, follows: int | None = None) -> Draft:
        headers = {"Nats-Expected-Last-Subject-Sequence-Subject": subjects.events_of(task)}
        subject = subjects.event(kind, task)
        return Draft(subject, b"", None if follows is None else headers, follows)

    created = await bus.store(subjects.event("task.created", TASK), b"", expect_last=0)
    end = await bus.store_batch(
        [
            draft("node.failed", TASK, created),
            draft("node.failed", TASK),
            draft(f"{what}.created", other, 0),
            draft("node.succeeded", TASK),
        ]
    )
    assert end == created + 4
    for follows in ((created, end - 1), (end, 0), (end - 2, end - 1)):
        late = [
            draft("task.progress", TASK, follows[0]),
            draft(f"{what}.progress", other, follows[1]),
        ]
        with pytest.raises(Conflict):
            await bus.store_batch(late)
    assert (await bus.stream_state(subjects.EVENTS)).last_seq == end
    fresh = [draft("task.progress", TASK, end), draft(f"{what}.progress", other, end - 1)]
    assert await bus.store_batch(fresh) == end + 2
