"""Images are found wherever pods are described, and what is wrong is named by its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ips_client.image_files import Found, InputFault, distinct, find_images
from ips_client.manifests import read_documents

pytestmark = pytest.mark.pure

POD = "{containers: [{name: a, image: 'main:1'}]}"


def images(text: str) -> list[str]:
    """Find the images of a file."""
    return [found.image for found in find_images(text.encode(), "file")]


def faults(text: str | bytes) -> tuple[str, ...]:
    """Say what is wrong with a file, its images included."""
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(InputFault) as caught:
        distinct(find_images(content, "file"))
    return caught.value.faults


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Pod", f"spec: {POD}"),
        ("PodTemplate", f"template: {{spec: {POD}}}"),
        ("Deployment", f"spec: {{template: {{spec: {POD}}}}}"),
        ("StatefulSet", f"spec: {{template: {{spec: {POD}}}}}"),
        ("DaemonSet", f"spec: {{template: {{spec: {POD}}}}}"),
        ("ReplicaSet", f"spec: {{template: {{spec: {POD}}}}}"),
        ("ReplicationController", f"spec: {{template: {{spec: {POD}}}}}"),
        ("Job", f"spec: {{template: {{spec: {POD}}}}}"),
        ("CronJob", f"spec: {{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}"),
        ("Rollout", f"spec: {{template: {{spec: {POD}}}}}"),
        ("RayCluster", f"spec: {{headGroupSpec: {{template: {{spec: {POD}}}}}}}"),
        ("List", f"items: [{{kind: Pod, spec: {POD}}}]"),
    ],
)
def test_kinds(kind: str, spec: str) -> None:
    """Every kind that holds a pod template, one's own kinds included."""
    assert images(f"apiVersion: v1\nkind: {kind}\n{spec}\n") == ["main:1"]


def test_all_containers() -> None:
    """Init, ephemeral and ordinary containers, and volumes that are images."""
    assert images("""
kind: Pod
spec:
  initContainers: [{image: "init:1"}]
  containers:
  - image: main:1
  - name: without
  ephemeralContainers: [{image: "debug:1"}]
  volumes:
  - image: {reference: "files:1"}
  - emptyDir: {}
""") == ["init:1", "main:1", "debug:1", "files:1"]


def test_places() -> None:
    """Each image is known by document and line, in a stream with comments and empty documents."""
    text = f"# made by hand\n---\n---\nkind: Service\n---\nkind: Pod\nspec: {POD}\n"
    assert find_images(text.encode(), "a.yaml") == [Found("main:1", "a.yaml, document 3, line 7")]


def test_merge_keys() -> None:
    """A container that is merged from an anchor has an image, and its own one counts more."""
    text = """
base: &base {image: 'base:1'}
kind: Pod
spec:
  containers:
  - {<<: *base, name: a}
  - {<<: [*base], image: 'own:1'}
"""
    assert images(text) == ["base:1", "own:1"]


def test_an_alias_that_holds_itself() -> None:
    """Does not go round for ever."""
    assert images("kind: Pod\nspec: &s {x: *s, containers: [{image: 'a:1'}]}\n") == ["a:1"]


def test_json() -> None:
    """What ``kubectl get -o json`` prints."""
    pod = {"kind": "Pod", "spec": {"containers": [{"image": "a:1"}]}}
    assert images(json.dumps({"kind": "List", "items": [pod]}, indent=1)) == ["a:1"]
    assert images('["a:1", "b"]') == ["a:1", "b"]


def test_json_streams() -> None:
    """``jq -c`` writes documents one after the other; a line is known in each."""
    pods = [{"kind": "Pod", "spec": {"containers": [{"image": f"{name}:1"}]}} for name in "abc"]
    text = "\n".join(map(json.dumps, pods))
    assert find_images(text.encode(), "x") == [
        Found(f"{name}:1", f"x, document {number}, line {number}")
        for number, name in enumerate("abc", start=1)
    ]
    assert images(text.replace("\n", "")) == ["a:1", "b:1", "c:1"]


