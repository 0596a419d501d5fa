from __future__ import annotations

from functools import partial

import pytest

from common.bus import (
    NoResponders,
    Received,
    TimedOut,
)
from common.subjects import MAX_MESSAGE_BYTES
from tests.fixtures.memory import AnyBus, AnyServer, now, soon
from tests.fixtures.nats import OpenBus, eventually

BOTH = True


async def test_a_call_brings_the_answer(bus: AnyBus) -> None:
    """A handler may answer with ``publish``."""
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, received.data))
    assert await bus.call("echo", b"hello", soon(2)) == b"hello"


async def test_nobody_there_is_known_at_once(bus: AnyBus) -> None:
    """An absent agent shows without a time-out."""
    began = now()
    with pytest.raises(NoResponders):
        await bus.call("nobody", b"", 30)
    assert now() - began < soon(1)


async def test_no_answer_is_a_time_out(bus: AnyBus) -> None:
    """Somebody listens and says nothing."""
    await bus.subscribe("silent", lambda _: None)
    with pytest.raises(TimedOut):
        await bus.call("silent", b"", 0.05)


async def test_a_late_answer_is_nobodys(bus: AnyBus) -> None:
    """It is not taken for the answer to something else."""
    asked: list[Received] = []
    await bus.subscribe("late", asked.append)
    with pytest.raises(TimedOut):
        await bus.call("late", b"", 0.05)
    bus.publish(asked[0].reply, b"too late")
    assert await bus.ping(soon(2)) < soon(2)


async def test_thousands_of_calls_at_once_each_get_their_own_answer(bus: AnyBus) -> None:
    """All on one inbox."""
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, received.data))
    answers: dict[int, object] = {}
    for n in range(5000):
        bus.ask("echo", b"%d" % n, 10, partial(answers.__setitem__, n))
    await eventually(lambda: len(answers) == 5000)
    assert answers == {n: b"%d" % n for n in range(5000)}


async def test_a_callback_that_raises_harms_no_other(
    bus: AnyBus, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the next call works."""
    await bus.subscribe("echo", lambda received: bus.publish(received.reply, received.data))

    def fail(_: object) -> None:
        raise RuntimeError("no")

    bus.ask("echo", b"", 2, fail)
    assert await bus.call("echo", b"fine", soon(2)) == b"fine"
    assert "an answer makes its callback fail" in caplog.text


async def test_a_handler_that_raises_is_logged_counted_and_survived(
    bus: AnyBus, caplog: pytest.LogCaptureFixture
) -> None:
    """A poison message is one message."""
    got: list[bytes] = []

    def handle(received: Received) -> None:
        got.append(received.data)
        if received.data == b"poison":
            raise ValueError("poison")

    await bus.subscribe("a", handle)
    for data in (b"1", b"poison", b"2"):
        bus.publish("a", data)
    await eventually(lambda: len(got) == 3)
    assert bus.handler_faults == 1
    assert caplog.text.count("a message makes its handler fail") == 1


async def test_a_closed_subscription_hears_nothing_more(bus: AnyBus) -> None:
    """Not even what was on its way."""
    got: list[bytes] = []
    subscription = await bus.subscribe("a", lambda received: got.append(received.data))
    subscription.close()
    bus.publish("a", b"")
    await bus.ping(soon(2))
    assert got == []


async def test_messages_keep_their_order_over_subscriptions(bus: AnyBus) -> None:
    """What one connection sends is handled in that order, whatever the subject."""
    got: list[bytes] = []
    for subject in ("a.1", "a.2", "a.3"):
        await bus.subscribe(subject, lambda received: got.append(received.data))
    for n in range(300):
        bus.publish(f"a.{n % 3 + 1}", b"%d" % n)
    await eventually(lambda: len(got) == 300)
    assert got == [b"%d" % n for n in range(300)]


def _keep(kept: list[bytes], received: Received) -> None:
    kept.append(received.data)


def _note(noted: list[tuple[str, str]], pattern: str, received: Received) -> None:
    noted.append((pattern, received.subject))


async def test_of_a_queue_one_gets_each_message(nats_server: AnyServer, open_bus: OpenBus) -> None:
    """And whoever listens without a queue gets all."""
    sender, *members = [await open_bus(nats_server) for _ in range(4)]
    got: list[list[bytes]] = [[], [], []]
    everything: list[bytes] = []
    for member, mine in zip(members, got, strict=True):
        await member.subscribe("work.*", partial(_keep, mine), queue="q")
    await sender.subscribe("work.>", lambda received: everything.append(received.data))
    for n in range(200):
        sender.publish("work.a", b"%d" % n)
    await eventually(lambda: len(everything) == sum(map(len, got)) == 200)
    assert {data for mine in got for data in mine} == set(everything)
    assert all(got)


async def test_a_member_that_leaves_its_queue_gets_nothing_more(
    nats_server: AnyServer, open_bus: OpenBus
) -> None:
    """The others get it; when none is left, nobody is there."""
    sender, first, second = [await open_bus(nats_server) for _ in range(3)]
    one = await first.subscribe("ask", lambda r: first.publish(r.reply, b"1"), queue="q")
    two = await second.subscribe("ask", lambda r: second.publish(r.reply, b"2"), queue="q")
    one.close()
    await first.ping(soon(2))
    assert {await sender.call("ask", b"", 2) for _ in range(20)} == {b"2"}
    two.close()
    await second.ping(soon(2))
    with pytest.raises(NoResponders):
        await sender.call("ask", b"", 2)


async def test_wildcards_match_one_token_or_all_that_follow(bus: AnyBus) -> None:
    """``*`` is exactly one; ``>`` is one at least."""
    got: list[tuple[str, str]] = []
    for pattern in ("a.*.c", "a.>", "*.b.*", "a.b"):
        await bus.subscribe(pattern, partial(_note, got, pattern))
    for subject in ("a", "a.b", "a.b.c", "a.b.c.d", "x.b.y"):
        bus.publish(subject, b"")
    await bus.ping(soon(2))
    assert sorted(got) == [
        ("*.b.*", "a.b.c"),
        ("*.b.*", "x.b.y"),
        ("a.*.c", "a.b.c"),
        ("a.>", "a.b"),
        ("a.>", "a.b.c"),
        ("a.>", "a.b.c.d"),
        ("a.b", "a.b"),
    ]


async def test_a_message_that_is_too_large_names_its_subject(bus: AnyBus) -> None:
    """256 KiB and not a byte more, before it reaches the network."""
    bus.publish("a.b", bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(ValueError, match=r"a\.b"):
        bus.publish("a.b", bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ValueError, match=r"a\.b"):
        await bus.store("a.b", bytes(MAX_MESSAGE_BYTES + 1), expect_last=None)


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b"])
async def test_a_subject_that_is_none_is_refused(bus: AnyBus, subject: str) -> None:
    """Nothing can smuggle a second command into the protocol."""
    with pytest.raises(ValueError, match="not a subject"):
        bus.publish(subject, b"")
    with pytest.raises(ValueError, match="not a subject"):
        await bus.subscribe(subject, lambda _: None)
