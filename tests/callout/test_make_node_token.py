"""``scripts/make-node-token``, with a coordinator that says what it is told to."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/make-node-token"
ISSUER = "A" + "B" * 55
TOKEN = "ips-join.node.node-1.x.y"
COORDINATOR = f"""#!/bin/sh
while [ "$1" != coordinator ]; do shift; done
case "$FAILS" in *"$2"*) echo "no image" >&2; exit 3 ;; esac
case "$EMPTY" in *"$2"*) exit 0 ;; esac
case "$2" in
    credentials-key) echo "$3" >>"$MADE" ;;
    callout-key) echo '  "issuer": "{ISSUER}"' ;;
    join-token) echo "{TOKEN}" ;;
esac
"""
GREP = """#!/bin/sh
echo "$@" >>"$SEEN"
exec /usr/bin/env -u PATH PATH="$REAL_PATH" grep "$@"
"""


class Host:
    """A tree with the script, a ``.env`` and programs of our own."""

    def __init__(self, folder: Path) -> None:
        self.env = folder / ".env"
        self.seen = folder / "seen"
        (folder / "scripts").mkdir()
        (folder / "bin").mkdir()
        shutil.copy(SCRIPT, folder / "scripts")
        self.env.write_text("IPS_NATS_TOKEN=t1\n")
        for name, text in (("compose", COORDINATOR), ("grep", GREP)):
            program = folder / "bin" / name
            program.write_text(text)
            program.chmod(0o755)
        self._folder = folder

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        bins, path = self._folder / "bin", os.environ["PATH"]
        given = {
            "PATH": f"{bins}:{path}",
            "REAL_PATH": path,
            "SEEN": str(self.seen),
            "COMPOSE": str(bins / "compose"),
            "IPS_NODE_NAME": "node-1",
            "MADE": str(self._folder / "made"),
            "FAILS": "",
            "EMPTY": "",
            **environment,
        }
        script = self._folder / "scripts/make-node-token"
        return subprocess.run([script], env=given, capture_output=True, text=True, check=False)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Of compose."""
    return Host(tmp_path)


def test_it_writes_issuer_and_token_once_and_shows_neither(host: Host) -> None:
    """To no program as an argument, to nobody else as a file."""
    for _ in range(2):
        assert host.run().returncode == 0
    key = "IPS_CREDENTIALS_KEY_FILE=/var/lib/ips/credentials-key"
    wanted = f"IPS_NATS_TOKEN=t1\nIPS_NATS_ISSUER={ISSUER}\n{key}\nIPS_AGENT_TOKEN={TOKEN}\n"
    assert host.env.read_text() == wanted
    assert stat.S_IMODE(host.env.stat().st_mode) == 0o600
    assert TOKEN not in host.seen.read_text()


@pytest.mark.parametrize("how", ["FAILS", "EMPTY"])
@pytest.mark.parametrize("what", ["callout-key", "join-token"])
def test_a_failure_is_its_own_and_writes_no_token(host: Host, how: str, what: str) -> None:
    """An agent with an empty token would be kept out, and nobody would know why."""
    done = host.run(**{how: what})
    assert done.returncode != 0
    assert done.stderr
    assert "IPS_AGENT_TOKEN" not in host.env.read_text()


def test_the_key_of_credentials_is_named_once_it_is_there(host: Host, tmp_path: Path) -> None:
    """A coordinator that is told of a file that is not there does not start."""
    assert host.run(FAILS="credentials-key").returncode != 0
    assert "IPS_CREDENTIALS_KEY_FILE" not in host.env.read_text()
    assert host.run().returncode == 0
    named = [line for line in host.env.read_text().splitlines() if "CREDENTIALS_KEY" in line]
    assert named == [f"IPS_CREDENTIALS_KEY_FILE={(tmp_path / 'made').read_text().strip()}"]
