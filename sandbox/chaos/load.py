"""Users, who create, cancel and keep warm sets at whichever coordinator answers, until it has.

A create carries a key and is repeated until it is answered: each is known to be stored once.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from sandbox.chaos.fleet import GROUPS, Fleet

PAUSE_SECONDS: Final = 1.0
"""Between two things that users do."""
CANCELLED_PART: Final = 0.15
SETS_PART: Final = 0.1
DELETED_PART: Final = 0.25
"""Of the changes of a set that is there."""
WEBHOOK_PART: Final = 0.5
FAILING_PART: Final = 0.1
"""Of the tasks, that have an image which never arrives."""
MOST_PENDING: Final = 30
"""Users wait while so many of their tasks are not over, as far as they know."""
AGAIN_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 15.0


@dataclass
class Submitted:
    """A task as a user knows it."""

    task: str
    at: float
    """Seconds since the run began."""
    nodes: int
    """On so many it is to run."""
    most_attempts: int
    has_webhook: bool
    is_cancelled: bool = False
    """A cancel was answered with yes."""


@dataclass
class Users:
    """What is asked for, and what was answered."""

    fleet: Fleet
    seed: int
    clock: Callable[[], float]
    webhook: str
    tasks: dict[str, Submitted] = field(default_factory=dict)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As they were put last."""
    wrong: list[str] = field(default_factory=list)
    """Answers that cannot be."""
    is_over: Callable[[str], bool] = lambda _task: False
    """Whether an event has told of a task's end."""

    def __post_init__(self) -> None:
        self._random = random.Random(f"users/{self.seed}")  # noqa: S311 -- repeatable
        self._groups = [f"g{number}" for number in range(1, GROUPS + 1)]
        if self.fleet.size.containerds:
            self._groups.append("real")
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self, is_enough: Callable[[], bool]) -> None:
        """Ask for something every second, and come to the end of all requests."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as requests:
            while not is_enough():
                if self._random.random() < SETS_PART:
                    requests.create_task(self._change_set(http))
                elif sum(not self.is_over(task) for task in self.tasks) < MOST_PENDING:
                    requests.create_task(self._task(http))
                await asyncio.sleep(PAUSE_SECONDS * self._random.uniform(0.5, 1.5))

    # ── tasks ──

    async def _task(self, http: aiohttp.ClientSession) -> None:
        draw = self._random
        group, retries, has_webhook = (
            draw.choice(self._groups),
            draw.randint(0, 3),
            draw.random() < WEBHOOK_PART,
        )
        images = draw.sample(self.fleet.images, draw.randint(1, 3))
        if draw.random() < FAILING_PART:
            images.append(f"{self.fleet.registry.host}/chaos/fails/registry-error:1")
        body = {
            "images": images,
            "nodeSelector": {"group": group},
            "batchSize": draw.randint(2, 20),
            "maxRetries": retries,
            "retryDelay": draw.randint(1, 5),
            "priority": draw.randint(1, 10),
        } | ({"webhookUrl": self.webhook} if has_webhook else {})
        is_to_be_cancelled, patience = draw.random() < CANCELLED_PART, draw.uniform(0.0, 6.0)
        key = {"Idempotency-Key": secrets.token_hex(16)}
        status, said = await self._ask(http, "POST", "tasks", json=body, headers=key)
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            self.wrong.append(f"a create is answered {status}: {said}")
            return
        task = said["taskId"]
        if task in self.tasks:
            self.wrong.append(f"two creates with two keys are both answered with {task}")
        nodes = self.fleet.nodes_of(group)
        self.tasks[task] = Submitted(task, self.clock(), nodes, retries + 1, has_webhook)
        if is_to_be_cancelled:
            await asyncio.sleep(patience)
            await self._cancel(http, task)

    async def _cancel(self, http: aiohttp.ClientSession, task: str) -> None:
        status, said = await self._ask(http, "DELETE", f"tasks/{task}")
        if status == HTTPStatus.OK:
            self.tasks[task].is_cancelled = True
        elif status != HTTPStatus.CONFLICT:
            self.wrong.append(f"the cancel of {task} is answered {status}: {said}")

    # ── warm sets ──

    async def _change_set(self, http: aiohttp.ClientSession) -> None:
        draw = self._random
        group = draw.choice(self._groups)
        name = f"set-{group}"
        if name in self.sets and draw.random() < DELETED_PART:
            del self.sets[name]
            status, said = await self._ask(http, "DELETE", f"sets/{name}")
            good: Sequence[int] = (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND)
        else:
            body = {
                "images": draw.sample(self.fleet.images, 2),
                "nodeSelector": {"group": group},
                "retryDelay": 2,
                "maxRetries": 3,
            }
            status, said = await self._ask(http, "PUT", f"sets/{name}", json=body)
            self.sets[name] = body
            good = (HTTPStatus.OK, HTTPStatus.CREATED)
        if status not in good:
            self.wrong.append(f"a change of {name} is answered {status}: {said}")

    # ── one request ──

    async def _ask(
        self, http: aiohttp.ClientSession, method: str, path: str, **options: Any
    ) -> tuple[int, Any]:
        """Ask one after the other until one has answered; status and document."""
        urls = self.fleet.urls
        turn = self._random.randrange(len(urls))
        while True:
            url = f"{urls[turn % len(urls)]}/api/v1/{path}"
            turn += 1
            try:
                async with http.request(method, url, **options) as answer:
                    is_passing = answer.status in {429, 503, 500}
                    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                        self.wrong.append(f"{method} {url} is answered 500")
                    said = await answer.json() if answer.content_length != 0 else {}
                    if not is_passing:
                        return answer.status, said
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # it asks the next one
            await asyncio.sleep(AGAIN_SECONDS)
