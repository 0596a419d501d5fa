"""The command ``ips``, as a program against a real service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ips_client import Client, __version__
from ips_client.command.program import run

from sandbox.ports import free_port
from tests.client.between import Between
from tests.client.conftest import NODES, Ips, Service, eventually
from tests.client.images import failing, unique
from tests.fixtures.parts import lacking
from tests.fixtures.patience import PATIENCE

pytestmark = pytest.mark.system

PutBetween = Callable[..., Between]
NO_TASK = "task-20200101-000000-00000000"


def manifest(*images: str) -> str:
    """Write a stream of manifests: a Deployment, a Service, and a Pod for each further image."""
    deployment = {"spec": {"template": {"spec": {"containers": [{"image": images[0]}]}}}}
    pods = [{"kind": "Pod", "spec": {"containers": [{"image": image}]}} for image in images[1:]]
    documents = [{"kind": "Deployment", **deployment}, {"kind": "Service"}, *pods]
    return yaml.safe_dump_all(documents)


# ── run ──────────────────────────────────────────────────────────────────────────────────────


def test_run_and_wait(ips: Ips, image: str) -> None:
    """Data on standard output, progress on standard error, exit code 0."""
    done = ips("run", image, "-l", "workload=compute", "--wait")
    assert done.returncode == 0
    assert " completed in " in done.stdout
    assert f"1 image on {NODES} of {NODES} nodes" in done.stdout
    assert " created: 1 image\n" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_run_from_a_pipe(ips: Ips) -> None:
    """``helm template . | ips run -f - --wait``."""
    images = [unique("web"), unique("job")]
    done = ips("run", "-f", "-", "--wait", "-o", "json", stdin=manifest(*images).encode())
    assert done.returncode == 0
    assert json.loads(done.stdout)["images"] == images


def test_run_from_files(ips: Ips, tmp_path: Path, image: str) -> None:
    """Arguments, a list and a manifest together; an image by two spellings is one."""
    listed = [unique("a"), unique("b")]
    (tmp_path / "list").write_text("\n".join([*listed, image]))
    (tmp_path / "m.yaml").write_text(manifest("nginx", listed[0]))
    files = [f"-f{tmp_path / name}" for name in ("list", "m.yaml")]
    done = ips("run", image, "docker.io/library/nginx", *files, "--dry-run", "-o", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "tasks": [{"images": [image, "docker.io/library/nginx", *listed]}],
        "matchingNodes": NODES,
        "nodeStates": {"ready": NODES},
        "unknownNodes": [],
    }


def test_every_option(ips: Ips, client: Client, image: str) -> None:
    """Each field of a create has its option."""
    words = (
        "-l workload=compute,zone!=a --node node-2,node-3 --node node-1 --batch-size 2 --rolling "
        "--priority 7 --pull always --pull-timeout 2m --webhook http://127.0.0.1:9/x --retries 1 "
        "--retry-strategy exponential --retry-delay 2s --max-failed 50% -o name"
    )
    key = ["--idempotency-key", image]
    done = ips("run", image, *words.split(), *key)
    assert ips("run", image, *words.split(), *key).stdout == done.stdout
    task = client.wait(done.stdout.strip()).task
    assert (
        task.document.items()
        >= {
            "images": [image],
            "batchSize": 2,
            "priority": 7,
            "maxRetries": 1,
            "retryStrategy": "exponential",
            "retryDelay": 2,
            "webhookUrl": "http://127.0.0.1:9",
            "nodeSelector": {"workload": "compute"},
            "matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}],
            "maxFailedNodes": "50%",
            "rollout": "rolling",
            "imagePullPolicy": "Always",
            "pullTimeoutSeconds": 120,
        }.items()
    )
    assert [node.node_name for node in client.task_nodes(task.task_id)] == ["node-2", "node-3"]


def test_dry_run(ips: Ips, client: Client, image: str) -> None:
    """Says what would be sent and how many nodes match, and sends nothing."""
    done = ips("run", image, "-l", "zone in (b),workload", "--dry-run")
    assert done.returncode == 0
    assert f'"{image}"' in done.stdout
    assert f"2 nodes of {NODES} match now.\n2 ready.\n" in done.stdout
    assert all(image not in task.images for task in client.list())


def test_more_than_a_task_may_have(ips: Ips) -> None:
    """Several tasks, said so, waited for as one."""
    images = [unique(f"m{number}") for number in range(51)]
    done = ips("run", *images, "--node", "node-1", "--wait", "-o", "json")
    assert done.returncode == 0
    assert "51 images become 2 tasks of at most 50." in done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert [task["images"] for task in tasks] == [images[:50], images[50:]]
    assert {task["status"] for task in tasks} == {"completed"}


def test_run_that_fails(ips: Ips) -> None:
    """Exit code 1, which nodes, and why."""
    bad = failing()
    done = ips("run", bad, "--wait")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert " failed in " in lines[0]
    assert lines[1].split() == ["NODE", "IMAGE", "REASON", "MESSAGE"]
    assert [line.split()[:3] for line in lines[2:]] == [
        [f"node-{n}", bad, "ImageNotFound"] for n in range(1, NODES + 1)
    ]


# ── wrong input ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "x", "--batch-size", "0"], "--batch-size: "),
        (["run", "x", "--webhook", "ftp://x"], "--webhook: "),
        (["run", "x", "--max-failed", "many"], "--max-failed: "),
        (["nodes", "-l", "a b"], "--selector: "),
        (["show", NO_TASK], f'Task "{NO_TASK}" not found.'),
        (["wait", NO_TASK], f'Task "{NO_TASK}" not found.'),
        (["cancel", NO_TASK], f'Task "{NO_TASK}" not found.'),
    ],
)
def test_what_the_service_refuses(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    """Exit code 2 and the option that is meant; what needs no service is in test_wrong_use."""
    monkeypatch.setenv("IPS_SERVER", service.url)
    code = run(words)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert message in said.err


def test_a_broken_document_among_good_ones(ips: Ips, client: Client, tmp_path: Path) -> None:
    """Named by file, document and line; nothing is submitted, of other files neither."""
    image = unique("good")
    (tmp_path / "good.yaml").write_text(manifest(image))
    (tmp_path / "bad.yaml").write_text(manifest(image) + "---\nkind: [\n---\nkind: Pod\n")
    (tmp_path / "empty").write_text("")
    files = [f"-f{tmp_path / name}" for name in ("good.yaml", "bad.yaml", "empty")]
    done = ips("run", *files)
    assert done.returncode == 2
    assert f"{tmp_path}/bad.yaml, document 3, line 11: " in done.stderr
    assert f"{tmp_path}/empty is empty" in done.stderr
    assert all(image not in task.images for task in client.list())


def test_part_of_the_tasks(ips: Ips, service: Service, between: PutBetween) -> None:
    """When a later task cannot be created, the earlier ones are named."""
    images = [unique(f"m{number}") for number in range(51)]
    proxy = between(service.url, fails_from=2)
    done = ips("run", *images, "--node", "node-1", "--server", proxy.url, "--patience", "0")
    assert done.returncode == 5
    assert "created before that, and going on: task-" in done.stderr


# ── looking ──────────────────────────────────────────────────────────────────────────────────


def test_ls(ips: Ips, client: Client, image: str) -> None:
    """A table for people, the service's own document for programs."""
    task = client.create([image])
    # What other tests have left running would stand before it.
    for unfinished in (task, *client.list("running"), *client.list("pending")):
        client.wait(unfinished.task_id)
    head, first, *_ = ips("ls").stdout.splitlines()
    assert head.split() == ["ID", "STATUS", "NODES", "FAILED", "AGE", "IMAGES"]
    assert first.split()[:4] == [task.task_id, "completed", "3/3", "0"]
    document = json.loads(ips("ls", "--limit", "1", "-o", "json").stdout)
    assert document["tasks"][0]["taskId"] == task.task_id
    assert (document["limit"], document["offset"]) == (1, 0)
    assert yaml.safe_load(ips("ls", "--limit", "1", "-o", "yaml").stdout) == document
    assert ips("ls", "--limit", "1", "-o", "name").stdout == f"{task.task_id}\n"
    assert ips("ls", "--status", "running").stdout == "no tasks\n"
    for _ in range(2):
        client.create([unique("x")])
    everything = json.loads(ips("ls", "--all", "-o", "json").stdout)
    assert len(everything["tasks"]) == everything["total"]


