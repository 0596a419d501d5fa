"""The simulated runtime beyond what it shares with the real ones: its dice and its one rule."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.runtime.protocol import Bytes, PullFailed
from agent.runtime.simulated import SimulatedRuntime
from common.reasons import Reason
from sandbox.virtual.time import in_virtual_time

pytestmark = pytest.mark.pure

REFERENCES = [f"registry.example/app/{n}:1" for n in range(200)]


async def outcome(runtime: SimulatedRuntime, reference: str) -> Reason | None:
    """Pull an image; why that failed, or None."""
    try:
        await runtime.pull(
            reference, None, resume_key=reference, keep_seconds=1, on_bytes=lambda _: None
        )
    except PullFailed as failure:
        return failure.reason
    return None


async def outcomes(seed: str) -> list[Reason | None]:
    """Pull many images on a runtime that fails often."""
    runtime = SimulatedRuntime(seconds=0, failure_rate=0.3, seed=seed)
    return [await outcome(runtime, reference) for reference in REFERENCES]


async def test_it_calls_itself_simulated() -> None:
    """Nobody shall take its figures for real; nor has it a disk to show."""
    facts = await SimulatedRuntime().facts()
    assert facts.runtime == "simulated"
    assert facts.image_disk is None


async def test_the_same_seed_has_the_same_outcomes() -> None:
    """A run can be repeated; two nodes do not fail alike."""
    assert await outcomes("node-1") == await outcomes("node-1")
    assert await outcomes("node-1") != await outcomes("node-2")


async def test_about_as_many_fail_as_are_to_fail() -> None:
    """For a reason after which a retry makes sense, and draws again."""
    failed = [reason for reason in await outcomes("node-1") if reason]
    assert set(failed) == {Reason.REGISTRY_ERROR}
    assert 0.2 < len(failed) / len(REFERENCES) < 0.4
    runtime = SimulatedRuntime(seconds=0, failure_rate=0.3)
    again = {await outcome(runtime, REFERENCES[0]) for _ in range(50)}
    assert again == {None, Reason.REGISTRY_ERROR}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("image-not-found", Reason.IMAGE_NOT_FOUND),
        ("unauthorized", Reason.UNAUTHORIZED),
        ("tls-error", Reason.TLS_ERROR),
        ("disk-full", Reason.DISK_FULL),
        ("no-reason-at-all", None),
    ],
)
async def test_a_repository_can_be_named_for_a_failure(name: str, reason: Reason | None) -> None:
    """Whatever the tag or digest."""
    runtime = SimulatedRuntime(seconds=0)
    for suffix in ("", ":1", f"@sha256:{'0' * 64}"):
        assert await outcome(runtime, f"registry.example/fails/{name}{suffix}") is reason


def test_a_held_pull_stands_at_its_half_until_it_is_let_go(tmp_path: Path) -> None:
    """What must last lasts as long as somebody looks: a minute here, of a pull that fails, too."""
    in_virtual_time(held_for_a_minute(tmp_path / "hold"))


async def held_for_a_minute(hold: Path) -> None:
    """Two pulls that begin while the file exists."""
    hold.touch()
    runtime = SimulatedRuntime(seconds=4, size=100, progress_seconds=1, hold=hold)
    seen: list[Bytes] = []
    good = asyncio.create_task(
        runtime.pull(REFERENCES[0], None, resume_key="a", keep_seconds=1, on_bytes=seen.append)
    )
    bad = asyncio.create_task(outcome(runtime, "registry.example/fails/disk-full:1"))
    await asyncio.sleep(60)
    assert (good.done(), bad.done(), seen[-1].done) == (False, False, 50)
    hold.unlink()
    await good
    assert await bad is Reason.DISK_FULL
    assert seen[-1] == Bytes(100, 100)


async def test_what_is_present_is_pulled_again_at_once() -> None:
    """The registry has nothing new."""
    runtime = SimulatedRuntime(seconds=0.01, size=100)
    seen: list[Bytes] = []
    for _ in range(2):
        await runtime.pull(
            REFERENCES[0], None, resume_key="key", keep_seconds=1, on_bytes=seen.append
        )
    assert seen == [Bytes(100, 100)]
