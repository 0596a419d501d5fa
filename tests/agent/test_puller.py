"""How a pull is done, on a scripted runtime and in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from agent.events import BytesArrived, DownloadBegan, Event, Forgotten, PullEnded
from agent.instructions import Forget, Grant, StartPull, StopPull
from agent.puller import PATIENCE, NodeLogins, Puller, PullInstruction
from agent.runtime.protocol import (
    Bytes,
    Credentials,
    PresentImage,
    PullFailed,
    RuntimeFacts,
    StoredImage,
)
from agent.unsealing import Unsealer
from common.messages import ImageOutcome, ImageState
from common.reasons import Reason
from common.sealed_logins import SealedLogins, ShownLogin, seal_logins, work_of
from sandbox.virtual.time import in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.runtime.protocol import OnBytes

pytestmark = pytest.mark.pure

T = TypeVar("T")

HERE = PresentImage("sha256:here", 10)
PULLED = PresentImage("sha256:pulled", 20)
AWAY = PullFailed(Reason.RUNTIME_UNAVAILABLE, "no socket")
REFUSED = PullFailed(Reason.UNAUTHORIZED, "401")
KEYS = [Credentials("r", name, "secret") for name in ("first", "second")]
OPENER = Unsealer(bytes(32))
START = StartPull("r/a", always=False, keep_seconds=60)
ALWAYS = StartPull("r/a", always=True, keep_seconds=60)


class ScriptedRuntime:
    """Says what the test has written down, in that order; the last line is repeated."""

    driver = "scripted"
    sees_bytes = True
    resumes = True
    pins = False

    def __init__(
        self,
        find: Sequence[PresentImage | PullFailed | None] = (None,),
        pull: Sequence[PresentImage | PullFailed] = (PULLED,),
        seconds: float = 1.0,
    ) -> None:
        self._find = list(find)
        self._pull = list(pull)
        self._seconds = seconds
        self.asked: list[str | None] = []
        """User names that the registry was told."""
        self.forgotten: list[str] = []

    async def facts(self) -> RuntimeFacts:
        """Nobody asks."""
        raise NotImplementedError

    async def find(self, reference: str) -> PresentImage | None:
        """Look up as written."""
        assert reference == "r/a"
        return _next(self._find)

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,
        keep_seconds: float,
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Pull as written, taking a second."""
        assert (resume_key, keep_seconds) == (reference, 60)
        self.asked.append(credentials.username if credentials else None)
        on_bytes(Bytes(0, 20))
        await asyncio.sleep(self._seconds)
        return _next(self._pull)

    async def list_images(self) -> Sequence[StoredImage]:
        """Nobody asks."""
        raise NotImplementedError

    async def our_pins(self) -> frozenset[str]:
        """Say none."""
        return frozenset()

    async def pin(self, image_id: str) -> None:
        """Pin nothing."""

    async def unpin(self, image_id: str) -> None:
        """Let nothing go."""

    async def used_images(self) -> frozenset[str]:
        """Say nothing of any."""
        return frozenset()

    async def remove_image(self, image_id: str) -> None:
        """Remove nothing."""

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Nobody asks."""
        raise NotImplementedError

    async def forget(self, resume_key: str) -> None:
        """Note it."""
        self.forgotten.append(resume_key)

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Nobody asks."""
        raise NotImplementedError

    async def close(self) -> None:
        """Do nothing."""


def _next(script: list[T | PullFailed]) -> T:
    line = script.pop(0) if len(script) > 1 else script[0]
    if isinstance(line, PullFailed):
        raise line
    return line


class FixedKeyring:
    """Knows the same credentials for every image."""

    def __init__(self, keys: Sequence[Credentials] | PullFailed = (), complaint: str = "") -> None:
        self._keys = keys
        self._complaint = complaint

    async def lookup(self, reference: str) -> NodeLogins:
        """List them, and complain of what the test has named."""
        assert reference == "r/a"
        if isinstance(self._keys, PullFailed):
            raise self._keys
        return NodeLogins(self._keys, self._complaint)


