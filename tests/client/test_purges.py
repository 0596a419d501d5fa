"""``ips purge`` and ``ips delete set --purge``, on a real service with three nodes."""

from __future__ import annotations

import json
import secrets

import pytest
from ips_client import Client

from tests.client.conftest import NODES, Ips

pytestmark = pytest.mark.system


def test_purge(ips: Ips, client: Client, image: str) -> None:
    """First what would be removed, then it is, then nothing is there any more."""
    client.wait(client.create([image]).task_id)
    would = ips("purge", image, "--all-nodes", "--dry-run")
    assert would.returncode == 0
    assert f"{NODES} would be removed" in would.stdout
    done = ips("purge", image, "--all-nodes", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["state"], found["imageCounts"]["removed"]) == ("finished", NODES)
    assert (
        f"0 removed (0 B), 0 kept, {NODES} not there" in ips("purge", image, "--all-nodes").stdout
    )
    again = ips("purge", found["purgeId"])
    assert f"{found['purgeId']} finished: {NODES} removed" in again.stdout
    no_nodes = ips("purge", image)
    assert (no_nodes.returncode, no_nodes.stdout) == (2, "")
    assert "say which nodes" in no_nodes.stderr


def test_what_a_set_wants_is_kept_until_it_goes(ips: Ips, client: Client, image: str) -> None:
    """The command says by which set's image it is kept; with the set it goes."""
    name = f"p{secrets.token_hex(6)}"
    client.put_set(name, [image])
    client.wait_set(name)
    kept = ips("purge", image, "--all-nodes")
    assert kept.returncode == 0
    assert f"{image} kept on {NODES} nodes" in kept.stdout
    assert "Wanted" in kept.stdout
    gone = ips("delete", "set", name, "--purge")
    assert gone.returncode == 0
    assert f"{NODES} removed" in gone.stdout
