"""The driver ``crictl`` without a crictl: what the program writes, and programs that misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from agent.runtime import crictl
from agent.runtime.crictl import CrictlRuntime
from agent.runtime.protocol import Credentials, PresentImage, PullFailed, RuntimeAway
from common.reasons import Reason

ENDPOINT = "unix:///run/containerd/containerd.sock"
IMAGE = "registry.example/app:1"
PULLING = f'failed to pull and unpack image \\"{IMAGE}\\": failed to resolve reference '
TIME = 'time="2026-11-23T22:58:45Z"'

WRITTEN = [
    pytest.param(
        'E1123 22:58:45.377373   29459 remote_image.go:250] "PullImage from image service failed" '
        f'err="rpc error: code = NotFound desc = {PULLING}\\"{IMAGE}\\": {IMAGE}: not found" '
        f'image="{IMAGE}"\n'
        f'{TIME} level=error msg="pulling image: rpc error: code = NotFound desc = {PULLING}"',
        Reason.IMAGE_NOT_FOUND,
        f"{IMAGE}: not found",
        id="1.37",
    ),
    pytest.param(
        'E1123 22:58:45.377373   29459 log.go:32] "PullImage from image service failed" '
        f'err="rpc error: code = Unknown desc = {PULLING}\\"{IMAGE}\\": dial tcp 10.0.0.1:443: '
        f'connect: connection refused" image="{IMAGE}"\n'
        f'{TIME} level=fatal msg="pulling image: {PULLING}"',
        Reason.REGISTRY_UNREACHABLE,
        "dial tcp 10.0.0.1:443: connect: connection refused",
        id="1.35",
    ),
    pytest.param(
        'E1123 22:58:45.377373   29459 log.go:32] "PullImage from image service failed" '
        f'err="rpc error: code = Canceled desc = context canceled" image="{IMAGE}"',
        Reason.STALLED,
        "context canceled",
        id="the runtime's own limit",
    ),
    pytest.param(
        'E1123 22:58:45.377373   29459 log.go:32] "PullImage from image service failed" '
        'err="rpc error: code = Unavailable desc = error reading from server: EOF" image="x"',
        Reason.RUNTIME_UNAVAILABLE,
        f"no container runtime at {ENDPOINT}: error reading from server: EOF",
        id="the runtime died",
    ),
    pytest.param(
        f'{TIME} level=fatal msg="validate service connection: validate CRI v1 image API for '
        'endpoint \\"unix:///x\\": rpc error: code = Unavailable desc = connection error: desc = '
        '\\"transport: Error while dialing: dial unix /x: connect: no such file or directory\\""',
        Reason.RUNTIME_UNAVAILABLE,
        f"no container runtime at {ENDPOINT}: connection error: desc = "
        '"transport: Error while dialing: dial unix /x: connect: no such file or directory"',
        id="no socket",
    ),
    pytest.param(
        f'{TIME} level=fatal msg="pulling image: no space left on device"',
        Reason.DISK_FULL,
        "no space left on device",
        id="no code",
    ),
    pytest.param("flag provided\nbut not defined", Reason.UNKNOWN, "flag provided but not defined"),
    pytest.param("", Reason.UNKNOWN, "it failed without a word", id="nothing"),
]


def program(folder: Path, body: str) -> str:
    """Write a program in Python."""
    path = folder / "crictl"
    path.write_text(f"#!{sys.executable}\nimport os, signal, sys\n{body}")
    path.chmod(0o755)
    return str(path)


def pull(driver: CrictlRuntime) -> Coroutine[Any, Any, PresentImage]:
    """Pull an image."""
    return driver.pull(IMAGE, None, resume_key="key", keep_seconds=1, on_bytes=lambda _: None)


@pytest.mark.parametrize(("errors", "reason", "message"), WRITTEN)
async def test_what_it_writes_is_understood(
    tmp_path: Path, errors: str, reason: Reason, message: str
) -> None:
    """Of several versions; the code is only in the first of two lines."""
    failing = program(tmp_path, f"sys.stderr.write({errors!r})\nsys.exit(1)\n")
    with pytest.raises(PullFailed) as failed:
        await pull(CrictlRuntime(ENDPOINT, program=failing))
    assert (failed.value.reason, failed.value.message) == (reason, message)


async def test_what_it_prints_must_be_readable(tmp_path: Path) -> None:
    """A crictl of another time may print anything."""
    odd = CrictlRuntime(ENDPOINT, program=program(tmp_path, "print('[]')\n"))
    with pytest.raises(PullFailed, match=r"^Unknown: cannot read what inspecti says"):
        await odd.find(IMAGE)
    assert (await odd.facts()).image_disk is None


@pytest.mark.parametrize(
    ("size", "known"),
    [
        ("1234", 1234),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("1_000", None),
        (" 7", None),
        ("\u0661", None),
        ("9" * 19, None),
        ("1" * 5000, None),
    ],
)
async def test_a_size_that_is_none_is_unknown(tmp_path: Path, size: str, known: int | None) -> None:
    """The image is there all the same."""
    said = json.dumps({"status": {"repoDigests": [], "size": size}})
    odd = CrictlRuntime(ENDPOINT, program=program(tmp_path, f"print({said!r})\n"))
    found = await odd.find(IMAGE)
    assert found is not None
    assert found.size == known


async def test_a_program_that_prints_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is kept beyond a bound, wherever it is said."""
    monkeypatch.setattr(crictl, "_MOST_OUTPUT", 100_000)
    endless = "while True:\n    os.write({}, b'x' * 65536)\n"
    for stream in (1, 2):
        odd = CrictlRuntime(ENDPOINT, program=program(tmp_path, endless.format(stream)))
        with pytest.raises(PullFailed, match="more than 100000 bytes"):
            await pull(odd)


