from __future__ import annotations

from typing import Any

import pytest

from common.gate_texts import GATE_REFUSED, GATES_OFF
from common.reasons import Reason
from common.text import Text
from common.texts import NODE_CORDONED
from coordinator.access.policy import read_policy
from coordinator.api.guard import Entrance
from coordinator.core.sets.freshness import LookFailure
from coordinator.core.sets.gate import SetGate
from coordinator.core.sets.head import Joins, Refresh, Schedule
from coordinator.core.sets.standing import Blocked, SetNode, SetNodePhase
from coordinator.core.sets.windows import Window
from coordinator.core.task import TaskImage
from coordinator.snapshots import SetLooks
from tests.api.conftest import Client, Guarded
from tests.api.fake_engine import FakeEngine
from tests.api.test_openapi import check

WEB = "/api/v1/sets/web"


NIGHTLY = {"cron": "0 2 * * 1-5", "window": "2h", "timeZone": "Asia/Shanghai"}


async def put(client: Client, name: str = "web", **fields: Any) -> Any:
    """Put a set of one image; the answer."""
    return await client.put(f"/api/v1/sets/{name}", json={"images": ["nginx"]} | fields)


def some_nodes(engine: FakeEngine, name: str = "web") -> None:
    """One of each kind."""
    cordoned = NODE_CORDONED(node="n4")
    pulled = Text("401 Unauthorized")
    engine.sets.states[name] = {
        node.node: node
        for node in (
            SetNode("n1", SetNodePhase.WARM),
            SetNode("n2", SetNodePhase.PULLING, task="task-20260116-151234-a1b2c3d4"),
            SetNode("n3", SetNodePhase.BLOCKED, Reason.UNAUTHORIZED, pulled, "nginx", 1e9),
            SetNode("n4", SetNodePhase.BLOCKED, Blocked.CORDONED, cordoned),
        )
    }


async def test_a_set_is_created_shown_replaced_and_deleted(
    client: Client, engine: FakeEngine
) -> None:
    """201 with its place and its tag, then 200; each change has another tag."""
    answer = await put(client, priority=7, nodeSelector={"pool": "web"})
    assert (answer.status, answer.headers["Location"]) == (201, WEB)
    tag = answer.headers["ETag"]
    shown = await answer.json()
    assert (shown["name"], shown["generation"], shown["priority"]) == ("web", 1, 7)
    assert (shown["images"], shown["nodeSelector"], shown["paused"]) == (
        ["nginx"],
        {"pool": "web"},
        False,
    )
    assert engine.sets.stored["web"].head.spec.work == (
        TaskImage(name="nginx", reference="docker.io/library/nginx:latest"),
    )
    again = await put(client, priority=7, nodeSelector={"pool": "web"})
    assert (again.status, again.headers["ETag"]) == (200, tag)
    changed = await put(client, paused=True)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag
    got = await client.get(WEB)
    assert got.headers["ETag"] == changed.headers["ETag"]
    assert (await got.json())["generation"] == 2
    gone = await client.delete(WEB)
    assert (gone.status, (await gone.json())["messageCode"]) == (200, "set.deleted")
    for missing in (await client.get(WEB), await client.delete(WEB)):
        assert (missing.status, (await missing.json())["messageCode"]) == (404, "set.unknown")


