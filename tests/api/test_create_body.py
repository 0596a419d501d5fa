from __future__ import annotations

from typing import Any

import pytest

from coordinator.api.create_body import FAULTS_NAMED, Order, read_order
from coordinator.api.problems import Refusal
from coordinator.core.task import Operator, PullPolicy, RetryStrategy, Rollout

pytestmark = pytest.mark.pure


def order(**fields: Any) -> Order:
    """The order that these fields make, together with one image where none is given."""
    return read_order({"images": ["nginx"]} | fields)


def faults(body: Any) -> dict[str, str]:
    """What is wrong with a body, by field."""
    with pytest.raises(Refusal) as refused:
        read_order(body)
    assert refused.value.status == 400
    return {fault.field: fault.message for fault in refused.value.faults or ()}


def faults_of(**fields: Any) -> dict[str, str]:
    """What is wrong with these fields."""
    return faults({"images": ["nginx"]} | fields)


def test_defaults() -> None:
    """Everything but the images has a default."""
    spec = order().spec
    assert (spec.batch_size, spec.priority, spec.max_retries, spec.retry_delay) == (10, 5, 0, 30)
    assert spec.retry_strategy is RetryStrategy.LINEAR
    assert spec.webhook_url is None
    assert (spec.node_selector, spec.match_expressions, spec.max_failed_nodes) == ({}, (), 0)
    assert (spec.rollout, spec.pull_timeout_seconds) == (Rollout.BATCH, 1800)
    assert spec.image_pull_policy is PullPolicy.IF_NOT_PRESENT
    assert not spec.names_nodes


def test_images_keep_their_spelling_and_doubles_are_one_piece_of_work() -> None:
    """A duplicate after normalising is one image, known by its first spelling."""
    images = ["nginx", "docker.io/library/nginx:latest", "redis:7"]
    spec = order(images=images).spec
    assert list(spec.images) == images
    assert [(work.name, work.reference) for work in spec.work] == [
        ("nginx", "docker.io/library/nginx:latest"),
        ("redis:7", "docker.io/library/redis:7"),
    ]


def test_every_field_is_taken() -> None:
    """What was asked for is what is stored."""
    made = order(
        batchSize=10_000,
        priority=10,
        maxRetries=5,
        retryStrategy="exponential",
        retryDelay=3600,
        webhookUrl="https://user:secret@hooks.example:8443/x?token=y",
        nodeSelector={"workload": "compute", "example.com/empty": ""},
        matchExpressions=[
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "gpu", "operator": "Exists"},
            {"key": "cores", "operator": "Gt", "values": ["8"]},
        ],
        nodeNames=["b", "a.example", "b"],
        maxFailedNodes="10%",
        rollout="rolling",
        imagePullPolicy="Always",
        pullTimeoutSeconds=86_400,
    )
    spec = made.spec
    assert made.names == ("a.example", "b")
    assert spec.names_nodes
    assert [entry.operator for entry in spec.match_expressions] == [
        Operator.IN,
        Operator.EXISTS,
        Operator.GT,
    ]
    assert spec.node_selector == {"workload": "compute", "example.com/empty": ""}
    assert spec.max_failed_nodes == "10%"
    assert spec.retry_strategy is RetryStrategy.EXPONENTIAL
    assert (spec.rollout, spec.image_pull_policy) == (Rollout.ROLLING, PullPolicy.ALWAYS)