def test_show(ips: Ips, client: Client, image: str) -> None:
    """A task, its nodes, its failures."""
    bad = failing()
    task = client.wait(client.create([image, bad], batch_size=2).task_id).task
    shown = ips("show", task.task_id).stdout
    assert shown.startswith(f"{task.task_id}  failed\n")
    assert re.search(rf"^  images +{re.escape(image)}\n +{re.escape(bad)}$", shown, re.MULTILINE)
    assert json.loads(ips("show", task.task_id, "-o", "json").stdout) == task.document
    nodes = ips("show", task.task_id, "--nodes").stdout.splitlines()
    assert [line.split()[:3] for line in nodes[1::2]] == [
        ["node-1", "failed", "1"],
        ["node-2", "failed", "1"],
        ["node-3", "failed", "2"],
    ]
    failed = ips("show", task.task_id, "--failed").stdout
    assert failed.count("ImageNotFound") == NODES
    assert ips("show", task.task_id, "--failed", "-o", "name").stdout.split() == [
        "node-1",
        "node-2",
        "node-3",
    ]


def test_cancel(ips: Ips, client: Client) -> None:
    """Each is told of; the exit code is the worst."""
    ids = [client.create([unique("x")], node_names=["absent"]).task_id for _ in range(2)]
    done = ips("cancel", ids[0])
    assert (done.returncode, done.stdout) == (0, f"{ids[0]} cancelled\n")
    done = ips("cancel", *ids)
    assert (done.returncode, done.stdout) == (2, f"{ids[1]} cancelled\n")
    assert f"{ids[0]}: The task is already cancelled" in done.stderr
    assert ips("wait", ids[0]).returncode == 3


