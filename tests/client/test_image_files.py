"""Images are found wherever pods are described, and what is wrong is named by its place."""

from __future__ import annotations

import json

import pytest
from ips_client.image_files import Found, InputFault, distinct, find_images

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


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "file is empty"),
        (b" \n\n", "file is empty"),
        (b"\xff\xfe", "file is no text in UTF-8 (byte 1)"),
        (b"kind: a\x07b\n", "file, document 1, line 1: control characters are not allowed"),
        (b"--- just words\n", "file, document 1, line 1: is no Kubernetes object"),
        (b"ng inx\n", "file, line 1: 'ng inx' has white space in it"),
    ],
)
def test_no_manifest(content: bytes, fault: str) -> None:
    """What is no manifest and no list."""
    assert faults(content) == (fault,)


def test_distinct() -> None:
    """One image by several spellings is one, by its first."""
    found = [Found(text, "") for text in ("nginx", "docker.io/library/nginx:latest", "nginx:1")]
    assert distinct(found) == ["nginx", "nginx:1"]