def carry_out(
    runtime: ScriptedRuntime,
    *instructions: PullInstruction,
    keys: Sequence[Credentials] | PullFailed = (),
    seconds: float = 100.0,
    complaint: str = "",
) -> list[Event]:
    """What the puller tells in so many seconds after its instructions."""
    events: list[Event] = []

    async def work() -> None:
        puller = Puller(
            runtime=runtime,
            keyring=FixedKeyring(keys, complaint),
            opener=OPENER,
            emit=events.append,
        )
        for instruction in instructions:
            puller.execute(instruction)
        running = asyncio.create_task(puller.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    in_virtual_time(work())
    return events


def ending(events: Sequence[Event]) -> ImageOutcome:
    """The one end of the one pull."""
    (outcome,) = [event.outcome for event in events if isinstance(event, PullEnded)]
    return outcome


def test_present() -> None:
    """An image that is there is not pulled."""
    runtime = ScriptedRuntime(find=[HERE])
    events = carry_out(runtime, START)
    assert events == [
        PullEnded(
            ImageOutcome(
                image="r/a", state=ImageState.PRESENT, digest="sha256:here", bytes=10, seconds=None
            )
        )
    ]
    assert runtime.asked == []


def test_absent() -> None:
    """An image that is not there is pulled, without credentials where none are known."""
    runtime = ScriptedRuntime()
    assert carry_out(runtime, START) == [
        DownloadBegan("r/a", sees_bytes=True),
        BytesArrived("r/a", Bytes(0, 20)),
        PullEnded(
            ImageOutcome(
                image="r/a", state=ImageState.PULLED, digest="sha256:pulled", bytes=20, seconds=1
            )
        ),
    ]
    assert runtime.asked == [None]


def test_always() -> None:
    """An image that is there is pulled all the same where that is wanted."""
    runtime = ScriptedRuntime(find=[HERE])
    assert ending(carry_out(runtime, ALWAYS)).state is ImageState.PULLED


def test_credentials_in_order() -> None:
    """Credentials are tried in their order until the registry takes one."""
    runtime = ScriptedRuntime(pull=[REFUSED, PULLED])
    assert ending(carry_out(runtime, START, keys=KEYS)).state is ImageState.PULLED
    assert runtime.asked == ["first", "second"]


def test_without_credentials_at_last() -> None:
    """A registry that refuses all credentials may be open to everybody."""
    runtime = ScriptedRuntime(pull=[REFUSED, REFUSED, PULLED])
    assert ending(carry_out(runtime, START, keys=KEYS)).state is ImageState.PULLED
    assert runtime.asked == ["first", "second", None]


def test_first_refusal_counts() -> None:
    """Of several refusals the one of the best credentials is reported."""
    refusals = [PullFailed(Reason.UNAUTHORIZED, text) for text in ("wrong password", "401", "none")]
    outcome = ending(carry_out(ScriptedRuntime(pull=refusals), START, keys=KEYS))
    assert (outcome.reason, outcome.message) == (Reason.UNAUTHORIZED, "wrong password")
    assert outcome.seconds == 3


@pytest.mark.parametrize(
    "reason",
    [
        Reason.UNAUTHORIZED,
        Reason.IMAGE_NOT_FOUND,
        Reason.RATE_LIMITED,
        Reason.REGISTRY_ERROR,
        Reason.REGISTRY_UNREACHABLE,
        Reason.UNKNOWN,
    ],
)
def test_whatever_the_answer_the_next_are_tried(reason: Reason) -> None:
    """As the kubelet does: registries say "not found" of what is not open to somebody."""
    runtime = ScriptedRuntime(pull=[PullFailed(reason, "no"), PULLED])
    assert ending(carry_out(runtime, START, keys=KEYS)).state is ImageState.PULLED
    assert runtime.asked == ["first", "second"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([Reason.UNAUTHORIZED, Reason.REGISTRY_ERROR, Reason.UNAUTHORIZED], Reason.REGISTRY_ERROR),
        (
            [Reason.UNAUTHORIZED, Reason.IMAGE_NOT_FOUND, Reason.UNAUTHORIZED],
            Reason.IMAGE_NOT_FOUND,
        ),
        ([Reason.UNAUTHORIZED, Reason.UNAUTHORIZED, Reason.IMAGE_NOT_FOUND], Reason.UNAUTHORIZED),
        ([Reason.UNAUTHORIZED, Reason.UNAUTHORIZED, Reason.RATE_LIMITED], Reason.RATE_LIMITED),
        ([Reason.UNAUTHORIZED, Reason.DISK_FULL], Reason.DISK_FULL),
    ],
)
def test_what_is_told_of_several_answers(answers: Sequence[Reason], told: Reason) -> None:
    """What a retry may end differently; else what the one said who was let in."""
    runtime = ScriptedRuntime(pull=[PullFailed(reason, reason) for reason in answers])
    assert ending(carry_out(runtime, START, keys=KEYS)).reason is told
    assert len(runtime.asked) == len(answers)


