"""What CRI says of an image, read for this node."""

from __future__ import annotations

import os
import platform
from types import SimpleNamespace

import msgspec
import pytest

from agent.runtime.image_status import ImageStatus, VerboseInfo, pulled
from agent.runtime.node import node_platform, runtime_facts
from agent.runtime.protocol import PresentImage, PullFailed
from common.reasons import Reason

pytestmark = pytest.mark.pure

A, B = (f"sha256:{digit * 64}" for digit in "ab")


@pytest.mark.parametrize(
    ("reference", "digests", "digest"),
    [
        ("r.example:5000/a/b:1", [f"r.example:5000/a/b@{A}"], A),
        ("r.example:5000/a/b", [f"r.example:5000/a/b@{A}"], A),
        (f"r.example:5000/a/b@{B}", [f"r.example:5000/a/b@{A}"], B),
        (f"r.example:5000/a/b:1@{B}", [], B),
        ("r.example/a/b:1", [f"other.example/a/b@{A}", f"r.example/a/b@{B}"], B),
        ("r.example/a/b:1", [f"other.example/a/b@{A}"], None),
        ("r.example/a/b:1", [f"r.example/a/b@{A}", f"r.example/a/b@{B}"], None),
        ("r.example/a/b:1", [], None),
        ("", [], None),
    ],
)
def test_the_digest_of_a_reference(reference: str, digests: list[str], digest: str | None) -> None:
    """A digest is only told where it is certain."""
    assert ImageStatus(tuple(digests), 1).digest_of(reference) == digest


@pytest.mark.parametrize(
    ("machine", "image", "runs"),
    [
        ("x86_64", "linux/amd64", True),
        ("x86_64", "linux/386", True),
        ("x86_64", "linux/arm64", False),
        ("x86_64", "windows/amd64", False),
        ("aarch64", "linux/arm64", True),
        ("aarch64", "linux/arm", True),
        ("aarch64", "linux/amd64", False),
        ("s390x", "linux/s390x", True),
        ("x86_64", "", True),
    ],
)
def test_what_runs_where(
    monkeypatch: pytest.MonkeyPatch, machine: str, image: str, *, runs: bool
) -> None:
    """What containerd would choose from an index runs; so does what does not say."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert ImageStatus((), 1, image).runs_here is runs


def test_a_pull_that_brought_another_platform_has_failed() -> None:
    """The runtime does not mind."""
    with pytest.raises(PullFailed) as failed:
        pulled("x", ImageStatus((), 1, "plan9/mips"), A)
    assert failed.value.reason is Reason.PLATFORM_MISMATCH
    assert failed.value.message == f"the image is for plan9/mips, this node is {node_platform()}"


@pytest.mark.parametrize(
    ("info", "is_artifact"),
    [
        (b"{}", False),
        (b'{"imageSpec": {}}', True),
        (b'{"imageSpec": {"name": "chart", "rootfs": {"type": "", "diff_ids": null}}}', True),
        (b'{"imageSpec": {"rootfs": {"type": "layers"}}}', False),
        (b'{"imageSpec": {"os": "linux"}}', False),
    ],
)
def test_what_is_an_artifact(info: bytes, *, is_artifact: bool) -> None:
    """Its config has nothing of an image's; where no config is told, nobody knows."""
    verbose = msgspec.json.decode(info, type=VerboseInfo)
    assert verbose.is_artifact is is_artifact
    status = ImageStatus((), 1, verbose.platform, verbose.is_artifact)
    if is_artifact:
        assert not status.runs_here
        with pytest.raises(PullFailed, match=r"^UnsupportedImage: "):
            pulled("x", status, A)


def test_a_pull_that_brought_nothing_has_failed() -> None:
    """An image may be removed as soon as it is there."""
    with pytest.raises(PullFailed) as failed:
        pulled("x", None, None)
    assert failed.value.reason is Reason.UNKNOWN


def test_a_pull_that_brought_an_image_tells_it() -> None:
    """Digest and size."""
    assert pulled("x", ImageStatus((), 5, node_platform()), A) == PresentImage(A, 5)


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("1.6.20~ds1", "containerd 1.6.20"),
        ("2.1.9+unknown", "containerd 2.1.9"),
        ("v2.2.0-rc.1", "containerd 2.2.0-rc.1"),
        ("", "containerd"),
    ],
)
def test_the_name_of_a_runtime(version: str, shown: str) -> None:
    """As users know it, without what a distribution appends."""
    assert runtime_facts("containerd", version, "").runtime == shown


def test_an_absurd_name_of_a_runtime_is_cut() -> None:
    """It stands in every heartbeat."""
    shown = runtime_facts("x" * 10**6, "1\n2", "/nul\0here").runtime
    assert shown == "x" * 100
    assert runtime_facts("a\nb", "1", "").runtime == "ab 1"


@pytest.mark.parametrize("digest", ["sha256:", "x", f"sha256:{'a' * 10**6}", "sha256:zz\n"])
def test_what_is_no_digest_is_not_told(digest: str) -> None:
    """The coordinator would refuse the outcome for it."""
    assert ImageStatus((f"r.example/a@{digest}",), 1).digest_of("r.example/a:1") is None


@pytest.mark.parametrize("blocks", [2**63, -1])
def test_a_disk_of_any_size_is_none(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """A file system in user space may claim what it likes."""
    claim = SimpleNamespace(f_bavail=0, f_blocks=blocks, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: claim)
    assert runtime_facts("x", "1", "/").image_disk is None


def test_a_disk_that_cannot_be_seen_is_left_out() -> None:
    """The agent may be in a container of its own."""
    assert runtime_facts("x", "1", "/nowhere/at/all").image_disk is None
    assert runtime_facts("x", "1", "").image_disk is None