async def test_a_change_can_be_bound_to_what_was_read(client: Client) -> None:
    """``If-Match`` and ``If-None-Match``; what does not hold is 412, and changes nothing."""
    tag = (await put(client)).headers["ETag"]
    for stale in ({"If-Match": '"999"'}, {"If-Match": f"W/{tag}"}, {"If-None-Match": "*"}):
        answer = await client.put(WEB, json={"images": ["redis"]}, headers=stale)
        assert (answer.status, (await answer.json())["messageCode"]) == (412, "set.changed")
    assert (await client.delete(WEB, headers={"If-Match": '"999"'})).status == 412
    for good in ({"If-Match": tag}, {"If-Match": "*"}):
        answer = await client.put(WEB, json={"images": ["redis"]}, headers=good)
        assert answer.status == 200
    new = {"If-None-Match": "*"}
    assert (await client.put("/api/v1/sets/b", json={"images": ["a"]}, headers=new)).status == 201
    absent = {"If-Match": "*"}
    assert (
        await client.put("/api/v1/sets/c", json={"images": ["a"]}, headers=absent)
    ).status == 412


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"images": []}, ["/images"]),
        ({"priority": 11, "batchSize": 0}, ["/batchSize", "/priority"]),
        ({"nodeNames": ["n1"]}, ["/nodeNames"]),
        ({"imagePullPolicy": "Always"}, ["/imagePullPolicy"]),
        ({"set": "web"}, ["/set"]),
        ({"paused": "yes"}, ["/paused"]),
        ({"nodeSelector": {"a b": "c"}}, ["/nodeSelector/a b"]),
    ],
)
async def test_a_set_has_the_rules_of_a_task(
    client: Client, fields: dict[str, Any], pointers: list[str]
) -> None:
    """Every fault is named at once."""
    answer = await put(client, **fields)
    assert answer.status == 400
    assert sorted(error["field"] for error in (await answer.json())["errors"]) == pointers


@pytest.mark.parametrize("name", ["Web", "a.b", "-a", "a" * 51, "a_b", "%20"])
async def test_a_name_is_a_label(client: Client, name: str) -> None:
    """Of at most 50 characters."""
    answer = await put(client, name)
    assert (answer.status, (await answer.json())["errors"][0]["field"]) == (400, "name")
    assert (await client.get(f"/api/v1/sets/{name}")).status == 404


async def test_a_task_of_a_set_is_made_by_the_service_alone(client: Client) -> None:
    """A client's create cannot say so."""
    answer = await client.post("/api/v1/tasks", json={"images": ["a"], "set": "web"})
    assert (await answer.json())["errors"][0]["field"] == "/set"


async def test_how_a_set_is(client: Client, engine: FakeEngine) -> None:
    """Counts, share, reasons and conditions."""
    await put(client)
    some_nodes(engine)
    engine.sets.repairs["web"] = "task-20260116-151234-a1b2c3d4"
    shown = await (await client.get(WEB)).json()
    assert shown["nodes"] == {
        "total": 4,
        "warm": 1,
        "pulling": 1,
        "waiting": 0,
        "failed": 0,
        "blocked": 2,
    }
    assert (shown["warmPercent"], shown["observedGeneration"]) == (25.0, 1)
    assert shown["reasons"] == {"Cordoned": 1, "Unauthorized": 1}
    assert shown["repair"].startswith("task-")
    conditions = {each["type"]: each for each in shown["conditions"]}
    assert {name: each["status"] for name, each in conditions.items()} == {
        "Ready": False,
        "Progressing": True,
        "Degraded": True,
    }
    assert conditions["Ready"]["message"] == "1 of 4 nodes are warm."
    assert conditions["Degraded"]["since"] == "2026-01-16T15:12:34.001Z"


async def test_the_nodes_of_a_set(client: Client, engine: FakeEngine) -> None:
    """Each with why it is not warm; of one state where that is wanted."""
    await put(client)
    some_nodes(engine)
    shown = await (await client.get(f"{WEB}/nodes")).json()
    assert (shown["total"], [node["nodeName"] for node in shown["nodes"]]) == (
        4,
        ["n1", "n2", "n3", "n4"],
    )
    blocked = await (await client.get(f"{WEB}/nodes?state=blocked&limit=1")).json()
    assert blocked["total"] == 2
    assert blocked["nodes"] == [
        {
            "nodeName": "n3",
            "state": "blocked",
            "reason": "Unauthorized",
            "message": "401 Unauthorized",
            "image": "nginx",
            "nextTryAt": "2001-09-09T01:46:40.000Z",
            "images": [{"image": "nginx", "present": True, "digest": "sha256:1"}],
        }
    ]
    wrong = await client.get(f"{WEB}/nodes?state=cold")
    assert (wrong.status, (await wrong.json())["errors"][0]["field"]) == (400, "?state")