async def test_a_missing_program(tmp_path: Path) -> None:
    """The text says what is missing."""
    driver = CrictlRuntime(ENDPOINT, program=str(tmp_path / "crictl"))
    with pytest.raises(RuntimeAway, match=r"^cannot run .*/crictl: No such file or directory$"):
        await driver.facts()
    with pytest.raises(PullFailed) as failed:
        await pull(driver)
    assert failed.value.reason is Reason.RUNTIME_UNAVAILABLE


async def test_a_program_that_does_not_want_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a pull that is cancelled is over when its program is."""
    monkeypatch.setattr(crictl, "_STOP_SECONDS", 0.1)
    started = tmp_path / "pid"
    os.mkfifo(started)
    deaf = program(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(started)!r}, 'w').write(str(os.getpid()))\n"
        "signal.pause()\n",
    )
    task = asyncio.create_task(pull(CrictlRuntime(ENDPOINT, program=deaf)))
    pid = int(await asyncio.to_thread(started.read_text))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """What needs no registry has a limit."""
    silent = CrictlRuntime(
        ENDPOINT, program=program(tmp_path, "signal.pause()\n"), answer_seconds=0.1
    )
    with pytest.raises(RuntimeAway, match=r"no answer within 0\.1 s"):
        await silent.facts()


async def test_tokens_are_refused(tmp_path: Path) -> None:
    """The program has no place for them, and does not even run."""
    driver = CrictlRuntime(ENDPOINT, program=str(tmp_path / "crictl"))
    with pytest.raises(PullFailed, match="no token") as failed:
        await driver.pull(
            IMAGE,
            Credentials("registry.example", identity_token="t0ken"),
            resume_key="key",
            keep_seconds=1,
            on_bytes=lambda _: None,
        )
    assert failed.value.reason is Reason.UNAUTHORIZED


def test_an_endpoint_must_be_one() -> None:
    """Refused at the start, by name."""
    with pytest.raises(ValueError, match="unix:///path"):
        CrictlRuntime("/run/containerd/containerd.sock")
