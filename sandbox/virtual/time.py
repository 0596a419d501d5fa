"""An event loop in virtual time: when nothing is ready, its clock is set to the next timer."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import heapq
import itertools
import selectors
from collections import deque
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")
_Arguments = TypeVarTuple("_Arguments")

SECONDS_LIMIT = 7 * 86400.0
STEPS_LIMIT = 50_000_000
"""Turns of the loop; one runs all callbacks that are ready."""
_CLOSING_STEPS = 100_000
"""What the tasks have to end in, once a limit was reached."""
_MOST_CANCELLED = 100
"""Cancelled timers that are kept until their time, if they are less than half of all."""
PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")
"""Which of the pretended processes of a run something belongs to; tasks and timers inherit it."""


class Deadlock(Exception):  # noqa: N818 -- named by what happened
    """Nothing is ready and no timer runs: whoever waits would wait for ever."""


class OutOfTime(Exception):  # noqa: N818 -- named by what happened
    """The run took more virtual seconds, or more steps, than it may."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 and passes only when nobody has anything to do, and then at once.

    Work for threads is done in the loop itself, as a step of its own. Sockets and pipes are
    refused. Tasks are hashed by their number, so that a set of them has one order in every run.
    What is due at the same time runs in the order in which it was asked for.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, *, seconds: float = SECONDS_LIMIT, steps: int = STEPS_LIMIT) -> None:
        self.steps = 0
        """Turns that the loop has taken."""
        self._now = 0.0
        self._seconds_limit = seconds
        self._steps_limit = steps
        self._task_numbers = itertools.count(1)
        self._timers: list[tuple[float, int, _Timer]] = []
        self._timer_numbers = itertools.count(1)
        self._cancelled_timers = 0
        self._held: dict[str, deque[asyncio.Handle]] = {}
        """By process that stands still: what it would have done meanwhile."""
        super().__init__(_NoSelector())
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds since the loop was made, of its own time."""
        return self._now

    def stand_still(self, seconds: float) -> None:
        """Let time pass while nothing runs, as in a process that is stopped; timers come late."""
        self._now += seconds

    def pause(self, process: str) -> None:
        """Let nothing run of what a process (``PROCESS``) has begun, as in SIGSTOP."""
        self._held.setdefault(process, deque())

    def resume(self, process: str) -> None:
        """Undo ``pause``: what has become due meanwhile runs now, late and in order."""
        self._ready.extend(self._held.pop(process, ()))

    # ── one turn; asyncio's own has a selector to ask, and compares timers in Python ──

    def call_soon(  # type: ignore[override]  # asyncio's own stub binds the arguments' types
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Have something called in the next turn."""
        handle = _Call(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have something called after so many seconds."""
        when = self._now + delay
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have something called at a time."""
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        if handle.is_due:
            return
        self._cancelled_timers += 1
        if self._cancelled_timers > _MOST_CANCELLED and self._cancelled_timers * 2 > len(
            self._timers
        ):
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _run_once(self) -> None:
        ready, timers, held = self._ready, self._timers, self._held
        pop, now = heapq.heappop, self._now
        while timers and timers[0][2]._cancelled:  # noqa: SLF001 -- a call less
            pop(timers)
            self._cancelled_timers -= 1
        if not ready and not self._stopping:
            if not timers:
                raise Deadlock(f"nothing is ready and no timer runs at {now:g} s:{self._waiting()}")
            if timers[0][0] > now:
                now = self._now = timers[0][0]
        self.steps += 1
        if now > self._seconds_limit or self.steps > self._steps_limit:
            self._complain()
        while timers and timers[0][0] <= now:
            timer = pop(timers)[2]
            timer.is_due = True
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:  # noqa: SLF001 -- a call less
                continue
            if held and (waiting := held.get(_process_of(handle))) is not None:
                waiting.append(handle)
            else:
                handle._run()  # noqa: SLF001 -- as asyncio does

    def _complain(self) -> NoReturn:
        if self._now > self._seconds_limit:
            self._seconds_limit = float("inf")
            raise OutOfTime(f"not over after {self._now:g} virtual seconds:{self._waiting()}")
        self._steps_limit = self.steps + _CLOSING_STEPS
        raise OutOfTime(f"not over after {self.steps} steps:{self._waiting()}")

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 -- the signature is asyncio's
        func: Callable[[Unpack[_Arguments]], _Result],
        *args: *_Arguments,
    ) -> asyncio.Future[_Result]:
        """Call the function in the loop's next turn."""
        result: asyncio.Future[_Result] = self.create_future()

        def work() -> None:
            if result.cancelled():
                return
            try:
                result.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 -- whoever awaits it gets it
                result.set_exception(error)

        self.call_soon(work)
        return result

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **settings: Any,
    ) -> asyncio.Task[Any]:
        return _NumberedTask(next(self._task_numbers), work, loop=loop, **settings)

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        return "".join(f"\n  {task.get_name()} in {_innermost(task.get_coro())}" for task in tasks)


class _NumberedTask(asyncio.Task[Any]):
    def __init__(self, number: int, work: Any, **settings: Any) -> None:
        self._number = number
        super().__init__(work, **settings)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Call(asyncio.Handle):
    """As asyncio's own, with a call less: no loop here is debugged."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _Timer(asyncio.TimerHandle):
    """The same of a timer."""

    __slots__ = ("is_due",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = when
        self.is_due = False
        """Whether its time has come; what is cancelled then is no longer among the timers."""


class _NoSelector(selectors.SelectSelector):
    """Takes the loop's own pipe, which nobody writes to, and is never asked."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Take the first, which is the loop's own."""
        if self.get_map():
            raise RuntimeError("there are no sockets or pipes in virtual time")
        return super().register(fileobj, events, data)


def _process_of(handle: asyncio.Handle) -> str:
    return handle._context.get(PROCESS, "")  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001


def _innermost(work: Any) -> str:
    """Say where a coroutine waits: the last of those that await one another."""
    while (inner := getattr(work, "cr_await", None) or getattr(work, "ag_await", None)) is not None:
        if not hasattr(inner, "cr_frame"):
            break
        work = inner
    frame = getattr(work, "cr_frame", None)
    name = getattr(work, "__qualname__", repr(work))
    return f"{name}, line {frame.f_lineno}" if frame else name


def in_virtual_time(
    work: Coroutine[Any, Any, _Result],
    *,
    seconds: float = SECONDS_LIMIT,
    steps: int = STEPS_LIMIT,
) -> _Result:
    """Run a coroutine to its end on a loop of its own. Raises Deadlock and OutOfTime."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seconds=seconds, steps=steps)) as runner:
        return runner.run(work)


def virtual(
    test: Callable[_Parameters, Coroutine[Any, Any, None]],
) -> Callable[_Parameters, None]:
    """Make a test that is a coroutine function run in virtual time.

    Its fixtures must not be coroutines, which would run on another loop.
    """

    @functools.wraps(test)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        in_virtual_time(test(*args, **kwargs))

    return run
