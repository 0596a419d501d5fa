"""The forms of ``-o``, against a real service."""

from __future__ import annotations

import csv
import io
import json
import subprocess

import pytest

from tests.client.conftest import NODES, Ips, Service

pytestmark = pytest.mark.system


def test_every_list_has_every_form(ips: Ips, image: str) -> None:
    """CSV with the columns of wide, JSONPath as kubectl's, and columns that a program can count."""
    task = ips("run", image, "--wait", "-o", "name").stdout.strip()
    rows = list(csv.DictReader(io.StringIO(ips("ls", "-q", task, "-o", "csv").stdout)))
    assert [(row["ID"], row["IMAGES"], row["PRIORITY"]) for row in rows] == [(task, image, "5")]
    wide = ips("ls", "-q", task, "-o", "wide").stdout.splitlines()
    assert wide[0].split()[:5] == ["ID", "STATUS", "NODES", "FAILED", "AGE"]
    assert "PRIORITY" in wide[0]
    found = ips("nodes", "-o", "jsonpath={.nodes[*].name}").stdout
    assert len(found.split()) == NODES
    nodes = ips("nodes", "-o", "csv").stdout
    assert {row["STATE"] for row in csv.DictReader(io.StringIO(nodes))} == {"ready"}
    places = ips("image", image, "-o", "csv").stdout
    assert {row["STATE"] for row in csv.DictReader(io.StringIO(places))} == {"present"}
    of_task = ips("show", task, "--nodes", "-o", "csv").stdout
    assert len(list(csv.DictReader(io.StringIO(of_task)))) == NODES
    head, *lines = ips("show", task, "--nodes").stdout.splitlines()
    assert {len(line.split("  ")) > 0 and line.split()[0] for line in lines} <= {
        f"node-{number}" for number in range(1, NODES + 1)
    }
    assert "IMAGE-STATE" in head
    assert ips("ls", "-q", "nothing-like-it", "-o", "csv").stdout.startswith("ID,STATUS,")
    assert json.loads(ips("ls", "-q", task, "-o", "json").stdout)["total"] == 1


def test_what_is_no_form(ips: Ips, image: str) -> None:
    """Is said, with exit code 2."""
    task = ips("run", image, "-o", "name").stdout.strip()
    for words in (
        ("ls", "-o", "xml"),
        ("ls", "-o", "jsonpath={.a"),
        ("show", task, "-o", "csv"),
        ("events", task, "-o", "csv"),
    ):
        done = ips(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert done.stderr


def test_a_list_is_watched(ips: Ips, service: Service) -> None:
    """In a pipe, a line for whatever is new; a task is watched until it is over."""
    held = service.hold()
    task = ips("run", held.image, "-o", "name").stdout.strip()
    words = ips.command("ls", "-q", task, "-w")
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env=ips.environment(), text=True
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("ID ")
        assert task in watching.stdout.readline()
        shown = subprocess.Popen(
            ips.command("show", task, "-w"),
            stdout=subprocess.PIPE,
            env=ips.environment(),
            text=True,
        )
        held.let_go()
        while "completed" not in (line := watching.stdout.readline()):
            assert line
        watching.terminate()
    told, _ = shown.communicate(timeout=60)
    assert f"{task}  completed" in told
    assert shown.returncode == 0