def test_all_faults_are_named_at_once() -> None:
    """One answer tells everything that is wrong, unknown fields and inner entries included."""
    found = faults(
        {
            "images": ["nginx", 1, "a b", "UPPER"],
            "batchSize": 0,
            "priority": "high",
            "maxRetries": True,
            "retryDelay": 1.5,
            "nodeSelector": {"ok": "x", "a/b/c": "y", "z": 1},
            "matchExpressions": [{"key": "a", "operator": "In", "extra": 1}],
            "nodeNames": ["fine", "Not_Fine"],
            "batch_size": 5,
            "a/b~c": None,
        }
    )
    assert set(found) == {
        "/images/1",
        "/images/2",
        "/images/3",
        "/batchSize",
        "/priority",
        "/maxRetries",
        "/retryDelay",
        "/nodeSelector/a~1b~1c",
        "/nodeSelector/z",
        "/matchExpressions/0/extra",
        "/nodeNames/1",
        "/batch_size",
        "/a~1b~0c",
    }
    assert found["/batchSize"] == "must be a whole number from 1 to 10,000, not 0"
    assert found["/maxRetries"] == "must be a whole number from 0 to 5, not true"
    assert found["/batch_size"] == "is an unknown field"


@pytest.mark.parametrize("body", [None, True, 1, 1.5, "text", [], [{}]])
def test_a_body_must_be_an_object(body: Any) -> None:
    """The whole body is the empty pointer."""
    assert set(faults(body)) == {""}


def test_images_are_required() -> None:
    """An absent field is named where it should be."""
    assert faults({}) == {"/images": "is required"}


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("batchSize", [0, 10_001, -1, 1.0, 1.5, "10", True, None, [], {}, 10**400]),
        ("priority", [0, 11, "5", None]),
        ("maxRetries", [-1, 6, None]),
        ("retryStrategy", ["Linear", "", 1, None, ["linear"], {}]),
        ("retryDelay", [0, 3601, 0.5]),
        ("rollout", ["Batch", None, 1]),
        ("imagePullPolicy", ["Never", "always", None]),
        ("pullTimeoutSeconds", [9, 86_401, "30", None]),
        ("maxFailedNodes", [-1, "10", "101%", "-1%", "1.5%", "%", "10%\n", "٣%", 1.5, True, None]),
        ("nodeSelector", [None, [], "a=b", 1]),
        ("matchExpressions", [None, {}, "a", 1]),
        ("nodeNames", [None, [], "node-1", {}]),
        ("images", [None, [], {}, "nginx"]),
    ],
)
def test_wrong_values(field: str, bad: list[Any]) -> None:
    """A value of a wrong type, or out of range, is a fault of exactly this field."""
    for value in bad:
        assert set(faults({"images": ["nginx"], field: value})) == {f"/{field}"}, value


@pytest.mark.parametrize("good", [0, 5, "0%", "7%", "99%", "100%"])
def test_max_failed_nodes(good: int | str) -> None:
    """A whole number, or a percentage as Kubernetes writes it."""
    assert order(maxFailedNodes=good).spec.max_failed_nodes == good


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "example.com",
        "http://",
        "http:///path",
        "https://:443/x",
        "http://[::1",
        "http://::1/",
        "http://::1:80/",
        "http://x[::1]:80/",
        "http://[::1]x/",
        "http://[::1]80/",
        "http://host:99999/",
        "http://ho st/",
        "http://host/\n",
        "http://hóst/",
        "",
        "javascript:alert(1)",
        "http://host/" + "x" * 2048,
        1,
        None,
    ],
)
def test_bad_webhook_addresses(url: Any) -> None:
    """A webhook is http or https, has a host, and is not endless."""
    assert set(faults_of(webhookUrl=url)) == {"/webhookUrl"}


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://host/a b", "%20"),
        ("http://host/\t", "%09"),
        ("http://host/\n", "%0A"),
        (" http://host/", "%20"),
        ("http://host/é", "%C3%A9"),
        ("http://host/?q=\uff1f", "%EF%BC%9F"),
        ("http://host/\x7f", "%7F"),
        ("http://host/#\u00a0", "%C2%A0"),
    ],
)
def test_what_cannot_be_sent_as_it_is(url: str, written: str) -> None:
    """An address is sent byte for byte, so that nothing in it may need to be encoded first."""
    found = faults_of(webhookUrl=url)
    assert found.keys() == {"/webhookUrl"}
    assert found["/webhookUrl"].endswith(f"can hold as it is; write it as {written}")


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:8/p?q#f",
        "http://[::1]:80/",
        "http://[2001:DB8::1]",
        "http://u:p@[::ffff:192.0.2.1]/?q=[1]",
        "HTTPS://u:p@h/",
    ],
)
def test_good_webhook_addresses(url: str) -> None:
    """A webhook's address is stored as it was written."""
    assert order(webhookUrl=url).spec.webhook_url == url


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"key": "a", "operator": "In"}, "/values"),
        ({"key": "a", "operator": "NotIn", "values": []}, "/values"),
        ({"key": "a", "operator": "Exists", "values": ["x"]}, "/values"),
        ({"key": "a", "operator": "DoesNotExist", "values": ["x"]}, "/values"),
        ({"key": "a", "operator": "Gt"}, "/values"),
        ({"key": "a", "operator": "Gt", "values": ["1", "2"]}, "/values"),
        ({"key": "a", "operator": "Lt", "values": ["x"]}, "/values"),
        ({"key": "a", "operator": "Lt", "values": ["1_0"]}, "/values"),
        ({"key": "a", "operator": "In", "values": ["ok", "no good"]}, "/values/1"),
        ({"key": "a", "operator": "In", "values": "x"}, "/values"),
        ({"key": "-", "operator": "Exists"}, "/key"),
        ({"key": "a", "operator": "exists"}, "/operator"),
        ({"operator": "Exists"}, "/key"),
        ({"key": "a"}, "/operator"),
        ("a", ""),
    ],
)
def test_bad_match_expressions(entry: Any, field: str) -> None:
    """Every operator has its own rule for values, as in Kubernetes."""
    assert set(faults_of(matchExpressions=[entry])) == {f"/matchExpressions/0{field}"}