def test_retry(ips: Ips, client: Client) -> None:
    """A new task for the failed nodes."""
    first = client.wait(client.create([failing()]).task_id).task.task_id
    done = ips("retry", first, "--wait", "-o", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["retryOf"] == first
    again = ips("retry", first, "--all", "-o", "name").stdout.strip()
    assert client.get(again).retry_of == first
    client.wait(again)


def test_nodes(ips: Ips) -> None:
    """The nodes, as the service gives them."""
    assert ips("nodes", "-l", "zone=b", "-o", "name").stdout.split() == ["node-2", "node-3"]
    document = json.loads(ips("nodes", "-o", "json").stdout)
    assert [node["name"] for node in document["nodes"]] == ["node-1", "node-2", "node-3"]
    assert ips("nodes", "-l", "zone=c").stdout == "no nodes\n"
    head, first, *_ = ips("nodes").stdout.splitlines()
    assert head.split()[:4] == ["NAME", "STATE", "RUNTIME", "DRIVER"]
    assert head.split()[4:] == ["FREE", "PULLING", "WHY", "LABELS"]
    assert first.split()[:4] == ["node-1", "ready", "simulated", "simulated"]
    assert first.split()[4:] == ["-", "-", "-", "workload=compute,zone=a"]


def test_audit(ips: Ips, client: Client, image: str) -> None:
    """Who changed what; what was done a moment ago may still be on its way into the store."""
    task = client.create([image], batch_size=1)
    while task.task_id not in (said := ips("audit", "--since", "10m").stdout):
        pass
    [line] = [line for line in said.splitlines() if task.task_id in line]
    assert "(nobody)" in line
    assert "create tasks  201" in line
    assert image in line
    [entry] = [entry for entry in client.audit(limit=1000) if entry.task_id == task.task_id]
    assert (entry.user, entry.way, entry.images) == (None, "none", (image,))
    assert ips("audit", "--user", "somebody else").stdout.strip() == "nothing"


def test_events(ips: Ips, client: Client, image: str) -> None:
    """One line an event, ended by the last."""
    task = client.create([image])
    done = ips("events", task.task_id)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert lines[0][1:] == ["task.created", task.task_id, "1", "image"]
    assert lines[-1][1:] == ["task.completed", task.task_id, "3/3", "nodes"]
    events = [
        json.loads(line)
        for line in ips("events", task.task_id, "-o", "json").stdout.split("\n")
        if line
    ]
    assert [event["type"] for event in events] == [line[1] for line in lines]
    assert events[0]["specversion"] == "1.0"
    documents = yaml.safe_load_all(ips("events", task.task_id, "-o", "yaml").stdout)
    assert list(documents) == events


# ── waiting ──────────────────────────────────────────────────────────────────────────────────


def test_the_worst_code(ips: Ips, client: Client, image: str) -> None:
    """Of several tasks waited for together."""
    good = client.create([image]).task_id
    bad = client.create([failing()]).task_id
    gone = client.create([unique("x")], node_names=["absent"]).task_id
    client.cancel(gone)
    assert ips("wait", good, gone).returncode == 3
    assert ips("wait", good, gone, bad).returncode == 1
    assert ips("wait", good, gone, bad, NO_TASK).returncode == 2


def test_time_limit(ips: Ips, client: Client) -> None:
    """Exit code 4; the task goes on, and its last state is printed."""
    task_id = client.create([unique("x")], node_names=["absent"]).task_id
    # Long enough for one answer on a busy machine; the task lasts until it is cancelled.
    done = ips("wait", task_id, "--timeout", "5", "-o", "json")
    assert done.returncode == 4
    assert f"{task_id} is not over after" in done.stderr
    assert json.loads(done.stdout)["taskId"] == task_id
    assert client.cancel(task_id).status == "cancelled"


def test_server_away(ips: Ips) -> None:
    """Exit code 5, at the start of whatever command."""
    url = f"http://127.0.0.1:{free_port()}"
    for words in (["ls"], ["run", "x", "--wait"], ["wait", NO_TASK], ["events"]):
        done = ips(*words, "--server", url, "--patience", "0.2")
        assert (done.returncode, done.stdout) == (5, "")
        assert f"{url} does not answer: connection refused" in done.stderr


@pytest.mark.parametrize(
    ("says", "code", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\n<", 5, "is this"),
        (
            b"HTTP/1.1 401 U\r\nContent-Length: 0\r\n\r\n",
            5,
            "other credentials go into the address",
        ),
        (b"HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", 5, "where JSON was expected"),
    ],
)
def test_something_else_answers(
    ips: Ips, between: PutBetween, says: bytes, code: int, message: str
) -> None:
    """A page, a gate, another service."""
    for words in (["ls"], ["run", "x", "--wait"], ["wait", NO_TASK], ["events"]):
        done = ips(*words, "--server", between(says=says).url)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr


# ── around ───────────────────────────────────────────────────────────────────────────────────


def test_server_before_the_command(ips: Ips, service: Service) -> None:
    """``--server`` may stand on either side, and counts more than the environment."""
    wrong = {"IPS_SERVER": "http://127.0.0.1:1"}
    assert ips("--server", service.url, "ls", env=wrong).returncode == 0
    assert ips("ls", "--server", service.url, env=wrong).returncode == 0


def test_help(ips: Ips) -> None:
    """Every command has an example."""
    assert ips("--version").stdout == f"ips {__version__}\n"
    top = ips("--help").stdout
    assert "exit codes:" in top
    assert ips().stdout == top
    for command in (
        "run",
        "wait",
        "ls",
        "show",
        "cancel",
        "retry",
        "nodes",
        "events",
        "completion",
    ):
        assert f"  {command} " in top
        assert f"\nexamples:\n  {'source <(' if command == 'completion' else ''}" in (
            ips(command, "--help").stdout
        )


def test_a_reader_that_goes(ips: Ips, client: Client, image: str) -> None:
    """``| head -1`` ends it without a word."""
    task = client.wait(client.create([image]).task_id).task.task_id
    for words in (["ls"], ["nodes", "-o", "json"], ["events", task], ["show", task], ["--help"]):
        with subprocess.Popen(
            ips.command(*words),
            env=ips.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, b"")


@pytest.mark.parametrize(("make", "code"), [(failing, 1), (lambda: unique("x"), 0)])
def test_nobody_looks(ips: Ips, client: Client, make: Callable[[], str], code: int) -> None:
    """Whoever read either output has gone: the exit code is right all the same."""
    task = client.create([make()]).task_id
    with subprocess.Popen(
        ips.command("wait", task),
        env=ips.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(PATIENCE) == code


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(ips: Ips, shell: str) -> None:
    """Is a script that its shell can read."""
    script = ips("completion", shell).stdout
    assert "cancel" in script
    if shutil.which(shell) is None:
        lacking(f"no {shell} here")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ips ca", {"cancel"}),
        ("ips ls --sta", {"--status"}),
        ("ips ls --status can", {"cancelled"}),
        ("ips completion ba", {"bash"}),
        ("ips run -f Makef", {"Makefile"}),
        ("ips run --ca Makef", {"Makefile"}),
        ("ips run --ret", {"--retries", "--retry-strategy", "--retry-delay"}),
    ],
)
def test_completion_completes(ips: Ips, words: str, expected: set[str]) -> None:
    """In bash itself."""
    assert set(completed(ips, words)) == expected