@pytest.mark.parametrize("note", ["ship it 🚀", "\x7f", 'a "quoted" \\ud83d', "tab\t/", "x" * 2000])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_json_as_json_has_it(note: str, is_ascii: bool) -> None:
    """Escapes, surrogate pairs, long keys: whatever a JSON parser takes."""
    pod = {note: note, "spec": {"containers": [{"name": note, "image": "a:1"}]}}
    text = json.dumps(pod, ensure_ascii=is_ascii, indent="\t")
    (found,) = find_images(text.encode(), "x")
    line = text[: text.index('"image"')].count("\n") + 1
    assert found == Found("a:1", f"x, document 1, line {line}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(JSON, min_size=1, max_size=3), st.sampled_from([None, 1, "\t"]))
def test_json_becomes_the_same_nodes(values: list[object], indent: int | str | None) -> None:
    """Whatever the JSON, what is read from it is what was written."""
    holders = [{"v": value} for value in values]
    text = "\n".join(json.dumps(holder, indent=indent) for holder in holders)
    found = read_documents(text)
    assert found.slip is None
    assert [_plain(root) for root in found.roots] == holders


def _plain(node: yaml.Node) -> object:
    match node:
        case yaml.MappingNode(value=pairs):
            return {key.value: _plain(value) for key, value in pairs}
        case yaml.SequenceNode(value=items):
            return [_plain(item) for item in items]
        case yaml.ScalarNode(tag="tag:yaml.org,2002:str", value=value):
            return value
    return json.loads(node.value)


def test_flow_style_is_no_json() -> None:
    """YAML that only begins like JSON."""
    assert images("{kind: Pod, spec: {containers: [{image: a}], }}") == ["a"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"spec": {"containers": [{"image": "a"\n', "line 2: is no JSON: Expecting ',' delimiter"),
        ('{"a": 1} kind: Pod', "line 1: is no JSON: Expecting value"),
        ('{"a":' * 5000, "line 1: is nested too deeply, or too long"),
        ("a: " + "[" * 5000, "line 1: exceeded maximum nesting depth"),
    ],
)
def test_broken_json(text: str, fault: str) -> None:
    """What was meant as JSON is complained of as JSON."""
    assert faults(text)[0].endswith(fault)


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(code: str) -> None:
    """Text is read by its mark, in a list, in YAML and in JSON."""
    for text in ("nginx:1 # für\r\n", "kind: Pod\r\nspec: {containers: [{image: 'nginx:1'}]}\r\n"):
        assert [each.image for each in find_images(text.encode(code), "file")] == ["nginx:1"]
    content = '\ufeff{"spec": {"containers": [{"image": "nginx:1"}]}}'.encode("utf-16-be")
    assert [each.image for each in find_images(content, "file")] == ["nginx:1"]


@pytest.mark.parametrize("value", ["null", "~", "", "Null"])
def test_no_image(value: str) -> None:
    """An image that is null is absent."""
    text = f"spec:\n  containers:\n  - image: {value}\n  - image: a\n  volumes:\n  - image: null\n"
    assert images(f"{text}  - image: {{reference: {value}}}\n") == ["a"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("1.27", "the number 1.27: put it in quotes"),
        ("20260101", "the number 20260101: put it in quotes"),
        ("0x10", "the number 0x10: put it in quotes"),
        ("true", "the truth value true"),
        ("off", "the truth value off"),
        ("{a: b}", "'{a: b}'"),
    ],
)
def test_what_is_no_text(value: str, named: str) -> None:
    """Is a fault, in a container, a volume and a list."""
    wanted = f"an image is a text, not {named}"
    text = f"spec:\n  containers:\n  - image: {value}\n"
    assert faults(text) == (f"file, document 1, line 3: {wanted}",)
    text = f"spec:\n  volumes:\n  - image:\n      reference: {value}\n"
    assert faults(text) == (f"file, document 1, line 4: {wanted}",)
    assert images(f"spec: {{containers: [{{image: '{value}'}}]}}") == [value]


@pytest.mark.parametrize("form", [str, lambda text: json.dumps(yaml.safe_load(text))])
def test_a_doubled_key(form: Callable[[str], str]) -> None:
    """Kubernetes would take the last, or none; here it is a fault."""
    text = form("spec:\n  containers:\n  - {name: a, image: 'a:1'}\n").replace("name", "image")
    (fault,) = faults(text)
    assert re.fullmatch(r"file, document 1, line [13]: the key 'image' is doubled", fault)


def test_a_merge_that_holds_itself() -> None:
    """Does not go round for ever."""
    assert images("x: &x {<<: *x}\nspec: {containers: [*x, {image: a}]}\n") == ["a"]


def test_a_schema_is_no_pod() -> None:
    """A definition that only speaks of containers."""
    text = "kind: CustomResourceDefinition\nspec: {properties: {containers: {type: array}}}"
    assert images(text) == []


def test_plain_lists() -> None:
    """Lines, with comments, dashes and quotes."""
    text = "# all\nnginx:1 # web\n\n- redis\n  'localhost:5000/a/b:1'\r\n- \"q:2\"\n"
    assert images(text) == ["nginx:1", "redis", "localhost:5000/a/b:1", "q:2"]


def test_a_broken_document_among_good_ones() -> None:
    """By file, document and line."""
    good = f"---\nkind: Pod\nspec: {POD}\n"
    found = faults(good + "---\nkind: Pod\nspec: [1, 2\nmore: 3\n" + good)
    assert found == ("file, document 2, line 7: did not find expected ',' or ']'",)


def test_all_faults_at_once() -> None:
    """Every bad image of a file is named."""
    text = "kind: Pod\nspec:\n  containers:\n  - image: a b\n  - image: UP/x\n  - image: [1]\n"
    assert faults(text) == ("file, document 1, line 6: an image is a text, not '[1]'",)
    text = text.replace("[1]", "'x:'")
    assert [fault.partition(": ")[0] for fault in faults(text)] == [
        "file, document 1, line 4",
        "file, document 1, line 6",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("kind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n", 4),
        ("kind: Pod\nspec:\n  containers:\n  - image: '{{ .Values.image }}:1'\n", 4),
        ("kind: Pod\nspec: {containers: [{image: 'app:$TAG'}]}\n", 2),
        ("kind: Pod\nspec: {containers: [{image: '${REGISTRY}/app'}]}\n", 2),
        ("kind: Pod\nspec: {containers: [{image: '$(REGISTRY)/app'}]}\n", 2),
        ("kind: Pod\nspec: {containers: [{image: 'app:<no value>'}]}\n", 2),
    ],
)
def test_placeholders(text: str, line: int) -> None:
    """An image that nothing has filled in."""
    (fault,) = faults(text)
    assert fault.startswith(f"file, document 1, line {line}: ")
    assert "placeholder" in fault


def test_a_template() -> None:
    """A chart's source, which is no YAML, is told from a slip of the pen."""
    (fault,) = faults("kind: Pod\n{{- if .Values.on }}\nspec:\n{{- end }}\n")
    assert fault.startswith("file, document 1, line 3: ")
    assert "render it first" in fault


RENDERED = "kind: Rule\nspec: {summary: 'node {{ $labels.node }} is full'}\n---\n"


@pytest.mark.parametrize("slip", ["a:\n  b: 1\n c: 2\n", "a: [1\nb: 2\n", "a: 'x\n", "a: b: c\n"])
def test_braces_and_a_slip(slip: str) -> None:
    """A text with double braces that does not parse for another reason is no template."""
    (fault,) = faults(RENDERED + slip)
    assert fault.startswith("file, document 2, line ")
    assert "template" not in fault


@pytest.mark.parametrize(
    "source",
    [
        "{{- if .Values.on }}\nspec: 1\n{{- end }}\n",
        "spec:\n  {{- toYaml .Values.spec | nindent 2 }}\n",
        "name: {{ .Release.Name }}-x\n",
        "labels: {a: {{ .x }}-{{ .y }}}\n",
    ],
)
def test_templates(source: str) -> None:
    """A text that does not parse because of what stands between double braces."""
    (fault,) = faults(f"kind: Pod\n{source}")
    assert "render it first" in fault


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "file is empty"),
        (b" \n\n", "file is empty"),
        (b"\xff\xfe", "file is empty"),
        (b"nginx\xff\xfe", "file is no text in UTF-8 (byte 6)"),
        (b"\xff\xfea\0b", "file is no text in UTF-16-LE (byte 5)"),
        (b"kind: a\x07b\n", "file, document 1, line 1: control characters are not allowed"),
        (b"--- just words\n", "file, document 1, line 1: is no Kubernetes object"),
        (b"ng inx\n", "file, line 1: 'ng inx' contains whitespace"),
    ],
)
def test_no_manifest(content: bytes, fault: str) -> None:
    """What is no manifest and no list."""
    assert faults(content) == (fault,)


def test_distinct() -> None:
    """One image by several spellings is one, by its first."""
    found = [Found(text, "") for text in ("nginx", "docker.io/library/nginx:latest", "nginx:1")]
    assert distinct(found) == ["nginx", "nginx:1"]
