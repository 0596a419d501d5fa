from __future__ import annotations

import asyncio

import pytest

from coordinator.access.known_answers import KnownAnswers
from tests.access.hand_clock import HandClock


class Authority:
    """Counts how often it is asked."""

    def __init__(self, answer: bool = True) -> None:
        self.answer, self.asked = answer, 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> bool:
        """Answer once the gate is open."""
        self.asked += 1
        await self.gate.wait()
        return self.answer


def known(clock: HandClock, most: int = 100) -> KnownAnswers[bool]:
    """Good for 30 s, or 5 s where it is no."""
    return KnownAnswers(lambda answer: 30.0 if answer else 5.0, clock, most)


@pytest.mark.parametrize(("answer", "seconds"), [(True, 30.0), (False, 5.0)])
async def test_an_answer_is_good_for_its_time(answer: bool, seconds: float) -> None:
    """Then it is asked for again."""
    clock, authority = HandClock(), Authority(answer)
    answers = known(clock)
    for now, asked in ((0.0, 1), (seconds - 0.1, 1), (seconds, 2)):
        clock.now = now
        assert await answers.get("a", authority.ask) is answer
        assert authority.asked == asked


async def test_who_asks_the_same_waits_for_the_same_answer() -> None:
    """Also where the first who asked goes away."""
    authority = Authority()
    authority.gate.clear()
    answers = known(HandClock())
    first, *others = [asyncio.create_task(answers.get("a", authority.ask)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    authority.gate.set()
    assert await asyncio.gather(*others) == [True] * 4
    assert authority.asked == 1


async def test_a_failure_is_not_remembered() -> None:
    """Nor is it an error of the program where nobody waits for it any more."""

    async def fail() -> bool:
        raise RuntimeError("away")

    answers = known(HandClock())
    with pytest.raises(RuntimeError):
        await answers.get("a", fail)
    assert await answers.get("a", Authority().ask)


async def test_the_oldest_answers_make_room() -> None:
    """However many ask, no more are kept than may be."""
    answers, authority = known(HandClock(), most=10), Authority()
    for number in range(1000):
        await answers.get(number, authority.ask)
    assert len(answers) == 10
    await answers.get(999, authority.ask)
    assert authority.asked == 1000