def test_too_many_images_are_counted_before_doubles_go() -> None:
    """51 spellings of one image are too many, and a malformed one among them is named too."""
    assert set(faults({"images": ["nginx"] * 51})) == {"/images"}
    assert set(faults({"images": ["a b"] + ["nginx"] * 50})) == {"/images", "/images/0"}
    assert len(order(images=["nginx"] * 50).spec.work) == 1


def test_node_names_up_to_ten_thousand() -> None:
    """10,000 names are fine, one more is not."""
    names = [f"node-{number}" for number in range(10_001)]
    assert order(nodeNames=names[:-1]).names == tuple(sorted(names[:-1]))
    assert set(faults_of(nodeNames=names)) == {"/nodeNames"}


def test_a_spec_that_would_not_fit_names_its_fattest_field() -> None:
    """What is stored of a task is bounded, and the fault says what to make smaller."""
    fat = {f"key-{number}": "v" * 60 for number in range(1100)}
    assert set(faults_of(nodeSelector=fat)) == {"/nodeSelector"}
    many = [{"key": "k", "operator": "In", "values": ["v" * 60] * 1100}]
    assert set(faults_of(matchExpressions=many)) == {"/matchExpressions"}


def test_the_number_of_named_faults_is_bounded() -> None:
    """Nonsense of any size gets an answer of bounded size."""
    found = faults({f"unknown-{number}" * 20: 0 for number in range(5000)})
    assert len(found) <= FAULTS_NAMED
    assert max(map(len, found)) < 100


def test_the_hash_knows_what_was_meant() -> None:
    """Defaults spelled out and the order of keys and names make no difference; values do."""
    plain = order(nodeSelector={"a": "b", "c": "d"}, nodeNames=["x", "y"]).body_hash
    same = order(
        nodeNames=["y", "x", "y"], nodeSelector={"c": "d", "a": "b"}, batchSize=10, rollout="batch"
    ).body_hash
    assert same == plain
    assert order(nodeSelector={"a": "b"}).body_hash != order(nodeSelector={"a": "c"}).body_hash
    assert order(nodeNames=["x"]).body_hash != order(nodeNames=["y"]).body_hash
    assert order(images=["nginx"]).body_hash != order(images=["nginx:latest"]).body_hash