def test_completion_of_ids(ips: Ips, client: Client, image: str) -> None:
    """The service is asked for tasks."""
    task = client.wait(client.create([image]).task_id).task.task_id
    for command in ("wait", "events"):
        assert task in completed(ips, f"ips {command} task-")
        assert completed(ips, f"ips {command} {task[:-1]}") == [task]


def completed(ips: Ips, words: str) -> list[str]:
    """What bash offers for the last word."""
    typed = words.split()
    script = (
        f"{ips('completion', 'bash').stdout}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}\n"
        '_shtab_ips; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=ips.environment({"PATH": path}),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_refusals_in_chinese(ips: Ips) -> None:
    """What the service says is worded in the user's language; what is no sentence is not."""
    env = {"LANG": "zh_CN.UTF-8"}
    gone = ips("show", NO_TASK, env=env)
    assert (gone.returncode, gone.stderr) == (2, f"ips: 没有任务“{NO_TASK}”。\n")
    bad = ips("run", "x", "--batch-size", "0", env=env)
    assert "--batch-size: 应为 1 到 10,000 的整数，而不是 0" in bad.stderr


def test_parts_of_ids_and_other_names(ips: Ips, client: Client, image: str) -> None:
    """The last eight digits are enough; people's other words for a command mean the same."""
    task = client.create([image])
    client.wait(task.task_id)
    whole = ips("show", task.task_id, "-o", "name")
    assert ips("describe", task.task_id[-8:], "-o", "name").stdout == whole.stdout
    assert ips("get", "--image", image, "-o", "name").stdout == whole.stdout
    assert ips("ls", "-q", image.upper(), "--status", "completed,failed").returncode == 0
    assert ips("ls", "--status", "over").returncode == 2
    assert ips("--patience", "1s", "ls", "--since", "1h").returncode == 0
    unknown = ips("show", task.task_id, "--nonsense")
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (
        2,
        "usage: ips show ID [--nodes | --failed] [option …]",
    )
    assert ips("help", "show").stdout.startswith("usage: ips show ID")
    assert ips("version").stdout == ips("--version").stdout


def test_pause_and_resume(ips: Ips, service: Service, client: Client) -> None:
    """What runs goes on, ``ips ls`` says paused, and it ends when it is resumed."""
    held = service.hold()
    task = ips("run", held.image, "--batch-size", "1", "-o", "name").stdout.strip()
    eventually(lambda: client.get(task).progress.pulling_nodes == 1)
    done = ips("pause", task[-8:])
    assert (done.returncode, done.stdout) == (0, f"{task} paused\n")
    assert ips("ls", "-q", task).stdout.splitlines()[1].split()[1] == "paused"
    held.let_go("node-1")
    eventually(lambda: client.get(task).progress.completed_nodes == 1)
    shown = client.get(task)
    assert (shown.status, shown.paused, shown.progress.waiting_nodes) == ("running", True, 2)
    held.let_go()
    assert ips("resume", task).stdout == f"{task} running\n"
    assert ips("wait", task).returncode == 0
    over = ips("pause", task)
    assert over.returncode == 2
    assert "only a running one" in over.stderr


def test_a_second_retry_is_meant(ips: Ips) -> None:
    """Two people in the morning do not both retry; the first task names the second."""
    first = ips("run", failing(), "--wait", "-o", "name").stdout.strip()
    again = ips("retry", first, "-o", "name").stdout.strip()
    assert f"retried as   {again}".split() == [
        word
        for line in ips("show", first).stdout.splitlines()
        if "retried as" in line
        for word in line.split()
    ]
    refused = ips("retry", first)
    assert refused.returncode == 2
    assert again in refused.stderr
    assert ips("retry", first, "--again", "-o", "name").stdout.startswith("task-")