async def test_sets_are_listed_by_name(client: Client) -> None:
    """In pages."""
    for name in ("b", "a", "c"):
        await put(client, name)
    shown = await (await client.get("/api/v1/sets?limit=2&offset=1")).json()
    assert [each["name"] for each in shown["sets"]] == ["b", "c"]
    assert (shown["total"], shown["limit"], shown["offset"]) == (3, 2, 1)
    full = await put(client, "d")
    assert (full.status, (await full.json())["messageCode"]) == (429, "set.tooMany")


async def test_what_is_answered_is_what_the_document_says(
    client: Client, engine: FakeEngine
) -> None:
    """Each shape, with all that it may have."""
    document = await (await client.get("/openapi.json")).json()
    check(document, "WarmSet", await (await put(client, schedule=NIGHTLY)).json())
    engine.sets.windows["web"] = Window(1e9, 2e9)
    why = (Reason.REGISTRY_UNREACHABLE, Text("connection refused"), "nginx")
    engine.sets.looks["web"] = SetLooks(1e9, 2e9, None, LookFailure(2, 2e9, why), {})
    check(document, "WarmSetRefreshing", await (await client.post(f"{WEB}/refresh")).json())
    some_nodes(engine)
    check(document, "WarmSet", await (await client.get(WEB)).json())
    check(document, "WarmSetList", await (await client.get("/api/v1/sets")).json())
    check(document, "WarmSetNodeList", await (await client.get(f"{WEB}/nodes")).json())
    check(document, "WarmSetDeleted", await (await client.delete(WEB)).json())
    fields = document["components"]["schemas"]["PutWarmSet"]["properties"]
    create = document["components"]["schemas"]["CreateTask"]["properties"]
    assert fields.keys() - create.keys() == {"gate", "paused", "schedule", "refresh"}
    assert create.keys() - fields.keys() == {"nodeNames", "imagePullPolicy"}
    assert fields["priority"] == create["priority"]


async def test_a_policy_is_for_sets_as_for_tasks(guarded: Guarded, engine: FakeEngine) -> None:
    """What it refuses is not stored, and what it adds to the nodes is."""
    policy = read_policy(
        '{"rules": [{"images": ["docker.io/library/nginx:*"], "nodes": {"nodeSelector": '
        '{"team": "shop"}}}]}'
    )
    wide = Entrance.wide_open()
    client = await guarded(Entrance(wide.keeper, wide.seal, policy=lambda: policy))
    assert (await put(client, images=["redis"])).status == 403
    assert (await put(client)).status == 201
    (added,) = engine.sets.stored["web"].head.spec.match_expressions
    assert (added.key, added.values) == ("team", ("shop",))


async def test_a_delete_does_nothing_that_it_does_not_understand(
    client: Client, engine: FakeEngine
) -> None:
    """Whoever wants more than a delete is not left to believe that it was done."""
    await put(client)
    answer = await client.delete(WEB, params={"purge": "perhaps"})
    assert answer.status == 400
    assert list(engine.sets.stored) == ["web"]
    told = {"webhookUrl": "https://hooks.example/token?a=secret"}
    shown = await (await put(client, **told)).json()
    assert shown["webhookUrl"] == "https://hooks.example"