def test_what_cannot_be_used_is_named_in_the_failure() -> None:
    """However long the runtime's own text is."""
    refusals = [PullFailed(Reason.UNAUTHORIZED, "x" * 1000)]
    complaint = "/c.json: the entry 'r' is bad"
    events = carry_out(ScriptedRuntime(pull=refusals), START, keys=KEYS, complaint=complaint)
    message = ending(events).message or ""
    assert message.startswith("xxx")
    assert message.endswith(f"({complaint})")


def test_other_failures_end() -> None:
    """Other credentials do not help against anything but a refusal."""
    runtime = ScriptedRuntime(pull=[PullFailed(Reason.DISK_FULL, "no space left")])
    outcome = ending(carry_out(runtime, START, keys=KEYS))
    assert (outcome.state, outcome.reason) == (ImageState.FAILED, Reason.DISK_FULL)
    assert runtime.asked == ["first"]


def test_unusable_credentials() -> None:
    """Credentials that cannot be used at all are a failure of the image."""
    outcome = ending(carry_out(ScriptedRuntime(), START, keys=REFUSED))
    assert outcome.reason is Reason.UNAUTHORIZED


def test_runtime_comes_back() -> None:
    """A runtime that is away when a pull begins is waited for."""
    runtime = ScriptedRuntime(find=[AWAY, AWAY, AWAY, None])
    outcome = ending(carry_out(runtime, START))
    assert (outcome.state, outcome.seconds) == (ImageState.PULLED, 1)


def test_runtime_stays_away() -> None:
    """Patience with a runtime has an end."""
    runtime = ScriptedRuntime(find=[AWAY])
    outcome = ending(carry_out(runtime, START, seconds=sum(PATIENCE) - 0.1))
    assert outcome.state is ImageState.CANCELLED, "it waited still when the test ended"
    outcome = ending(carry_out(runtime, START, seconds=sum(PATIENCE) + 0.1))
    assert outcome.reason is Reason.RUNTIME_UNAVAILABLE


def test_runtime_goes_away() -> None:
    """A runtime that goes away in the middle of a pull ends it."""
    outcome = ending(carry_out(ScriptedRuntime(pull=[AWAY]), START))
    assert (outcome.reason, outcome.seconds) == (Reason.RUNTIME_UNAVAILABLE, 1)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_stop(seconds: float) -> None:
    """A pull that is stopped says so, even where it had no time to begin."""
    events: list[Event] = []

    async def work() -> None:
        runtime = ScriptedRuntime(seconds=10)
        puller = Puller(runtime=runtime, keyring=FixedKeyring(), opener=OPENER, emit=events.append)
        running = asyncio.create_task(puller.run())
        puller.execute(START)
        await asyncio.sleep(seconds)
        puller.execute(StopPull("r/a", Reason.CANCELLED))
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running])

    in_virtual_time(work())
    assert ending(events).state is ImageState.CANCELLED


