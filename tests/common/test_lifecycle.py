from __future__ import annotations

import asyncio
import inspect
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.lifecycle import JobEndedError, Jobs, Stop, raise_file_limit
from tests.fixtures.parts import lacking
from tests.fixtures.patience import PATIENCE

ROOT = Path(__file__).parents[2]

PROLOGUE = """
import asyncio, logging, signal, sys, time
from common import lifecycle
from common.lifecycle import Jobs, StartupError, Stop, run
from common.logs import LogFormat, configure

def say(text):
    print(text, flush=True)

async def forever(name):
    try:
        await asyncio.Event().wait()
    finally:
        say(f"{name} closed")

async def fail():
    raise LookupError("a bug")
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that is given as the body of its ``main(stop)``; ended after the test."""
    programs: list[subprocess.Popen[str]] = []

    def begin(
        body: str, *, grace: float = PATIENCE, last: float = PATIENCE, under: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        main = "async def main(stop):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        limits = f"GRACE = {grace}\nlifecycle.LAST_SECONDS = {last}"
        code = f"{PROLOGUE}\n{limits}\n{main}\nsys.exit(run(main, grace_seconds=GRACE))"
        program = subprocess.Popen(
            [*under, sys.executable, "-c", code],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        programs.append(program)
        return program

    yield begin
    for program in programs:
        program.kill()
        program.communicate()


def heard(program: subprocess.Popen[str]) -> str:
    """The next line that a program says."""
    assert program.stdout is not None
    return program.stdout.readline().strip()


def ended(program: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Exit code, the rest of what was said, and stderr of a program that ends by itself."""
    out, err = program.communicate(timeout=PATIENCE)
    return program.returncode, out.splitlines(), err


IN_ORDER = """
    configure(logging.INFO, LogFormat.JSON)
    async with Jobs(stop) as jobs:
        jobs.start("worker", forever("worker"))
        say("ready")
        await stop.wait()
        say("handing back")
        assert 0 < stop.remaining() <= GRACE
    say("closed")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_in_order(start: Start, number: signal.Signals) -> None:
    """A signal lets a program hand back, then close, and end with 0."""
    program = start(IN_ORDER)
    assert heard(program) == "ready"
    program.send_signal(number)
    code, said, err = ended(program)
    assert (code, said) == (0, ["handing back", "worker closed", "closed"])
    assert json.loads(err)["reason"] == number.name


def test_pid_1(start: Start) -> None:
    """The first process of a container, for which signals have no default, stops as well."""
    unshare = shutil.which("unshare")
    namespace = (str(unshare), "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if unshare is None or subprocess.run([*namespace, "true"], check=False).returncode:
        lacking("no process namespaces here: nothing can be PID 1")
    program = start(
        "import os\nsay(str(os.getpid()))\n" + textwrap.dedent(IN_ORDER), under=namespace
    )
    assert heard(program) == "1"
    assert heard(program) == "ready"
    [child] = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    subprocess.run(["kill", "-TERM", child], check=True)
    code, said, _ = ended(program)
    assert (code, said) == (0, ["handing back", "worker closed", "closed"])


def test_signal_at_once(start: Start) -> None:
    """A signal that comes before anything is built is not lost."""
    program = start("""
        signal.raise_signal(signal.SIGTERM)
        async with Jobs(stop) as jobs:
            jobs.start("worker", forever("worker"))
            await stop.wait()
    """)
    assert ended(program)[0] == 0


def test_second_signal(start: Start) -> None:
    """A second signal cuts short a stop that takes too long, and things are still closed."""
    program = start("""
        async with Jobs(stop) as jobs:
            jobs.start("worker", forever("worker"))
            say("ready")
            await stop.wait()
            say("handing back")
            await asyncio.Event().wait()
    """)
    assert heard(program) == "ready"
    program.send_signal(signal.SIGINT)
    assert heard(program) == "handing back"
    program.send_signal(signal.SIGINT)
    code, said, err = ended(program)
    assert (code, said) == (1, ["worker closed"])
    assert "cancelling" in err
    assert "Traceback" not in err


def test_grace_period(start: Start) -> None:
    """So does the end of the grace period."""
    program = start(
        """
        signal.raise_signal(signal.SIGTERM)
        await forever("main")
        """,
        grace=0.1,
    )
    assert ended(program)[:2] == (1, ["main closed"])


def test_cancelled_and_quiet(start: Start) -> None:
    """A stop that had to be forced is no success, even where the program hides it."""
    program = start(
        """
        signal.raise_signal(signal.SIGTERM)
        try:
            await forever("main")
        except asyncio.CancelledError:
            pass
        """,
        grace=0.1,
    )
    assert ended(program)[0] == 1


@pytest.mark.parametrize(
    "hang",
    [
        "while True: time.sleep(0.01)",  # the event loop is blocked
        "while True: await asyncio.gather(asyncio.sleep(0.01), return_exceptions=True)",
        "await asyncio.to_thread(time.sleep, 60)",  # cancelled at once, and yet not over
    ],
)
def test_hanging_program(start: Start, hang: str) -> None:
    """A program that cannot be stopped is left, with its cause on stderr."""
    body = textwrap.dedent("""
        signal.raise_signal(signal.SIGTERM)
        while True:
            try:
                HANG
            except asyncio.CancelledError:
                pass
    """)
    program = start(body.replace("HANG", hang), grace=0.1, last=0.2)
    code, _, err = ended(program)
    assert code == 1
    assert err.splitlines()[-1] == "not stopped in time: leaving at once"


def test_job_dies(start: Start) -> None:
    """A job that dies takes the program with it: the others are closed, and the code is 1."""
    program = start("""
        configure(logging.INFO, LogFormat.JSON)
        async with Jobs(stop) as jobs:
            jobs.start("worker", forever("worker"))
            jobs.start("faulty", fail())
            await asyncio.Event().wait()
    """)
    code, said, err = ended(program)
    assert (code, said) == (1, ["worker closed"])
    stopping, died = map(json.loads, err.splitlines())
    assert stopping["reason"] == "faulty died"
    assert (died["level"], died["message"]) == ("error", "the program died")
    assert "LookupError: a bug" in died["exception"]


def test_job_dies_and_another_hangs(start: Start) -> None:
    """A job that does not end does not keep a dead program alive."""
    program = start(
        """
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        async with Jobs(stop) as jobs:
            jobs.start("stubborn", stubborn())
            jobs.start("faulty", fail())
            await asyncio.Event().wait()
        """,
        grace=0.1,
        last=0.2,
    )
    code, _, err = ended(program)
    assert code == 1
    assert err.endswith("not stopped in time: leaving at once\n")


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        (
            "raise StartupError('port 1 is in use: set SERVER_PORT')",
            1,
            "port 1 is in use: set SERVER_PORT",
        ),
        ("raise StartupError('two\\nlines')", 1, "two lines"),
        ("raise StartupError('no nats://u:s3cret@host')", 1, "no nats://***@host"),
        (
            """
            async def refuse():
                raise StartupError("b")

            async with Jobs(stop) as jobs:
                jobs.start("b", refuse())
                raise StartupError("a")
            """,
            1,
            "a",
        ),
        (
            """
            class BadSettings(StartupError):
                exit_code = 2

            async with Jobs(stop):
                raise ExceptionGroup("", [BadSettings("a"), StartupError("b")])
            """,
            2,
            "a; b",
        ),
    ],
)
def test_startup_error(start: Start, body: str, code: int, line: str) -> None:
    """A program that cannot start says why in one line, and nothing else."""
    assert ended(start(body)) == (code, [], f"cannot start: {line}\n")


@pytest.mark.parametrize(
    "body",
    [
        "raise LookupError('a bug')",
        "raise ExceptionGroup('', [StartupError('a'), LookupError('a bug')])",
    ],
)
def test_bug(start: Start, body: str) -> None:
    """What nobody foresaw has its traceback, and the code is 1."""
    code, _, err = ended(start(body))
    assert code == 1
    assert "Traceback" in err
    assert "LookupError: a bug" in err


def test_plain_end(start: Start) -> None:
    """A program that ends by itself ends with 0."""
    assert ended(start("say('done')")) == (0, ["done"], "")


# ── inside of one process ────────────────────────────────────────────────────────────────────


async def forever() -> None:
    """A job without end."""
    await asyncio.Event().wait()


async def fail() -> None:
    """A job with a bug."""
    raise LookupError("a bug")


async def finish() -> None:
    """A job that has nothing to do."""


async def test_stop() -> None:
    """A stop is requested once, wakes all who wait, and counts down from then on."""
    requests: list[str] = []
    stop = Stop(10, on_request=lambda: requests.append("asked"))
    waiting = asyncio.create_task(stop.wait())
    assert (stop.requested, stop.remaining()) == (False, math.inf)
    stop.request("first")
    stop.request("second")
    await waiting
    assert stop.requested
    assert 0 < stop.remaining() <= 10
    assert requests == ["asked"]


async def test_stop_is_over() -> None:
    """What is left of the time is never negative."""
    stop = Stop(-1)
    stop.request("late")
    assert stop.remaining() == 0


async def live(stop: Stop, *work: Coroutine[Any, Any, None]) -> None:
    """A program of some jobs, each named ``job``, that waits for none of them."""
    async with Jobs(stop) as jobs:
        for job in work:
            jobs.start("job", job)
        await forever()


async def test_jobs_end_with_their_block() -> None:
    """Leaving the block cancels the jobs and waits for them."""
    async with Jobs(Stop()) as jobs:
        jobs.start("a", forever())
        jobs.start("b", forever())
        await asyncio.sleep(0)
    assert all(task.cancelled() for task in jobs._tasks)


async def test_job_that_never_began() -> None:
    """A job that is cancelled before its first step leaves no warning behind."""
    job = forever()
    async with Jobs(Stop()) as jobs:
        jobs.start("a", job)
    assert inspect.getcoroutinestate(job) == inspect.CORO_CLOSED


async def test_job_that_returns() -> None:
    """A job that returns while the program lives is a fault, and asks for a stop."""
    stop = Stop()
    with pytest.raises(ExceptionGroup) as caught:
        await live(stop, finish(), forever())
    assert stop.requested
    [error] = caught.value.exceptions
    assert isinstance(error, JobEndedError)
    assert str(error) == "job ended while the program was to live"


async def test_job_that_returns_at_a_stop() -> None:
    """Once a stop is requested, a job may return by itself."""
    stop = Stop()
    async with Jobs(stop) as jobs:
        stop.request("test")
        jobs.start("a", finish())
        await asyncio.sleep(0)


async def test_death_wakes_the_block() -> None:
    """A job that dies ends the block at whatever it waits for, and the other jobs."""
    stop = Stop()
    other = forever()
    with pytest.raises(ExceptionGroup) as caught:
        await live(stop, fail(), other)
    assert stop.requested
    assert caught.group_contains(LookupError)
    assert inspect.getcoroutinestate(other) == inspect.CORO_CLOSED


def test_the_soft_limit_of_files_is_raised_to_the_hard_one() -> None:
    """A thousand connections are no reason to end where the system allows more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 256), before[1]))
    try:
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
