"""Runs a program from its start to its exit code: signals, a stop in order, jobs that die.

``run`` gives ``main`` a ``Stop`` and turns its end into an exit code; ``Jobs`` owns what works for
as long as the program does. A stop has two phases and a budget: ``main`` wakes from ``Stop.wait``,
takes no new work and hands back what it has; then it leaves its ``async with`` blocks, which
cancel the jobs and close what they stood on::

    async def main(stop: Stop) -> None:
        settings = AgentSettings.load(os.environ)
        async with opened_spool(settings) as spool, Jobs(stop) as jobs:
            agent = Agent(spool)
            jobs.start("agent", agent.run())
            await stop.wait()
            await agent.shut_down(within=stop.remaining())

    sys.exit(run(main))
"""

from __future__ import annotations

import asyncio
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

from common.logs import Log
from common.redaction import redact

GRACE_SECONDS: Final = 25.0
"""Time to stop in order: Kubernetes kills 30 s after it has asked."""
LAST_SECONDS: Final = 3.0
"""Time to close things after the grace period, or after a second signal."""

_STDERR: Final = 2
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)

log = Log(__name__)

E = TypeVar("E", bound=BaseException)


class StartupError(Exception):
    """The program cannot start; the text names the cause and what to do, in one line."""

    exit_code: ClassVar[int] = 1


class JobEndedError(Exception):
    """A job that works for as long as the program does has returned."""


class Stop:
    """Whether the program is to end, and the time that it has for that."""

    def __init__(
        self,
        grace_seconds: float = GRACE_SECONDS,
        *,
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._on_request = on_request
        self._requested = asyncio.Event()
        self._deadline = math.inf

    @property
    def requested(self) -> bool:
        """Whether the program is to end."""
        return self._requested.is_set()

    def request(self, reason: str) -> None:
        """Ask the program to end, from the event loop's own thread; the first time counts."""
        if self.requested:
            return
        log.info("stopping", reason=reason, grace_seconds=self._grace_seconds)
        self._deadline = asyncio.get_running_loop().time() + self._grace_seconds
        self._requested.set()
        self._on_request()

    async def wait(self) -> None:
        """Wait until the program is to end."""
        await self._requested.wait()

    def remaining(self) -> float:
        """Seconds left to stop in order, by the loop's clock; infinite while nobody has asked."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


Main = Callable[[Stop], Coroutine[Any, Any, None]]
"""A program: returns when it has ended, in order."""


class Jobs:
    """The jobs of a program, in a task group: one that dies or returns takes the program with it.

    Leaving the block cancels those that still run and waits for them. A job may return by itself
    only once a stop is requested.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def start(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        """Run a job for as long as the program lives."""
        task = self._group.create_task(self._watched(name, job), name=name)
        # A task that is cancelled before its first step never reaches its job.
        task.add_done_callback(lambda _: job.close())
        self._tasks.append(task)

    async def _watched(self, name: str, job: Coroutine[Any, Any, None]) -> None:
        try:
            await job
        except Exception:
            # From here the others' clean-up has the budget of a stop: none can hold up the end.
            self._stop.request(f"{name} died")
            raise
        if not self._stop.requested:
            self._stop.request(f"{name} ended")
            raise JobEndedError(f"{name} ended while the program was to live")


def run(main: Main, *, grace_seconds: float = GRACE_SECONDS) -> int:
    """Run a program to its end and return its exit code.

    0: ended in order. 1: something died, the stop took too long, or a ``StartupError``, which is
    one line on stderr (a subclass may say another code: bad settings end with 2). SIGTERM and
    SIGINT ask for a stop; a second one, or the end of the grace period, cancels ``main``; a third,
    or ``LAST_SECONDS`` more, leaves at once.
    """
    raise_file_limit()
    runner = asyncio.Runner()
    with _Escalation(runner.get_loop(), grace_seconds) as escalation, runner:
        return runner.run(_live(main, escalation))


def raise_file_limit() -> None:
    """Let the program have as many files and connections as the system allows it.

    Most systems set the soft limit to 1,024 for the sake of programs that use ``select``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _live(main: Main, escalation: _Escalation) -> int:
    escalation.task = asyncio.current_task()
    try:
        await main(escalation.stop)
    except asyncio.CancelledError:
        return 1
    except ExceptionGroup as group:
        refusals, faults = group.split(StartupError)
        if refusals is None or faults is not None:
            return _died(group)
        return _refused(list(leaves(refusals)))
    except StartupError as error:
        return _refused([error])
    except Exception as error:  # noqa: BLE001  # whatever it is, it ends the program and is logged
        return _died(error)
    return int(escalation.insisted)


def _refused(errors: list[StartupError]) -> int:
    line = "; ".join(" ".join(redact(str(error)).split()) for error in errors)
    sys.stderr.write(f"cannot start: {line}\n")
    return errors[0].exit_code


def _died(error: Exception) -> int:
    log.failure("the program died", error)
    return 1


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The errors of a group and of the groups in it, one by one."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


class _Escalation:
    """Ask, insist, leave: each signal, and each time-out of a step, goes one step further.

    Python's own signal handlers and the kernel's timer rather than the loop's, so that the last
    step is taken even where the loop itself hangs. Explicit handlers also make the signals count
    for PID 1, for which the kernel drops those that it would otherwise act on by default.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, grace_seconds: float) -> None:
        self.stop = Stop(grace_seconds, on_request=self._asked)
        self.task: asyncio.Task[Any] | None = None
        """What the second step cancels."""
        self.insisted = False
        self._loop = loop
        self._grace_seconds = grace_seconds
        self._step = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self) -> None:
        """Start the grace period of a stop that the program itself wants."""
        if self._step == 0:
            self._step = 1
            signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._step += 1
        match self._step:
            case 1:
                signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)
                self._call(self.stop.request, signal.Signals(number).name)
            case 2:
                signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
                self._call(self._insist)
            case _:
                os.write(_STDERR, b"not stopped in time: leaving at once\n")
                os._exit(1)

    def _call(self, step: Callable[..., None], *arguments: str) -> None:
        with suppress(RuntimeError):  # the loop is closed already: only leaving is left
            self._loop.call_soon_threadsafe(step, *arguments)

    def _insist(self) -> None:
        log.warning("not stopped in order: cancelling")
        self.insisted = True
        if self.task is not None:
            self.task.cancel()