def test_stop_of_what_is_over() -> None:
    """A stop that comes too late has no effect."""
    events = carry_out(ScriptedRuntime(), StopPull("r/a", Reason.CANCELLED), START)
    assert ending(events).state is ImageState.PULLED


def test_forget() -> None:
    """Forgetting is done by the runtime, and said."""
    runtime = ScriptedRuntime()
    assert carry_out(runtime, Forget("r/a")) == [Forgotten("r/a")]
    assert runtime.forgotten == ["r/a"]


def granted(
    *registries: str, attempt: int = 1, references: tuple[str, ...] = ("r.test/a",)
) -> StartPull:
    """A pull of ``r.test/a`` with what was sealed for attempt 1 of its task."""
    task = "task-20260101-000000-00000001"
    logins = [ShownLogin(registry=name, username=f"of {name}", password="p") for name in registries]
    content = SealedLogins(task=task, attempt=1, work=work_of(["r.test/a"]), logins=logins)
    sealed = seal_logins(content, OPENER.public_key)
    grant = Grant("key", sealed, task, attempt, references)
    return StartPull("r.test/a", always=True, keep_seconds=60, grant=grant)


class OfTheTest(ScriptedRuntime):
    """Has nothing, and lets nobody in."""

    async def find(self, reference: str) -> PresentImage | None:
        """Nothing is there."""
        assert reference == "r.test/a"
        return None


class AnyKeyring(FixedKeyring):
    """The node's own credentials, whatever the image."""

    async def lookup(self, _reference: str) -> NodeLogins:
        """List them."""
        return await super().lookup("r/a")


def asked_with(
    order: StartPull, keys: Sequence[Credentials] | PullFailed = ()
) -> tuple[list[str | None], ImageOutcome]:
    """Whom the registry was told of, and how that ended."""
    runtime, events = OfTheTest(pull=[REFUSED]), list[Event]()

    async def work() -> None:
        puller = Puller(
            runtime=runtime, keyring=AnyKeyring(keys), opener=OPENER, emit=events.append
        )
        puller.execute(order)
        running = asyncio.create_task(puller.run())
        await asyncio.sleep(100)
        running.cancel()
        await asyncio.wait([running])

    in_virtual_time(work())
    return runtime.asked, ending(events)


def test_the_tasks_credentials_come_first() -> None:
    """Those of the image's registry, then the node's own, then none."""
    asked, _ = asked_with(granted("other.test", "r.test"), KEYS)
    assert asked == ["of r.test", "first", "second", None]
    asked, _ = asked_with(granted("r.test"), REFUSED)
    assert asked == ["of r.test", None]


def test_the_node_is_not_asked_where_the_tasks_credentials_will_do() -> None:
    """Its programs may take a minute."""

    class Unasked:
        """No task may need it."""

        async def lookup(self, reference: str) -> NodeLogins:
            """Fail."""
            raise AssertionError(reference)

    runtime, events = OfTheTest(pull=[PULLED]), list[Event]()

    async def work() -> None:
        puller = Puller(runtime=runtime, keyring=Unasked(), opener=OPENER, emit=events.append)
        puller.execute(granted("r.test"))
        running = asyncio.create_task(puller.run())
        await asyncio.sleep(100)
        running.cancel()
        await asyncio.wait([running])

    in_virtual_time(work())
    assert (runtime.asked, ending(events).state) == (["of r.test"], ImageState.PULLED)


@pytest.mark.parametrize(
    "order",
    [
        granted("r.test", attempt=2),
        granted("r.test", references=("r.test/a", "r.test/b")),
        replace(granted("r.test"), grant=Grant("key", "bm9uc2Vuc2U=", "t", 1, ())),
        replace(granted("r.test"), grant=Grant("key", "no base64", "t", 1, ())),
    ],
)
def test_what_was_sealed_for_other_work_opens_nothing(order: StartPull) -> None:
    """The registry is not asked at all."""
    asked, outcome = asked_with(order, KEYS)
    assert (asked, outcome.reason) == ([], Reason.UNAUTHORIZED)
