"""What is read of an agent that is asked for its images, whatever it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from common.inventory import Show, ShownImage, ShownImages
from coordinator.core.fleet import Fleet, Node
from coordinator.engine.node_images import (
    ANSWER_SECONDS,
    MOST_SHOWN,
    READING_SECONDS,
    NodeImages,
)
from coordinator.port import NodeSilent
from sandbox.virtual.time import virtual

Answer = Callable[[str], ShownImages]


class Agent:
    """Answers each question, by the id that it asks after, when so much time has passed."""

    def __init__(self, answer: Answer, seconds: float = 0.0) -> None:
        self._answer = answer
        self._seconds = seconds
        self.asked = 0

    async def call(self, subject: str, payload: bytes, within: float) -> bytes:
        """The one answer."""
        del subject
        self.asked += 1
        assert self._seconds <= within
        await asyncio.sleep(self._seconds)
        return msgspec.json.encode(self._answer(msgspec.json.decode(payload, type=Show).after))


def images_of(agent: Agent) -> NodeImages:
    """A coordinator that knows one node, with this agent."""
    fleet = Fleet()
    fleet.see("n1", Node({}, schedulable=True))
    fleet.heard("n1", "0" * 16, 1e6, 0.0)
    return NodeImages(agent, fleet, asyncio.get_running_loop().time)


def page(numbers: range) -> ShownImages:
    """Some images, and more after them."""
    images = tuple(ShownImage(id=f"sha256:{number:08d}") for number in numbers)
    return ShownImages(images=images, more=True)


def next_page(after: str) -> ShownImages:
    """A thousand of them, of which there is no end."""
    first = int(after[7:]) + 1 if after else 0
    return page(range(first, first + 1000))


@virtual
async def test_an_agent_that_says_the_same_again_is_asked_no_more() -> None:
    """And each of its images is there once."""
    agent = Agent(lambda _: page(range(3)))
    assert len(await images_of(agent).of("n1")) == 3
    assert agent.asked == 2


@virtual
async def test_an_agent_whose_images_have_no_end() -> None:
    """Only so many are kept of it."""
    agent = Agent(next_page)
    found = await images_of(agent).of("n1")
    assert len({image.id for image in found}) == len(found) == MOST_SHOWN
    assert agent.asked == MOST_SHOWN // 1000


@virtual
async def test_an_agent_that_takes_its_time_for_each_answer() -> None:
    """All of them together have to come in time."""
    loop = asyncio.get_running_loop()
    began, silent = loop.time(), None
    try:
        await images_of(Agent(next_page, ANSWER_SECONDS - 1.0)).of("n1")
    except NodeSilent as why:
        silent = why
    assert silent is not None
    assert loop.time() - began == READING_SECONDS
