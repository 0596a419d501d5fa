"""What is where, as ``ips`` tells it, against a real service."""

from __future__ import annotations

import json

import pytest

from tests.client.conftest import NODES, Ips
from tests.client.images import failing, unique

pytestmark = pytest.mark.system


def test_what_is_on_a_node(ips: Ips, image: str) -> None:
    """Its facts, its images with the task that brought each, and what tasks did there."""
    task = ips("run", image, "--wait", "-o", "name").stdout.strip()
    bad = ips("run", failing("image-not-found"), "--wait", "-o", "name").stdout.strip()
    done = ips("node", "node-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("node-1  ready\n")
    (brought,) = (line for line in done.stdout.splitlines() if image in line and "sha256:" in line)
    assert task in brought
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows[task][1] == "succeeded"
    assert "ImageNotFound" in rows[bad]
    document = json.loads(ips("node", "node-1", "-o", "json").stdout)
    tags = [tag for each in document["images"] for tag in each["tags"]]
    assert any(image in tag for tag in tags)
    assert {task, bad} <= {each["taskId"] for each in document["history"]}
    listed = ips("ls", "--node", "node-1", "--image", image, "-o", "name")
    assert listed.stdout.split() == [task]


def test_a_node_that_nobody_knows(ips: Ips) -> None:
    """Is named in the error."""
    done = ips("node", "nope")
    assert done.returncode != 0
    assert "nope" in done.stderr


def test_where_an_image_is(ips: Ips) -> None:
    """Counted where it is, listed where not; and which nodes lack it, for a script."""
    image = unique("where")
    task = ips("run", image, "--node", "node-2", "--wait", "-o", "name").stdout.strip()
    done = ips("image", image)
    assert done.returncode == 0
    assert f"1 present, {NODES - 1} unknown" in done.stdout
    assert "1 node\n" in done.stdout
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.split()}
    assert "node-2" not in rows
    assert rows["node-1"][1] == "unknown"
    assert rows[task][1] == "completed"
    lacking = ips("image", image, "--state", "failed,absent,unknown", "-o", "name")
    assert lacking.stdout.split() == ["node-1", "node-3"]
    document = json.loads(ips("image", image, "--nodes", "-o", "json").stdout)
    assert [each["state"] for each in document["nodes"]] == ["unknown", "present", "unknown"]
    assert document["history"][0]["pulledNodes"] == 1
    assert ips("image", "not an image").returncode != 0
    assert "gone" in ips("image", image, "--state", "gone").stderr


def test_which_images_are_known(ips: Ips, image: str) -> None:
    """By a part of their names."""
    ips("run", image, "--wait")
    part = image.rpartition("/")[2].partition(":")[0]
    assert image in ips("images", part, "-o", "name").stdout.split()
    assert ips("images", "nothing-like-it").stdout == "no images\n"