async def test_a_schedule_is_kept_and_shown_as_it_was_written(
    client: Client, engine: FakeEngine
) -> None:
    """With what was left out; beside it, whether a window is open, and when the next one begins."""
    shown = await (await put(client, schedule=NIGHTLY)).json()
    assert shown["schedule"] == {**NIGHTLY, "joins": "window"}
    assert "window" not in shown
    assert engine.sets.stored["web"].head.schedule == Schedule(
        cron="0 2 * * 1-5", time_zone="Asia/Shanghai", window="2h", joins=Joins.WINDOW
    )
    engine.sets.windows["web"] = Window(None, 1_768_586_400.0)
    shown = await (await client.get(WEB)).json()
    assert shown["window"] == {"open": False, "next": "2026-01-16T18:00:00.000Z"}
    engine.sets.windows["web"] = Window(1_768_586_400.0, None)
    shown = await (await client.get(WEB)).json()
    assert shown["window"] == {"open": True, "until": "2026-01-16T18:00:00.000Z"}
    assert (await (await put(client)).json())["generation"] == 2


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"cron": "0 0 30 2 *"}, "/schedule/cron", "set.cron"),
        ({"cron": "0 2 * * * *"}, "/schedule/cron", "set.cron"),
        ({"timeZone": "Mars/Olympus"}, "/schedule/timeZone", "set.zone"),
        ({"timeZone": "../../etc/passwd"}, "/schedule/timeZone", "set.zone"),
        ({"window": "59s"}, "/schedule/window", "value.notDuration"),
        ({"window": "169h"}, "/schedule/window", "value.notDuration"),
        ({"window": "two hours"}, "/schedule/window", "value.notDuration"),
        ({"window": 7200}, "/schedule/window", "value.notShortText"),
        ({"joins": "never"}, "/schedule/joins", "value.notChoice"),
        ({"until": "x"}, "/schedule/until", "field.unknown"),
    ],
)
async def test_what_is_no_schedule(
    client: Client, change: dict[str, Any], field: str, code: str
) -> None:
    """It is refused, and the one thing that is wrong with it is named."""
    answer = await put(client, schedule={**NIGHTLY, **change})
    assert answer.status == 400
    (fault,) = (await answer.json())["errors"]
    assert (fault["field"], fault["messageCode"]) == (field, code)


async def test_a_schedule_that_is_none_is_refused(client: Client) -> None:
    """It needs its cron and its window."""
    wrongs: list[Any] = ["0 2 * * *", None, {}]
    for wrong in wrongs:
        assert (await put(client, schedule=wrong)).status == 400


async def test_looks_at_tags_and_what_nodes_have_of_them_are_shown(
    client: Client, engine: FakeEngine
) -> None:
    """The interval as it was written; the digests where the set alone is asked for."""
    shown = await (await put(client, refresh={"tags": "10m"})).json()
    assert (shown["refresh"], "looks" in shown, "drift" in shown) == ({"tags": "10m"}, False, False)
    assert engine.sets.stored["web"].head.refresh == Refresh(tags="10m")
    why = (Reason.REGISTRY_UNREACHABLE, Text("connection refused"), "nginx")
    newest = {"docker.io/library/nginx:latest": "sha256:2"}
    engine.sets.looks["web"] = SetLooks(
        1_768_576_354.0, None, None, LookFailure(1, 2e9, why), newest
    )
    engine.sets.digests["nginx"] = {"sha256:1": 2, "sha256:2": 5}
    shown = await (await client.get(WEB)).json()
    assert shown["looks"] == {
        "at": "2026-01-16T15:12:34.000Z",
        "failures": 1,
        "reason": "RegistryUnreachable",
        "message": "connection refused",
    }
    assert shown["drift"] == [
        {
            "image": "nginx",
            "digests": [
                {"digest": "sha256:2", "nodes": 5, "newest": True},
                {"digest": "sha256:1", "nodes": 2, "newest": False},
            ],
        }
    ]
    for wrong in ("1s", "169h", "often"):
        answer = await put(client, refresh={"tags": wrong})
        (fault,) = (await answer.json())["errors"]
        assert (fault["field"], fault["messageCode"]) == ("/refresh/tags", "value.notDuration")


