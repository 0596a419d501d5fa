"""Policy, quotas, keys and limits of callers, through the interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.access.callers import Caller, Right, UnknownCredentialError, Way
from coordinator.access.gatekeeper import Authorities
from coordinator.access.policy import Policy, read_policy
from coordinator.access.rate_limit import RateLimit
from coordinator.core.task import TaskStatus
from coordinator.snapshots import KnownNode
from tests.access.hand_clock import HandClock
from tests.api.conftest import Client, Guarded
from tests.api.entrances import People, bearer, entrance, for_people
from tests.api.fake_engine import FakeEngine, not_found

TASKS = "/api/v1/tasks"
RULES: Mapping[str, Any] = {
    "rules": [
        {
            "name": "shop",
            "who": {"groups": ["ops"]},
            "images": ["docker.io/library/*", "r.example/shop/**"],
            "nodes": {"nodeSelector": {"team": "shop"}},
            "maxPriority": 7,
            "maxNodes": 2,
        }
    ]
}


@pytest.fixture
def people(tmp_path: Path) -> People:
    """Two who may create, in two groups."""
    return People(tmp_path, bob="ops", cem="admins")


@pytest.fixture
async def ruled(guarded: Guarded, people: People, engine: FakeEngine) -> Client:
    """The application with a policy, and four nodes."""
    for name, team in (("a", "shop"), ("b", "shop"), ("c", "ml")):
        engine.known[name] = KnownNode(name=name, labels={"team": team})
    policy: Policy = read_policy(json.dumps(RULES))
    return await guarded(replace(for_people(people), policy=lambda: policy))


async def created(client: Client, user: str, **fields: Any) -> Any:
    """The answer to a create: its status, and its document."""
    body = {"images": ["nginx"]} | fields
    answer = await client.post(TASKS, json=body, headers=bearer(user))
    return answer.status, await answer.json()


# ── the policy ───────────────────────────────────────────────────────────────────────────────


async def test_the_rules_nodes_are_added_to_the_tasks(ruled: Client, engine: FakeEngine) -> None:
    """So that it runs where the rule says, whatever it asked for."""
    status, task = await created(ruled, "bob", nodeSelector={"team": "ml"})
    assert status == 201
    added = {"key": "team", "operator": "In", "values": ["shop"]}
    assert (task["nodeSelector"], task["matchExpressions"]) == ({"team": "ml"}, [added])
    assert engine.all_heads[task["taskId"]].spec.max_nodes == 2
    assert task["createdBy"] == "bob"


@pytest.mark.parametrize(
    ("user", "fields", "code"),
    [
        ("bob", {"images": ["nginx", "quay.io/x/y"]}, "policy.image"),
        ("bob", {"priority": 8}, "policy.priority"),
        ("bob", {"nodeNames": ["a", "c"]}, "policy.node"),
        ("bob", {"nodeNames": ["a", "unknown"]}, "policy.node"),
        ("cem", {}, "policy.noRule"),
    ],
)
async def test_what_no_rule_allows_is_refused(
    ruled: Client, engine: FakeEngine, user: str, fields: dict[str, Any], code: str
) -> None:
    """403 that names image and rule; nothing is stored."""
    status, problem = await created(ruled, user, **fields)
    assert (status, problem["messageCode"]) == (403, code)
    assert "image" in problem["messageParams"]
    assert engine.all_heads == {}


async def test_no_more_nodes_than_a_rule_allows(ruled: Client, engine: FakeEngine) -> None:
    """Counted when the task is created, and again when it starts."""
    engine.known["d"] = KnownNode(name="d", labels={"team": "shop"})
    status, problem = await created(ruled, "bob")
    assert (status, problem["messageParams"]["count"]) == (403, 3)
    assert (await created(ruled, "bob", nodeNames=["a", "b"]))[0] == 201
    assert (await created(ruled, "bob", nodeNames=["a", "b", "d"]))[0] == 403


async def test_a_repetition_is_asked_about_again(
    ruled: Client, engine: FakeEngine, guarded: Guarded, people: People
) -> None:
    """By the rights of whoever repeats it, by now."""
    _, task = await created(ruled, "bob")
    path = f"{TASKS}/{task['taskId']}"
    run = engine.started(task["taskId"], ["a"])
    engine.outcome(task["taskId"], "a", not_found("nginx"))
    assert run.total == 1
    engine.ended(task["taskId"], TaskStatus.FAILED)
    answer = await ruled.post(f"{path}/retry", json={}, headers=bearer("cem"))
    assert answer.status == 403
    answer = await ruled.post(f"{path}/retry", json={}, headers=bearer("bob"))
    again = await answer.json()
    assert (answer.status, again["retryOf"]) == (201, task["taskId"])
    assert len(again["matchExpressions"]) == 1
    free = await guarded(for_people(people))
    assert (await free.post(f"{path}/retry", json={}, headers=bearer("cem"))).status == 201


# ── quotas and keys ──────────────────────────────────────────────────────────────────────────


async def test_each_has_so_many_pending_tasks(
    guarded: Guarded, people: People, engine: FakeEngine
) -> None:
    """429 with when to come back; others are not in the way."""
    engine.most_pending_of_user = 2
    client = await guarded(for_people(people))
    assert [(await created(client, "bob"))[0] for _ in range(2)] == [201, 201]
    answer = await client.post(TASKS, json={"images": ["nginx"]}, headers=bearer("bob"))
    problem = await answer.json()
    assert (answer.status, problem["messageCode"]) == (429, "task.tooManyPendingOfUser")
    assert problem["messageParams"] == {"user": "bob", "most": 2}
    assert int(answer.headers["Retry-After"]) > 0
    assert (await created(client, "cem"))[0] == 201


async def test_each_has_keys_of_their_own(
    guarded: Guarded, people: People, client: Client, engine: FakeEngine
) -> None:
    """Nobody gets another's task by a key; a key of nobody's is as it always was."""
    asked = await guarded(for_people(people))
    made: dict[str, str] = {}
    for user in ("bob", "cem", "bob"):
        headers = {**bearer(user), "Idempotency-Key": "1"}
        answer = await asked.post(TASKS, json={"images": ["nginx"]}, headers=headers)
        task = (await answer.json())["taskId"]
        assert answer.status == (200 if user in made else 201)
        assert made.setdefault(user, task) == task
    assert made["bob"] != made["cem"]
    headers = {"Idempotency-Key": "1"}
    await client.post(TASKS, json={"images": ["nginx"]}, headers=headers)
    of_nobody = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert of_nobody in engine.keys  # SHA-256 of "1"


# ── limits ───────────────────────────────────────────────────────────────────────────────────


async def test_each_may_ask_so_often(guarded: Guarded, people: People) -> None:
    """Then 429, for that one alone."""
    clock = HandClock()
    client = await guarded(replace(for_people(people), requests=RateLimit(3, clock)))
    seen = [(await client.get(TASKS, headers=bearer("bob"))).status for _ in range(4)]
    assert seen == [200, 200, 200, 429]
    assert (await client.get(TASKS, headers=bearer("cem"))).status == 200
    refused = await client.get(TASKS, headers=bearer("bob"))
    assert int(refused.headers["Retry-After"]) == 20
    clock.now += 20
    assert (await client.get(TASKS, headers=bearer("bob"))).status == 200


class Kubernetes:
    """Knows Bob, and counts how often it is asked."""

    asked = 0

    async def identify(self, token: str) -> Caller:
        """Whether it is Bob's."""
        self.asked += 1
        if token != "bobs-token":
            raise UnknownCredentialError
        return Caller(user="bob", way=Way.KUBERNETES)

    async def may(self, caller: Caller, right: Right) -> bool:
        """Bob may do anything."""
        return bool(caller and right)


async def test_guessing_is_slow(guarded: Guarded) -> None:
    """After some failures nobody is asked about more; whoever was known goes on."""
    kubernetes, clock = Kubernetes(), HandClock()
    behind = replace(entrance(Authorities(kubernetes=kubernetes)), failures=RateLimit(3, clock))
    client = await guarded(behind)
    bob = {"Authorization": "Bearer bobs-token"}
    assert (await client.get(TASKS, headers=bob)).status == 200
    statuses = [
        (await client.get(TASKS, headers={"Authorization": f"Bearer guess-{n}"})).status
        for n in range(6)
    ]
    assert statuses == [401, 401, 401, 429, 429, 429]
    body = {"token": "guess-7"}
    assert (await client.post("/api/v1/session", json=body)).status == 429
    assert kubernetes.asked == 4
    assert (await client.get(TASKS, headers=bob)).status == 200
    assert (await client.get(TASKS)).status == 401
    clock.now += 20
    assert (await client.get(TASKS, headers={"Authorization": "Bearer x"})).status == 401
