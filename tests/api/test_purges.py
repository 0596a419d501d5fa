"""Purges over HTTP: what may be asked, what is answered, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from common.image_texts import NODE_RUNTIME_SILENT
from common.removals import KeptFor, RemovalState
from coordinator.access.policy import read_policy
from coordinator.api.guard import Entrance
from coordinator.core.purge import ImagePurge, NodePurge, PurgeState, silent
from coordinator.core.sets.standing import SetNode, SetNodePhase
from tests.api.conftest import Client, Guarded
from tests.api.fake_engine import FakeEngine
from tests.api.test_openapi import check

PURGES = "/api/v1/purges"


async def post(client: Client, **body: Any) -> Any:
    """Ask for a purge of one image; the answer."""
    return await client.post(PURGES, json={"images": ["nginx"]} | body)


async def test_a_purge_is_begun_and_shown(client: Client, engine: FakeEngine) -> None:
    """202 with its place; then what became of each node and image, and why not."""
    answer = await post(client, nodeNames=["n1", "n2"], nodeSelector={"pool": "web"}, dryRun=True)
    begun = await answer.json()
    assert answer.status == 202
    assert (begun["state"], begun["dryRun"], begun["nodeList"]) == ("running", True, [])
    (order,) = engine.purges.orders
    assert (order.names, order.dry_run, order.spec.node_selector) == (
        ("n1", "n2"),
        True,
        {"pool": "web"},
    )
    removed = ImagePurge(image=0, state=RemovalState.REMOVED, also=("r/x:1",), bytes=7)
    kept = [
        ImagePurge(image=0, state=RemovalState.KEPT, reason=reason, about="r/x:1")
        for reason in KeptFor
    ]
    nodes = [
        NodePurge(node="n1", images=(removed,)),
        *(NodePurge(node=f"k{number}", images=(each,)) for number, each in enumerate(kept)),
        silent("n2", NODE_RUNTIME_SILENT(node="n2", why="no socket")),
    ]
    engine.purges.told(begun["purgeId"], PurgeState.INTERRUPTED, *nodes)
    place = answer.headers["Location"]
    shown = await (await client.get(place)).json()
    document = await (await client.get("/openapi.json")).json()
    check(document, "Purge", shown)
    assert shown["messageCode"] == "purge.interrupted"
    by_name = {node["nodeName"]: node for node in shown["nodeList"]}
    assert by_name["n1"]["images"] == [
        {"image": "nginx", "state": "removed", "also": ["r/x:1"], "bytes": 7}
    ]
    assert by_name["n2"]["messageCode"] == "node.runtimeSilent"
    reasons = {n["images"][0].get("reason") for n in shown["nodeList"] if n["images"]}
    assert reasons == {None, *KeptFor}
    assert "r/x:1" in by_name["k1"]["images"][0]["message"]
    page = await (await client.get(place, params={"limit": "1", "offset": "1"})).json()
    assert [node["nodeName"] for node in page["nodeList"]] == ["k0"]
    assert page["total"] == len(nodes)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"images": []}, "/images"),
        ({"images": ["UPPER"]}, "/images/0"),
        ({"dryRun": 1}, "/dryRun"),
        ({"priority": 3}, "/priority"),
        ({"nodeNames": ["A"]}, "/nodeNames/0"),
    ],
)
async def test_what_is_no_purge(client: Client, body: dict[str, Any], field: str) -> None:
    """400, with what is wrong; the rules are those of a task's fields."""
    answer = await post(client, **body)
    assert answer.status == 400
    assert [fault["field"] for fault in (await answer.json())["errors"]] == [field]


async def test_an_unknown_purge_and_one_too_many(client: Client, engine: FakeEngine) -> None:
    """404, and 429 with when to come back."""
    assert (await client.get(f"{PURGES}/purge-20260116-151234-00000000")).status == 404
    engine.purges.most = 0
    answer = await post(client)
    assert (answer.status, "Retry-After" in answer.headers) == (429, True)


def a_set_of_two(engine: FakeEngine) -> None:
    """Its nodes."""
    nodes = (SetNode("n1", SetNodePhase.WARM), SetNode("n2", SetNodePhase.WAITING))
    engine.sets.states["web"] = {node.node: node for node in nodes}


async def test_a_set_is_deleted_with_its_images(client: Client, engine: FakeEngine) -> None:
    """The purge is of the nodes that it had; the answer names it."""
    await client.put("/api/v1/sets/web", json={"images": ["nginx", "redis"]})
    a_set_of_two(engine)
    answer = await client.delete("/api/v1/sets/web", params={"purge": "true"})
    said = await answer.json()
    document = await (await client.get("/openapi.json")).json()
    check(document, "WarmSetDeleted", said)
    assert (answer.status, said["purge"] in engine.purges.known) == (200, True)
    (order,) = engine.purges.orders
    assert (order.set, order.names, order.spec.images) == ("web", ["n1", "n2"], ("nginx", "redis"))
    assert "web" not in engine.sets.stored
    assert (await client.delete("/api/v1/sets/web?purge=true")).status == 404


async def test_a_set_stays_where_its_images_cannot_be_removed(
    client: Client, engine: FakeEngine
) -> None:
    """As long as too many purges run; and where it is not the one that was meant."""
    await client.put("/api/v1/sets/web", json={"images": ["nginx"]})
    engine.purges.most = 0
    assert (await client.delete("/api/v1/sets/web?purge=true")).status == 429
    engine.purges.most = 4
    old = {"If-Match": '"99"'}
    assert (await client.delete("/api/v1/sets/web?purge=true", headers=old)).status == 412
    assert (await client.delete("/api/v1/sets/web?purge=perhaps")).status == 400
    engine.purges.is_away = True
    assert (await client.delete("/api/v1/sets/web?purge=true")).status == 503
    assert "web" in engine.sets.stored
    assert engine.purges.orders == []
    engine.purges.is_away = False
    assert (await client.delete("/api/v1/sets/web?purge=true")).status == 200
    assert len(engine.purges.orders) == 1


async def test_a_set_that_is_another_one_makes_no_purge(
    client: Client, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is stored that would take the place of the oldest."""
    await client.put("/api/v1/sets/web", json={"images": ["nginx"]})
    asked: list[object] = []
    monkeypatch.setattr(engine.purges, "start", lambda *order: asked.append(order))
    old = {"If-Match": '"99"'}
    assert (await client.delete("/api/v1/sets/web?purge=true", headers=old)).status == 412
    assert asked == []


async def test_a_policy_counts_for_a_purge(guarded: Guarded, engine: FakeEngine) -> None:
    """By its images and its nodes, of whatever urgency a rule allows."""
    policy = read_policy(
        '{"rules": [{"images": ["docker.io/library/redis:*"], "maxPriority": 1, "nodes": '
        '{"nodeSelector": {"team": "shop"}}}]}'
    )
    wide = Entrance.wide_open()
    client = await guarded(Entrance(wide.keeper, wide.seal, policy=lambda: policy))
    assert (await post(client)).status == 403
    assert (await post(client, images=["redis:7"])).status == 202
    (added,) = engine.purges.orders[0].spec.match_expressions
    assert added.key == "team"
    assert len(engine.purges.orders) == 1
