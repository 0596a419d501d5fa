"""What an agent takes off its node when it is asked to, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from agent import removal
from agent.credentials import Keyring
from agent.events import Event, PullEnded
from agent.image_turns import ImageTurns
from agent.instructions import StartPull
from agent.node_credentials import NodeCredentials
from agent.puller import Puller
from agent.remover import MOST_ASKING, Remover
from agent.runtime.protocol import RemovalFailed, RuntimeAway, StoredImage
from agent.runtime.simulated import SimulatedRuntime
from agent.unsealing import Unsealer
from common import subjects
from common.inventory import MOST_NAMES, InventoryQuestion, generation_of, wants
from common.messages import Assign, AssignedImage, Command, ImageState
from common.removals import KeptFor, Removal, Removals, RemovalState, Remove
from common.subjects import MAX_MESSAGE_BYTES
from sandbox.simulator.cluster import Cluster, Node
from sandbox.virtual.time import virtual

NOTHING = generation_of(())
TASK = "task-20260116-151234-a1b2c3d4"


class Shelf(SimulatedRuntime):
    """Has the images that it is given, each with all its names."""

    def __init__(self, *images: StoredImage) -> None:
        super().__init__()
        self.images = list(images)
        self.removed: list[str] = []
        self.refuses: dict[str, Exception] = {}
        self.away = ""
        self.slow = asyncio.Event()
        self.slow.set()

    async def list_images(self) -> list[StoredImage]:
        """Say them."""
        if self.away:
            raise RuntimeAway(self.away)
        return list(self.images)

    async def remove_image(self, image_id: str) -> None:
        """Take one away, when it is time."""
        await self.slow.wait()
        if image_id in self.refuses:
            raise self.refuses[image_id]
        self.removed.append(image_id)
        self._present.discard("r/a:1")
        self.images = [image for image in self.images if image.id != image_id]


class Desk:
    """A remover, with whoever asks it."""

    def __init__(self, runtime: SimulatedRuntime, wanted: Iterable[str] = ()) -> None:
        self.wanted = tuple(wanted)
        self.pulled: set[str] = set()
        self.answers: dict[str, Removals] = {}
        self.looks = 0
        self.turns = ImageTurns()
        self.remover = Remover(
            bus=self,
            runtime=runtime,
            turns=self.turns,
            is_pulled=lambda reference: reference in self.pulled,
            wanted=lambda: (generation_of(self.wanted), self.wanted),
            on_removed=self._look,
        )

    def _look(self) -> None:
        self.looks += 1

    def publish(self, subject: str, payload: bytes) -> None:
        """Keep an answer."""
        assert len(payload) <= MAX_MESSAGE_BYTES
        self.answers[subject] = msgspec.json.decode(payload, type=Removals)

    def question(self, *references: str, dry_run: bool = False, within: float = 30.0) -> Remove:
        """Ask, with the list that the agent has."""
        return Remove(
            references=list(references),
            generation=generation_of(self.wanted),
            dry_run=dry_run,
            within=within,
        )

    async def ask(self, *questions: Remove) -> list[Removals]:
        """What is answered to questions that come at once."""
        running = asyncio.create_task(self.remover.run())
        for number, question in enumerate(questions):
            self.remover.ask(question, f"to.{number}")
        await asyncio.sleep(1.0)
        running.cancel()
        return [self.answers[f"to.{number}"] for number in range(len(questions))]

    async def removals(self, *references: str, dry_run: bool = False) -> list[Removal]:
        """What becomes of references."""
        (answer,) = await self.ask(self.question(*references, dry_run=dry_run))
        return list(answer.removals)


def image(name: str, *tags: str, size: int = 7, pinned: bool = False) -> StoredImage:
    """One that has these names."""
    return StoredImage(f"sha256:{name}", (f"r/{name}:1", *tags), (f"r/{name}@d",), size, pinned)


@virtual
async def test_what_nobody_uses_or_wants_is_removed_with_all_its_names() -> None:
    """What it took is told once, however many of its names were asked for."""
    runtime = Shelf(image("a", "r/other:2"), image("b"))
    desk = Desk(runtime)
    first, second, third = await desk.removals("r/a:1", "r/other:2", "r/absent:1")
    assert (first.state, first.also, first.bytes) == (RemovalState.REMOVED, ("r/other:2",), 7)
    assert (second.state, second.also, second.bytes) == (RemovalState.REMOVED, ("r/a:1",), None)
    assert third == Removal(reference="r/absent:1", state=RemovalState.ABSENT)
    assert runtime.removed == ["sha256:a"]
    assert desk.looks == 1


@virtual
@pytest.mark.parametrize(
    ("used", "wanted", "pulled", "pinned", "reason", "about"),
    [
        ({"sha256:a"}, (), (), False, KeptFor.IN_USE, ""),
        ({"r/a:1"}, (), (), False, KeptFor.IN_USE, ""),
        ({"r/a@d"}, (), (), False, KeptFor.IN_USE, ""),
        ((), ["r/a:1"], (), False, KeptFor.WANTED, "r/a:1"),
        ((), ["r/other:2"], (), False, KeptFor.WANTED, "r/other:2"),
        ((), ["r/a@d"], (), False, KeptFor.WANTED, "r/a@d"),
        ((), (), ["r/other:2"], False, KeptFor.PULLING, "r/other:2"),
        ((), (), (), True, KeptFor.PINNED, ""),
    ],
)
async def test_what_an_image_is_kept_for(
    used: Iterable[str],
    wanted: Iterable[str],
    pulled: Iterable[str],
    pinned: bool,
    reason: KeptFor,
    about: str,
) -> None:
    """By any of its names: a runtime removes them all."""
    runtime = Shelf(image("a", "r/other:2", pinned=pinned), image("b"))
    runtime.used = set(used)
    desk = Desk(runtime, wanted)
    desk.pulled = set(pulled)
    for dry_run in (True, False):
        kept, other = await desk.removals("r/a:1", "r/b:1", dry_run=dry_run)
        assert (kept.state, kept.reason, kept.about) == (RemovalState.KEPT, reason, about)
        assert other.state is RemovalState.REMOVED
    assert runtime.removed == ["sha256:b"]


@virtual
async def test_a_dry_run_says_the_same_and_removes_nothing() -> None:
    """Nor is there anything to be looked at again."""
    runtime = Shelf(image("a"))
    desk = Desk(runtime)
    would = await desk.removals("r/a:1", dry_run=True)
    assert (runtime.removed, desk.looks) == ([], 0)
    assert await desk.removals("r/a:1") == would


@virtual
async def test_another_list_of_what_is_wanted_is_a_reason_to_do_nothing() -> None:
    """One of both knows too little. A list that comes in the middle counts for the rest."""
    runtime = Shelf(image("a"), image("b"))
    desk = Desk(runtime, ["r/x:1"])
    question = msgspec.structs.replace(desk.question("r/a:1"), generation=NOTHING)
    assert await desk.ask(question) == [Removals(other_list=True)]
    runtime.slow.clear()
    asking = asyncio.create_task(desk.ask(desk.question("r/a:1", "r/b:1")))
    await asyncio.sleep(0.5)
    desk.wanted = ("r/b:1",)
    runtime.slow.set()
    (answer,) = await asking
    assert [each.reason for each in answer.removals] == [None, KeptFor.WANTED]
    assert runtime.removed == ["sha256:a"]


@virtual
async def test_what_an_image_is_called_by_the_time_of_its_turn_counts() -> None:
    """A name that a set wants, and one that has moved on to another image meanwhile."""
    runtime = Shelf(image("a"), image("b"), image("c"))
    runtime.slow.clear()
    desk = Desk(runtime)
    asking = asyncio.create_task(desk.ask(desk.question("r/a:1", "r/b:1", "r/c:1")))
    await asyncio.sleep(0.5)
    untagged = StoredImage("sha256:c", (), ("r/c@d",), 7, pinned=False)
    runtime.images = [image("a"), image("b", "r/new:2"), untagged, image("other", "r/c:1")]
    desk.wanted = ("r/new:2",)
    runtime.slow.set()
    (answer,) = await asking
    assert [(each.reason, each.about) for each in answer.removals] == [
        *((None, ""), (KeptFor.WANTED, "r/new:2"), (None, ""))
    ]
    assert runtime.removed == ["sha256:a", "sha256:other"]


@virtual
async def test_an_image_that_is_gone_without_an_answer_is_gone() -> None:
    """Whatever the runtime said, or did not, the images that it has tell."""

    class Silent(Shelf):
        async def remove_image(self, image_id: str) -> None:
            """Remove it, and say nothing for too long."""
            await super().remove_image(image_id)
            raise RemovalFailed("no answer within 30 s")

    desk = Desk(Silent(image("a")))
    (removed,) = await desk.removals("r/a:1")
    assert (removed.state, removed.bytes, desk.looks) == (RemovalState.REMOVED, 7, 1)


@virtual
async def test_what_the_runtime_refuses_is_said_and_ends_nothing() -> None:
    """Neither a refusal nor its absence; that of the whole runtime is the one answer."""
    runtime = Shelf(image("a"), image("b"), image("c"))
    runtime.refuses = {"sha256:a": RemovalFailed("in use by me"), "sha256:b": RuntimeAway("gone")}
    desk = Desk(runtime)
    found = await desk.removals("r/a:1", "r/b:1", "r/c:1")
    assert [(each.reason, each.about) for each in found] == [
        (KeptFor.NOT_REMOVED, "in use by me"),
        (KeptFor.NOT_REMOVED, "gone"),
        (None, ""),
    ]
    runtime.away = "nobody is at the socket"
    assert await desk.ask(desk.question("r/a:1")) == [Removals(why_not="nobody is at the socket")]


@virtual
async def test_nothing_is_removed_for_somebody_who_has_given_up() -> None:
    """Neither the rest of a question, nor one whose turn comes too late."""
    runtime = Shelf(image("a"), image("b"), image("c"))
    runtime.slow.clear()
    desk = Desk(runtime)
    late = desk.question("r/c:1", within=0.2)
    asking = asyncio.create_task(desk.ask(desk.question("r/a:1", "r/b:1", within=0.3), late))
    await asyncio.sleep(0.5)
    runtime.slow.set()
    with pytest.raises(KeyError):
        await asking
    first = desk.answers["to.0"]
    assert [each.reason for each in first.removals] == [None, KeptFor.TOO_LATE]
    assert runtime.removed == ["sha256:a"]


@virtual
async def test_only_so_many_questions_wait() -> None:
    """Nor does one without a place for its answer."""
    runtime = Shelf(image("a"))
    desk = Desk(runtime)
    desk.remover.ask(desk.question("r/a:1"), "")
    with pytest.raises(KeyError):
        await desk.ask(*[desk.question("r/a:1", dry_run=True)] * (MOST_ASKING + 1))
    assert runtime.removed == []
    assert len(desk.answers) == MOST_ASKING


@virtual
async def test_an_answer_fits_into_a_message() -> None:
    """However many names go along, and however long they are."""
    wide = [
        StoredImage(f"id{n}", tuple(f"r/{'n' * 1200}{n}:{t}" for t in range(MOST_NAMES)))
        for n in range(50)
    ]
    desk = Desk(Shelf(*wide))
    found = await desk.removals(*(each.tags[0] for each in wide))
    assert [each.state for each in found] == [RemovalState.REMOVED] * 50


@virtual
async def test_a_pull_waits_for_the_end_of_a_removal() -> None:
    """Else it would find the image there, and say so of what is gone a moment later."""
    runtime = Shelf(image("a"))
    runtime._present = {"r/a:1", "r/b:1"}
    runtime.slow.clear()
    desk = Desk(runtime)
    ended: dict[str, ImageState] = {}

    def emit(event: Event) -> None:
        if isinstance(event, PullEnded):
            ended[event.outcome.image] = event.outcome.state

    opener = Unsealer(bytes(32))
    puller = Puller(
        runtime=runtime,
        keyring=NodeCredentials(Keyring(None)),
        opener=opener,
        emit=emit,
        turns=desk.turns,
    )
    asking = asyncio.create_task(desk.ask(desk.question("r/a:1")))
    pulling = asyncio.create_task(puller.run())
    await asyncio.sleep(0.5)
    for reference in ("r/a:1", "r/b:1"):
        puller.execute(StartPull(reference, False, 60.0))
    await asyncio.sleep(0.1)
    assert ended == {"r/b:1": ImageState.PRESENT}
    runtime.slow.set()
    await asking
    await asyncio.sleep(10.0)
    assert ended["r/a:1"] is ImageState.PULLED
    pulling.cancel()


async def _ask(cluster: Cluster, node: Node, question: InventoryQuestion) -> Removals:
    subject = subjects.query(*node.agent.address)
    answer = await cluster.observer.call(subject, msgspec.json.encode(question), 5.0)
    return msgspec.json.decode(answer, type=Removals)


@virtual
async def test_an_agent_keeps_what_it_pulls_and_what_it_was_told_to_have() -> None:
    """Over the bus, with a whole agent; its inventory tells of what is gone."""
    async with Cluster() as cluster:
        node = await cluster.node("n1", seconds=20.0, present=["r/a", "r/b"])
        await asyncio.sleep(1.0)
        work = [AssignedImage(name="c", reference="r/c")]
        assign: Command = Assign(epoch=1, task=TASK, attempt=1, images=work)
        command = subjects.command(*node.agent.address)
        await cluster.observer.call(command, msgspec.json.encode(assign), 5.0)
        for want in wants(["r/b"]):
            cluster.observer.publish(subjects.query(*node.agent.address), msgspec.json.encode(want))
        await asyncio.sleep(1.0)
        generation = generation_of(["r/b"])
        question = Remove(references=["r/a", "r/b", "r/c"], generation=generation)
        answer = await _ask(cluster, node, question)
        assert [(each.state, each.reason) for each in answer.removals] == [
            (RemovalState.REMOVED, None),
            (RemovalState.KEPT, KeptFor.WANTED),
            (RemovalState.ABSENT, None),
        ]
        assert isinstance(node.runtime, SimulatedRuntime)
        node.runtime._present.add("r/c")  # there already, while it is looked at again
        answer = await _ask(cluster, node, Remove(references=["r/c"], generation=generation))
        assert answer.removals[0].reason is KeptFor.PULLING


def test_every_name_of_an_image_leads_to_it() -> None:
    """Tags and digests alike."""
    one, other = image("a", "r/x:1"), image("b")
    found = removal.named([one, other])
    assert {found[name].id for name in removal.names_of(one)} == {one.id}
    assert len(found) == 5
