"""Files of warm sets, as ``ips apply`` reads them: what cannot be sent is named by its place."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ips_client.command.plain_values import LARGEST
from ips_client.command.program import run
from ips_client.command.set_files import SetFile, read_sets
from ips_client.command.sets import _DEFAULTS, difference, matches, state_of, window_of
from ips_client.decoding import decode
from ips_client.documents import Node
from ips_client.image_files import InputFault
from ips_client.set_documents import WarmSet
from ips_client.set_requests import put_set

from coordinator.api.openapi import openapi_document

pytestmark = pytest.mark.pure


def sets_in(content: str | bytes) -> list[SetFile]:
    """What a file with this content describes."""
    with pytest.MonkeyPatch.context() as patch:
        raw = content if isinstance(content, bytes) else content.encode()
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return read_sets(["-"])


def faults_in(content: str) -> tuple[str, ...]:
    """What is said of one."""
    with pytest.raises(InputFault) as fault:
        sets_in(content)
    return fault.value.faults


def test_what_is_read() -> None:
    """YAML with aliases and merges, JSON in a row, in any encoding with a mark."""
    text = (
        "---\n---\n"
        "name: a\nimages: &i [x, y]\nnodeSelector: &s {zone: b, n: '1'}\n---\n"
        "name: b\nx: &i [z]\nimages: *i\nd: &d {p: 1, q: 2}\n"
        "m: {<<: [*d, {q: 3, r: 4}], p: 0}\n"
    )
    a, b = sets_in(text)
    assert a == ("a", {"images": ["x", "y"], "nodeSelector": {"zone": "b", "n": "1"}})
    assert (b.body["images"], b.body["m"]) == (["z"], {"p": 0, "q": 2, "r": 4})
    assert sets_in(b"\xff\xfe" + "name: c".encode("utf-16-le")) == [("c", {})]
    rows = '{"name": "d", "priority": 7}\n{"name": "e", "paused": true, "f": -1.5e3, "n": null}'
    expected = [("d", {"priority": 7}), ("e", {"paused": True, "f": -1500.0, "n": None})]
    assert sets_in(rows) == expected


def exploding(levels: int) -> str:
    """Nine times as much on each level."""
    first = "name: a\nl0: &l0 xxxxxxxx\n"
    return first + "".join(
        f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n"
        for level in range(1, levels + 1)
    )


def test_few_bytes_do_not_become_many() -> None:
    """Aliases are counted by what they come to; up to 1 MiB is sent, and more is never made."""
    (small,) = sets_in(exploding(4))
    assert len(put_set("a", small.body).payload) < LARGEST
    (fault,) = faults_in(exploding(60))
    assert fault.startswith("standard input, document 1, line ")
    assert fault.endswith("is more than 1 MiB as JSON")
    merges = ["name: a", "l0: &l0 {k: v}"]
    merges += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    assert sets_in("\n".join(merges))[0].body["l39"] == {"k": "v"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("since: 2026-01-16", "line 2: '2026-01-16' is a date for YAML: put it in quotes"),
        ("since: 2026-13-01", "line 2: '2026-13-01' is a date for YAML: put it in quotes"),
        ("since: 2026-01-16T10:00:00Z", "is a date for YAML"),
        ("priority: .nan", "line 2: '.nan' is no number of JSON"),
        ("priority: -.inf", "is no number of JSON"),
        ("x: !!binary aGVsbG8=", "tag:yaml.org,2002:binary is no kind of value here"),
        ("x: !!set {a, b}", "tag:yaml.org,2002:set is no kind of value here"),
        ("x: !own 7", "!own is no kind of value here"),
        ("x: !own {a: b}", "!own is no kind of value here"),
        ("x: !!int seven", "'seven' is no value"),
        ("x: !!bool seven", "'seven' is no value"),
        ("nodeSelector: {2024: a}", "a key is a text, and '2024' is a number: put"),
        ("on: x", "a key is a text, and 'on' is a truth value"),
        ("? [a]\n: b", "a key is a text"),
        ("images: [a]\nimages: [b]", "line 3: the key 'images' is doubled"),
        ("name: b", "line 2: the key 'name' is doubled"),
        ("nodeSelector: {a: b, a: b}", "line 2: the key 'a' is doubled"),
        ("x: &x [*x]", "line 2: holds itself"),
        ("x: &x {<<: *x}", "line 2: holds itself"),
        ("x: {<<: 7}", "<< merges mappings, and this is none"),
        ("x: " + "[" * 60 + "]" * 60, "is nested too deeply"),
        ("x: " + "9" * 5000, "is no value"),
        ("x: [", "is not YAML"),
        ("nodeSelector: 5", "document 1: nodeSelector is a mapping of labels"),
        ("nodeSelector: [1]", "document 1: nodeSelector is a mapping of labels"),
        ("nodeSelector: web", "document 1: nodeSelector is a mapping of labels"),
        ("nodeSelector: {zone: 5}", "document 1: nodeSelector/zone is no text"),
        ("matchExpressions: {key: zone}", "document 1: matchExpressions is a list"),
        ("matchExpressions: [zone]", "document 1: matchExpressions/0 is none such as"),
        ("matchExpressions: [{key: [a], operator: In}]", "matchExpressions/0 is none such as"),
        ("matchExpressions: [{key: a, operator: 7}]", "matchExpressions/0 is none such as"),
        ("matchExpressions: [{key: a, operator: In, values: b}]", "matchExpressions/0 is none"),
        ("matchExpressions: [{key: a, operator: In, values: [{}]}]", "matchExpressions/0 is none"),
        ("matchExpressions: [{key: a, operator: Gt, values: [3]}]", "matchExpressions/0 is none"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_plain_json(text: str, fault: str) -> None:
    """Is a fault with file, document and, where there is one, line."""
    (said,) = faults_in(f"name: a\n{text}")
    assert said.startswith("standard input, document 1")
    assert fault in said


def test_json_has_no_key_twice_and_no_infinity() -> None:
    """As YAML."""
    assert faults_in('{"name": "a", "x": 1, "x": 2}') == (
        "standard input, document 1, line 1: the key 'x' is doubled",
    )
    assert "is no number of JSON" in faults_in('{"name": "a", "x": Infinity}')[0]


def test_what_is_left_out_is_the_services_default() -> None:
    """Else ``--dry-run`` would tell of another change than the one that is made."""
    document = msgspec.json.decode(openapi_document())
    fields = document["components"]["schemas"]["PutWarmSet"]["properties"]
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert defaults == _DEFAULTS


def test_every_fault_of_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is said at once, with exit code 2; no server is asked."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: a\nx: 2026-13-01\n---\nname: b\nnodeSelector: 5\n---\nname: b\n---\n{")
    words = ["apply", "-f", str(bad), "-f", str(tmp_path), "--server", "http://127.0.0.1:1"]
    assert run([*words, "--dry-run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"ips: {bad}, ")[:11] for line in lines[:4]] == [
        f"document {number}{mark}" for number, mark in ((1, ","), (2, ":"), (3, ":"), (4, ","))
    ]
    assert lines[4] == f"ips: {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("https://hooks", "https://hooks/token", False),
        ("https://hooks", "https://me:pw@hooks/token", False),
        ("https://hooks", "https://hooks.evil/token", True),
        ("https://hooks", "https://hooks:8443/token", True),
        ("https://hooks", "http://hooks/token", True),
        ("https://hooks", "https://[", True),
        ("https://hooks", 7, True),
    ],
)
def test_a_webhook_at_another_host_is_a_difference(old: str, new: object, differs: bool) -> None:
    """Of what the service shows, scheme and host, all is compared, not how it begins."""
    lines = difference({"webhookUrl": old}, {"webhookUrl": new})
    assert any(line.startswith("webhookUrl") for line in lines) == differs


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_whatever_is_json_is_read_as_it_is(value: Any) -> None:
    """From JSON, and from what YAML makes of it."""
    document = {"name": "a", "x": value}
    for text in (json.dumps(document), yaml.safe_dump(document)):
        assert sets_in(text) == [("a", {"x": value})]


@given(st.text(alphabet="namex: a5\n-[]{},&*<!'\"#|.02", max_size=60))
def test_whatever_is_read_can_be_sent_and_compared(text: str) -> None:
    """Or is refused with a fault."""
    try:
        found = sets_in(f"name: q\n{text}")
    except InputFault:
        return
    node = Node(name="n", labels={"zone": "a"}, schedulable=True, connected=True)
    for each in found:
        put_set(each.name, each.body).payload  # noqa: B018 -- it must not raise
        matches(each.body, node)


def test_what_a_schedule_leaves_out_is_no_difference() -> None:
    """A set without one is another thing than one that lost it."""
    written = {"cron": "0 2 * * *", "window": "2h"}
    shown = {**written, "timeZone": "UTC", "joins": "window"}
    before = {**_DEFAULTS, "images": ["a"], "schedule": shown}
    assert difference(before, {"images": ["a"], "schedule": written}) == []
    (changed,) = difference(before, {"images": ["a"], "schedule": {**written, "joins": "always"}})
    assert changed.startswith("schedule: ")
    assert difference(before, {"images": ["a"]})[0].endswith(" → (nothing)")


def test_when_a_set_pulls_is_said_in_one_column() -> None:
    """Until the end of its window, or from the next one on; always says nothing."""
    moment = "2026-01-16T18:00:00.000Z"
    none = dict.fromkeys(("warm", "pulling", "waiting", "failed"), 0)
    document = {
        "name": "web",
        "images": ["a"],
        "nodes": {**none, "total": 2, "blocked": 2},
        "warmPercent": 0.0,
        "generation": 1,
        "observedGeneration": 1,
        "paused": False,
        "reasons": {"OutsideWindow": 2},
        "conditions": [],
        "createdAt": moment,
        "updatedAt": moment,
    }
    assert window_of(decode(WarmSet, document)) == ""
    found = [
        decode(WarmSet, {**document, "window": window})
        for window in (
            {"open": True, "until": moment, "next": moment},
            {"open": False, "next": moment},
            {"open": False},
        )
    ]
    assert [window_of(each).partition(" ")[0] for each in found] == ["until", "from", "never"]
    assert state_of(found[1]) == "scheduled"


def test_a_gate_is_compared_with_what_the_service_makes_of_it() -> None:
    """What was left out is no difference, and one that is taken out is."""
    before = {**_DEFAULTS, "gate": {"condition": True, "openAfter": "10m"}}
    assert difference(before, {"gate": {"condition": True}}) == []
    [changed] = difference(before, {"gate": {"condition": True, "taint": "ips.dev/a"}})
    assert changed.startswith("gate: ")
    assert difference(before, {}) == ['gate: {"condition": true, "openAfter": "10m"} → (nothing)']
    assert difference({**_DEFAULTS}, {}) == []