async def test_tags_are_looked_at_when_a_user_asks(client: Client, engine: FakeEngine) -> None:
    """202; of a set that is not there 404, of one without tags 409."""
    assert (await client.post(f"{WEB}/refresh")).status == 404
    await put(client)
    answer = await client.post(f"{WEB}/refresh")
    assert (answer.status, (await answer.json())["messageCode"]) == (202, "set.refreshing")
    assert engine.sets.refreshed == ["web"]
    await client.put(WEB, json={"images": [f"nginx@sha256:{1:064x}"]})
    answer = await client.post(f"{WEB}/refresh")
    assert (answer.status, (await answer.json())["messageCode"]) == (409, "set.noTags")


# ── gates ────────────────────────────────────────────────────────────────────────────────────


async def test_a_gate_is_kept_with_the_set(client: Client, engine: FakeEngine) -> None:
    """As it was put; a set without one says nothing of gates."""
    gate = {"condition": True, "taint": "ips.dev/warming", "openAfter": "600s"}
    made = await put(client, gate=gate)
    shown = await made.json()
    assert (made.status, shown["gate"]) == (201, gate)
    assert shown["conditions"][-1]["type"] == "Gated"
    assert shown["conditions"][-1]["status"] is True
    assert (await put(client, gate=gate)).headers["ETag"] == made.headers["ETag"]
    await put(client, gate={"condition": True})
    assert engine.sets.stored["web"].head.gate == SetGate(condition=True)
    without = await (await put(client)).json()
    assert "gate" not in without
    assert [each["type"] for each in without["conditions"]] == ["Ready", "Progressing", "Degraded"]


@pytest.mark.parametrize(
    ("gate", "field", "code"),
    [
        ({}, "/gate", "gate.empty"),
        ({"condition": False, "openAfter": "5m"}, "/gate", "gate.empty"),
        ({"taint": "node.kubernetes.io/not-ready"}, "/gate/taint", "gate.taint"),
        ({"taint": "ips.dev/"}, "/gate/taint", "gate.taint"),
        ({"taint": "ips.dev/a", "openAfter": "soon"}, "/gate/openAfter", "gate.openAfter"),
        ({"taint": "ips.dev/a", "openAfter": "0s"}, "/gate/openAfter", "gate.openAfter"),
        ({"taint": "ips.dev/a", "openAfter": "169h"}, "/gate/openAfter", "gate.openAfter"),
        ({"taint": "ips.dev/a", "openAfter": 10}, "/gate/openAfter", "value.notShortText"),
        ({"condition": True, "effect": "NoSchedule"}, "/gate/effect", "field.unknown"),
        (None, "/gate", "value.notObject"),
        ("on", "/gate", "value.notObject"),
    ],
)
async def test_what_is_no_gate(client: Client, gate: Any, field: str, code: str) -> None:
    """The answer says what is wrong, where."""
    refused = await put(client, gate=gate)
    [error] = (await refused.json())["errors"]
    assert (refused.status, error["field"], error["messageCode"]) == (400, field, code)


async def test_where_gates_are_not_kept_none_is_taken(client: Client, engine: FakeEngine) -> None:
    """And why not is said; other sets are put as before."""
    engine.sets.no_gates = GATES_OFF()
    refused = await put(client, gate={"condition": True})
    [error] = (await refused.json())["errors"]
    assert (refused.status, error["field"], error["messageCode"]) == (400, "/gate", "gate.off")
    assert (await put(client)).status == 201


async def test_a_gate_that_does_not_work_says_so(client: Client, engine: FakeEngine) -> None:
    """In a condition of the set."""
    engine.sets.gate_trouble = GATE_REFUSED(right="nodes/status", why="forbidden")
    shown = await (await put(client, gate={"condition": True})).json()
    check(await (await client.get("/openapi.json")).json(), "WarmSet", shown)
    gated = shown["conditions"][-1]
    assert (gated["type"], gated["status"], gated["reason"]) == ("Gated", False, "Unable")
    assert "nodes/status" in gated["message"]
