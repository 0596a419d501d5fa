"""``ips credentials`` and the client's methods, against a real service with a key."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ips_client import NotFound

from sandbox.programs import Coordinator
from tests.client.conftest import Ips
from tests.client.faces import MakeFace

pytestmark = pytest.mark.system

SECRET = "s3cret-8d2f"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A coordinator that can seal; its address."""
    with TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_text(base64.b64encode(bytes(32)).decode())
        settings = {"IPS_CREDENTIALS_KEY_FILE": str(key)}
        coordinator = Coordinator(Path(folder), settings, forked=True)
        coordinator.start()
        try:
            asyncio.run(coordinator.ready())
            yield coordinator.url
        finally:
            asyncio.run(coordinator.kill())


def test_both_faces(server: str, face: MakeFace) -> None:
    """Put, listed, deleted; nothing that comes back holds the secret."""
    made = face(server)
    put = made.do("put_credential", "one", "reg.example", username="ci", password=SECRET)
    assert (put.name, put.registry, put.kind, put.username) == (
        "one",
        "reg.example",
        "password",
        "ci",
    )
    token = made.do("put_credential", "two", "docker.io", token=SECRET)
    assert (token.kind, token.username) == ("token", None)
    listed = made.do("credentials")
    assert [each.name for each in listed] == ["one", "two"]
    assert SECRET not in str([each.document for each in (put, token, *listed)])
    for name in ("one", "two"):
        made.do("delete_credential", name)
    with pytest.raises(NotFound):
        made.do("delete_credential", "one")


def test_the_command(server: str, tmp_path: Path) -> None:
    """The secret comes from standard input or a file, and is shown nowhere."""
    ips = Ips(server)
    words = ("credentials", "set", "shop", "--registry", "reg.example", "--username", "ci")
    stored = ips(*words, stdin=f"{SECRET}\n".encode())
    assert (stored.returncode, stored.stdout) == (0, "credentials/shop stored\n")
    file = tmp_path / "token"
    file.write_text(SECRET)
    again = ips(
        "credentials",
        "set",
        "shop",
        "--registry",
        "docker.io",
        "--identity-token",
        "--secret-file",
        str(file),
    )
    listed = ips("credentials")
    assert listed.stdout.splitlines()[1].split()[:3] == ["shop", "docker.io", "token"]
    assert ips("credentials", "-o", "name").stdout == "shop\n"
    assert SECRET not in "".join(
        run.stdout + run.stderr for run in (stored, again, listed, ips("credentials", "-o", "json"))
    )
    gone = ips("credentials", "delete", "shop", "none")
    assert (gone.returncode, gone.stdout) == (2, "credentials/shop deleted\n")
    assert "no credential none" in gone.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("set", "shop", "--registry", "reg.example"),
        ("set", "shop", "--username", "ci"),
        ("set", "--registry", "reg.example", "--identity-token"),
        ("set", "shop", "--registry", "reg.example", "--identity-token", "--username", "ci"),
        (
            "set",
            "shop",
            "--registry",
            "reg.example",
            "--identity-token",
            "--secret-file",
            "/no/such",
        ),
        ("delete",),
        ("list", "shop"),
    ],
)
def test_wrong_use(server: str, words: tuple[str, ...]) -> None:
    """Said before anything is sent, and without what was read."""
    refused = Ips(server)("credentials", *words, stdin=SECRET.encode())
    assert refused.returncode == 2
    assert SECRET not in refused.stderr


def test_nothing_to_read(server: str) -> None:
    """An empty secret is none."""
    refused = Ips(server)(
        "credentials", "set", "shop", "--registry", "reg.example", "--identity-token", stdin=b"\n"
    )
    assert (refused.returncode, "no password or token" in refused.stderr) == (2, True)
