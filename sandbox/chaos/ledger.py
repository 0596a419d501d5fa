"""What was submitted, done, told and answered, laid side by side."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from sandbox.chaos.deeds import Deed, DeedKind
from sandbox.chaos.listeners import FINAL, EventClient, Receiver
from sandbox.chaos.load import Submitted, Users

PAGE: Final = 100
LOOK_SECONDS: Final = 1.0

Document = dict[str, Any]


@dataclass
class Answers:
    """What one coordinator answers when all is over."""

    tasks: dict[str, Document] = field(default_factory=dict)
    nodes: dict[str, list[Document]] = field(default_factory=dict)
    """By task."""
    sets: dict[str, Document] = field(default_factory=dict)


async def read(url: str) -> Answers:
    """Read all that a coordinator knows. Raises aiohttp.ClientError, OSError, TimeoutError."""
    answers = Answers()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60.0)) as http:
        for document in await _pages(http, f"{url}/api/v1/tasks", "tasks"):
            answers.tasks[document["taskId"]] = document
        for task in answers.tasks:
            found = await _pages(http, f"{url}/api/v1/tasks/{task}/nodes", "nodes")
            answers.nodes[task] = found
        for document in await _pages(http, f"{url}/api/v1/sets", "sets"):
            answers.sets[document["name"]] = document
    return answers


async def _pages(http: aiohttp.ClientSession, url: str, of: str) -> list[Document]:
    found: list[Document] = []
    while True:
        query = {"limit": str(PAGE), "offset": str(len(found))}
        async with http.get(url, params=query) as answer:
            answer.raise_for_status()
            page = await answer.json()
        found += page[of]
        if len(found) >= page["total"] or not page[of]:
            return found


async def settled(
    urls: Sequence[str],
    users: Users,
    clients: Sequence[EventClient],
    receiver: Receiver,
    open_: list[str],
) -> dict[str, Answers]:
    """Wait, without a limit of its own, until all is over; what each coordinator answers then.

    ``open_`` says meanwhile what is not.
    """
    open_[:] = ["no coordinator answers"]
    answers: dict[str, Answers] = {}
    while open_:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            answers = {url: await read(url) for url in urls}
            open_[:] = [why for each in answers.values() for why in _open(each, users)]
            open_ += [
                f"{client.name} has not heard of the end of {task}"
                for client in clients
                for task in users.tasks.keys() - client.ended
            ]
            open_ += [
                f"the webhook of {task.task} has not arrived"
                for task in users.tasks.values()
                if task.has_webhook and task.task not in receiver.deliveries
            ]
        except (aiohttp.ClientError, OSError, TimeoutError) as why:
            open_[:] = [f"a coordinator does not answer: {why!r}"]
        print(f"           still open: {len(open_)}", *open_[:2], sep="; ", flush=True)
    return answers


def _open(answers: Answers, users: Users) -> Iterator[str]:
    for task in users.tasks.keys() - answers.tasks.keys():
        yield f"{task} is not known"
    for task, document in answers.tasks.items():
        if document["status"] not in FINAL:
            yield f"{task} is {document['status']}"
    for name in users.sets.keys() - answers.sets.keys():
        yield f"the set {name} is not known"
    for name, document in answers.sets.items():
        if document["nodes"]["warm"] != document["nodes"]["total"]:
            yield f"the set {name} has {document['nodes']}"


def breaches(
    users: Users,
    deeds: Sequence[Deed],
    clients: Sequence[EventClient],
    receiver: Receiver,
    answers: Mapping[str, Answers],
) -> list[str]:
    """All that must not be; empty where every promise is kept."""
    found = list(users.wrong)
    if not users.tasks:
        found.append("no task was created: nothing is shown")
    first, *others = answers.items()
    for url, other in others:
        found += _differences(first[0], first[1], url, other)
    found += _lost_or_doubled(users, first[1])
    done = _by_place(deeds)
    for task, submitted in users.tasks.items():
        if task in first[1].tasks:
            found += _of_task(submitted, first[1].tasks[task], first[1].nodes[task])
            found += _of_deeds(submitted, first[1], done)
            found += _of_webhook(submitted, first[1].tasks[task], receiver)
    for client in clients:
        found += _of_client(client, first[1])
    return found


def _differences(one: str, first: Answers, two: str, second: Answers) -> Iterator[str]:
    for task in first.tasks.keys() | second.tasks.keys():
        known = first.tasks.get(task, {}), second.tasks.get(task, {})
        for name in ("status", "progress"):
            if known[0].get(name) != known[1].get(name):
                yield f"{one} and {two} differ in {name} of {task}: {known}"


def _lost_or_doubled(users: Users, answers: Answers) -> Iterator[str]:
    known = {task for task, document in answers.tasks.items() if "set" not in document}
    for task in users.tasks.keys() - known:
        yield f"{task} (at {users.tasks[task].at:.1f} s) is lost"
    for task in known - users.tasks.keys():
        yield f"{task} was created, and nobody was told of it: one key made two tasks"
    if users.sets.keys() != answers.sets.keys():
        yield f"the sets {sorted(users.sets)} were put, and there are {sorted(answers.sets)}"


def _of_task(submitted: Submitted, task: Document, nodes: Sequence[Document]) -> Iterator[str]:
    """Each node is counted once."""
    names, states = [node["nodeName"] for node in nodes], Counter(n["state"] for n in nodes)
    progress, where = task["progress"], f"{submitted.task} (at {submitted.at:.1f} s)"
    if submitted.is_cancelled and task["status"] != "cancelled":
        yield f"{where} was said to be cancelled and is {task['status']}"
    if "startedAt" not in task:
        return
    if len(set(names)) != len(names) or len(names) != submitted.nodes:
        yield f"{where} is for {submitted.nodes} nodes and has {len(names)}: {sorted(names)}"
    counted = (progress["totalNodes"], progress["completedNodes"], progress["failedNodes"])
    if counted != (len(names), states["succeeded"], states["failed"]):
        yield f"{where} counts {counted}, and its nodes are {dict(states)}"
    if task["status"] != "cancelled" and states["succeeded"] + states["failed"] != len(names):
        yield f"{where} is {task['status']} with nodes that are {dict(states)}"
    for node in nodes:
        if node["attempt"] > submitted.most_attempts:
            yield f"{where} has attempt {node['attempt']} on {node['nodeName']}"


Place = tuple[str, str]
"""Task and node."""


def _by_place(deeds: Sequence[Deed]) -> dict[Place, dict[DeedKind, set[int]]]:
    found: defaultdict[Place, defaultdict[DeedKind, set[int]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for deed in deeds:
        found[deed.task, deed.node][deed.kind].add(deed.attempt)
    return {place: dict(kinds) for place, kinds in found.items()}


def _of_deeds(
    submitted: Submitted, answers: Answers, done: Mapping[Place, Mapping[DeedKind, set[int]]]
) -> Iterator[str]:
    """What agents did is what is counted."""
    task = answers.tasks[submitted.task]
    for node in answers.nodes[submitted.task]:
        name, state = node["nodeName"], node["state"]
        did = done.get((submitted.task, name), {})
        finished = did.get(DeedKind.DONE, set())
        if state == "succeeded" and not finished:
            yield f"{submitted.task} counts {name} as warm, and its agent has not done it"
        stored = finished & did.get(DeedKind.SETTLED, set())
        if state != "succeeded" and stored and task["status"] != "cancelled":
            yield f"{submitted.task}: {name} did attempts {sorted(stored)}, stored, and is {state}"
        for attempt in did.get(DeedKind.ACCEPTED, set()):
            if attempt > submitted.most_attempts:
                yield f"{submitted.task}: {name} was asked for attempt {attempt}"


def _of_webhook(submitted: Submitted, task: Document, receiver: Receiver) -> Iterator[str]:
    got = set(receiver.deliveries.get(submitted.task, ()))
    wanted = {(f"{submitted.task}/task.{task['status']}", task["status"])}
    if got != (wanted if submitted.has_webhook else set()):
        yield f"{submitted.task} is {task['status']}, and its receiver got {sorted(got)}"


def _of_client(client: EventClient, answers: Answers) -> Iterator[str]:
    """Each event once and in order, and of each task one last one."""
    if client.resets:
        yield f"{client.name} was told {client.resets} times that it cannot go on where it was"
    positions = [told.position for told in client.told]
    if positions != sorted(set(positions)):
        yield f"{client.name} got positions twice or out of order"
    for event, times in Counter(told.id for told in client.told).items():
        if times > 1:
            yield f"{client.name} got {event} {times} times"
    last: defaultdict[str, list[str]] = defaultdict(list)
    for told in client.told:
        if last[told.task] and told.type != "task.progress":
            yield f"{client.name} got {told.id} behind the end of its task"
        if told.type.removeprefix("task.") in FINAL:
            last[told.task].append(told.type)
    for task, document in answers.tasks.items():
        status = document["status"]
        if last[task] != [f"task.{status}"]:
            yield f"{client.name} got the ends {last[task]} of {task}, which is {status}"
