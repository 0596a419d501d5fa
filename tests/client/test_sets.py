"""Warm sets by the client's two faces and by the command, against a real service."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ips_client import Client, NotFound, SetTimeLimit, WarmSet
from ips_client.command.events import details
from ips_client.command.sets import difference, matches
from ips_client.command.why import grouped
from ips_client.decoding import decode
from ips_client.documents import Event, Node
from ips_client.set_documents import SetNode

from tests.client.conftest import NODES, Ips, Service
from tests.client.faces import MakeFace
from tests.client.images import failing

pytestmark = pytest.mark.system


@pytest.fixture
def name(client: Client) -> Iterator[str]:
    """A set that no other test has; it is gone afterwards."""
    made = f"s{secrets.token_hex(6)}"
    yield made
    for each in client.sets():
        if each.name.startswith(made):
            client.delete_set(each.name)


def written(folder: Path, *documents: dict[str, Any]) -> str:
    """A file of sets."""
    path = folder / "set.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def test_the_life_of_a_set(service: Service, face: MakeFace, name: str, image: str) -> None:
    """Put, waited for, shown, listed, put again, deleted: by either face."""
    made = face(service.url)
    put: WarmSet = made.do("put_set", name, [image], node_selector={"zone": "b"}, priority=7)
    assert (put.name, put.generation, put.priority) == (name, 1, 7)
    counts: list[WarmSet] = []
    warm = made.do("wait_set", name, time_limit=30.0, on_progress=counts.append)
    assert (warm.nodes.warm, warm.nodes.total, warm.warm_percent) == (2, 2, 100.0)
    assert counts[-1] == warm
    ready = made.do("get_set", name).condition("Ready")
    assert ready is not None
    nodes = made.some("set_nodes", name, ["warm"])
    assert [node.node_name for node in nodes] == ["node-2", "node-3"]
    assert all(each.present for node in nodes for each in node.images)
    assert name in [each.name for each in made.some("sets")]
    assert made.do("put_set", name, [image], paused=True).generation == 2
    assert made.do("delete_set", name).name == name
    with pytest.raises(NotFound):
        made.do("delete_set", name)


def test_a_set_that_does_not_get_warm(service: Service, face: MakeFace, name: str) -> None:
    """The wait ends by its limit, with the set as it was last seen."""
    made = face(service.url)
    made.do("put_set", name, [failing()])
    with pytest.raises(SetTimeLimit) as late:
        made.do("wait_set", name, time_limit=0.5)
    assert late.value.set is not None
    assert late.value.set.nodes.warm == 0


def test_apply(ips: Ips, client: Client, tmp_path: Path, name: str, image: str) -> None:
    """Several sets of a file; the same again changes nothing."""
    one, two = f"{name}-1", f"{name}-2"
    file = written(
        tmp_path,
        {"name": one, "images": [image], "nodeSelector": {"zone": "b"}},
        {"name": two, "images": [image], "paused": True},
    )
    shown = ips("apply", "-f", file, "--dry-run")
    assert shown.returncode == 0
    assert f"set/{one} would be created; 2 nodes of {NODES} match\n" in shown.stdout
    assert f'  images: ["{image}"]\n' in shown.stdout
    assert one not in [each.name for each in client.sets()]
    done = ips("apply", "-f", file)
    assert (done.returncode, done.stdout) == (0, f"set/{one} created\nset/{two} created\n")
    again = ips("apply", "-f", file, "-o", "name")
    assert again.stdout == f"set/{one}\nset/{two}\n"
    file = written(
        tmp_path,
        {"name": one, "images": [image], "nodeSelector": {"zone": "a"}},
        {"name": two, "images": [image], "paused": True},
    )
    shown = ips("apply", "-f", file, "--dry-run")
    assert f"set/{one} would change; 1 node of {NODES} match\n" in shown.stdout
    assert '  nodeSelector: {"zone": "b"} → {"zone": "a"}\n' in shown.stdout
    assert f"set/{two} would stay as it is" in shown.stdout
    done = ips("apply", "-f", file)
    assert done.stdout == f"set/{one} changed\nset/{two} unchanged\n"


def test_files_that_are_none(ips: Ips, tmp_path: Path, name: str) -> None:
    """All faults at once, and nothing is sent."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"images: [a]\n---\nname: {name}\n---\nname: {name}\n---\n- a\n")
    done = ips("apply", "-f", str(bad), "-f", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    for place in ("document 1 is no set", "document 3: the set", "document 4 is no set"):
        assert place in done.stderr
    assert "none.yaml: No such file" in done.stderr
    broken = ips("apply", "-f", "-", stdin=b"a: [")
    assert (broken.returncode, "is not YAML" in broken.stderr) == (2, True)
    refused = ips("apply", "-f", "-", stdin=f"name: {name}\nimages: []\ncolour: red\n".encode())
    assert refused.returncode == 2
    assert "colour" in refused.stderr


def test_wait_and_why(ips: Ips, client: Client, name: str, image: str) -> None:
    """Who lags is named, with the reason; exit code 4."""
    client.put_set(name, [image])
    done = ips("wait", f"set/{name}", "--timeout", "30s")
    assert done.returncode == 0
    assert done.stdout == f"set/{name} is warm enough: 100%\n"
    assert ips("why", name).stdout == f"3 of {NODES} nodes warm.\n"
    bad = failing()
    client.put_set(name, [image, bad])
    late = ips("wait", f"set/{name}", "--at-least", "95%", "--timeout", "8s")
    assert late.returncode == 4
    assert "is not warm enough after 8s, 0 of 3 nodes" in late.stderr
    assert f"  node-1, node-2, node-3: ImageNotFound ({bad})" in late.stderr
    for what in (name, f"set/{name}", bad, f"image/{bad}"):
        assert f"0 of {NODES} nodes warm.\n  node-1, node-2, node-3: Ima" in ips("why", what).stdout
    of_node = ips("why", "node-2")
    assert f"set/{name}: ImageNotFound ({bad}): " in of_node.stdout
    document = json.loads(ips("why", "node/node-2", "-o", "json").stdout)
    assert [each["name"] for each in document["sets"]] == [name]
    assert ips("wait", f"set/{name}", "--at-least", "0%").returncode == 0
    assert ips("why", "image/nobody/has:this").returncode == 2
    assert ips("wait", f"set/{name}", "task-20260101-000000-00000000").returncode == 2
    assert "95% is one" in ips("wait", f"set/{name}", "--at-least", "lots").stderr


def test_sets_and_delete(ips: Ips, client: Client, name: str, image: str) -> None:
    """The list, one of them, and what becomes of those that are there and of those that are not."""
    client.put_set(name, [image], paused=True)
    (row,) = [line for line in ips("sets").stdout.splitlines() if line.startswith(name)]
    assert row.split()[:4] == [name, "paused", "0%", f"0/{NODES}"]
    one = ips("sets", name)
    assert "Paused" in one.stdout
    assert "node-3" in one.stdout
    assert json.loads(ips("sets", name, "-o", "json").stdout)["paused"] is True
    done = ips("delete", "set", name, "nobody")
    assert done.returncode == 2
    assert done.stdout == f"set/{name} deleted; its images stay\n"
    assert "set/nobody: There is no such set." in done.stderr
    assert name not in ips("sets", "-o", "name").stdout.split()


def test_events_of_sets(service: Service, face: MakeFace, name: str, image: str) -> None:
    """Where they are asked for; each as one line."""
    made = face(service.url)
    task = made.do("create", [image]).task_id
    position = made.some("events", task)[-1].position
    made.do("put_set", name, [image])
    seen: dict[str, Event] = {}
    with Client(service.url) as client:
        for event in client.events(sets=True, after=position):
            if isinstance(event, Event) and event.subject.partition("/")[0] == name:
                seen[event.type] = event
            if "set.ready" in seen:
                break
    assert "set.created" in seen
    assert details(seen["set.ready"]) == f"  {NODES}/{NODES} nodes warm"


def test_what_a_put_would_change() -> None:
    """Field by field, with what the service takes where nothing is said; a webhook by its host."""
    before = {"images": ["a"], "priority": 7, "batchSize": 10, "webhookUrl": "https://hooks"}
    body = {"images": ["a"], "webhookUrl": "https://hooks/token"}
    assert difference(before, body) == [
        *("matchExpressions: []", "maxFailedNodes: 0", "maxRetries: 0", "nodeSelector: {}"),
        *("paused: false", "priority: 7 → 5", "pullTimeoutSeconds: 1800", "retryDelay: 30"),
        *('retryStrategy: "linear"', 'rollout: "batch"'),
    ]
    assert 'webhookUrl: "https://hooks" → (nothing)' in difference(before, {"images": ["a"]})
    assert difference(None, {"images": ["a"]}) == ['images: ["a"]']


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "zone", "operator": "In", "values": ["a"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "zone", "operator": "Exists"}, True),
        ({"key": "zone", "operator": "DoesNotExist"}, False),
        ({"key": "gpus", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "gpus", "operator": "Lt", "values": ["3"]}, False),
        ({"key": "zone", "operator": "Lt", "values": ["3"]}, False),
        ({"key": "zone", "operator": "Near"}, False),
    ],
)
def test_which_nodes_match(expression: dict[str, Any], expected: bool) -> None:
    """As the service chooses them."""
    node = Node(name="n", labels={"zone": "a", "gpus": "4"}, schedulable=True, connected=True)
    assert matches({"matchExpressions": [expression]}, node) is expected
    assert not matches({"matchExpressions": [expression], "nodeSelector": {"zone": "b"}}, node)


def test_many_laggards_are_one_line_for_each_reason() -> None:
    """The most frequent first, five by name."""

    def node(number: int, reason: str) -> SetNode:
        return decode(
            SetNode,
            {
                "nodeName": f"n{number}",
                "state": "blocked",
                "images": [],
                "reason": reason,
                "message": f"It is {reason}.",
            },
        )

    lines = grouped([node(0, "Paused"), *(node(number, "Cordoned") for number in range(1, 8))])
    assert lines == [
        "  n1, n2, n3, n4, n5 and 2 more: Cordoned: It is Cordoned.",
        "  n0: Paused: It is Paused.",
    ]
