"""A config.json as it may be found on a node, and what it opens."""

from __future__ import annotations

import json
import logging
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from agent.credentials import FILE_LIMIT, Keyring
from agent.runtime.protocol import PullFailed
from common.reasons import Reason

pytestmark = pytest.mark.pure

IMAGE = "registry.example.com:5000/team/app:1"


def entry(login: str) -> dict[str, str]:
    """Write an entry as Docker does, for a user name, or for one with a password after a colon."""
    username, _, password = login.partition(":")
    return {"auth": b64encode(f"{username}:{password or 's3cret'}".encode()).decode()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "config.json"


def users(path: Path, image: str, **auths: Any) -> list[str]:
    """Write entries and list who is tried for an image."""
    path.write_text(json.dumps({"auths": auths}))
    return [found.username for found in Keyring(path).lookup(image)]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("registry.example.com:5000", IMAGE),
        ("https://registry.example.com:5000", IMAGE),
        ("http://registry.example.com:5000/", IMAGE),
        ("https://registry.example.com:5000/v2/", IMAGE),
        ("https://registry.example.com:5000/v1/", IMAGE),
        ("registry.example.com:5000/team", IMAGE),
        ("registry.example.com:5000/team/app", IMAGE),
        ("registry.example.com:5000/v2/team", IMAGE),
        ("*.example.com:5000", IMAGE),
        ("registry.*.com:5000", IMAGE),
        ("reg*.ex?mple.com:5000", IMAGE),
        ("*.*.com:5000/team", IMAGE),
        ("registry.example.com", "registry.example.com/app"),
        ("registry.example.com", "registry.example.com/app@sha256:" + "0" * 64),
        ("localhost", "localhost/app"),
        ("[::1]:5000", "[::1]:5000/app"),
        ("https://index.docker.io/v1/", "nginx"),
        ("https://index.docker.io/v1/", "docker.io/library/nginx:1"),
        ("index.docker.io", "team/app"),
        ("docker.io", "nginx"),
        ("docker.io/team", "docker.io/team/app"),
    ],
)
def test_an_entry_matches(path: Path, name: str, image: str) -> None:
    """What the kubelet takes for a match is one."""
    assert users(path, image, **{name: entry("me")}) == ["me"]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("registry.example.com", IMAGE),
        ("registry.example.com:5001", IMAGE),
        ("registry.example.com:*", IMAGE),
        ("example.com:5000", IMAGE),
        ("*.com:5000", IMAGE),
        ("*:5000", IMAGE),
        ("other.example.com:5000", IMAGE),
        ("registry.example.com:5000/other", IMAGE),
        ("registry.example.com:5000/team/app/deeper", IMAGE),
        ("registry.example.com:5000/*/app", IMAGE),
        ("registry[!1].example.com", "registry2.example.com/app"),
        ("registr[y].example.com:5000", IMAGE),
        ("registr\\y.example.com:5000", IMAGE),
        ("*].example.com:5000", IMAGE),
        ("https://index.docker.io/v1/", IMAGE),
        ("registry-1.docker.io", "nginx"),
        ("", IMAGE),
        ("registry.example.com:5000:1", IMAGE),
    ],
)
def test_an_entry_does_not_match(path: Path, name: str, image: str) -> None:
    """Globs span one label of a host; ports and paths have none."""
    assert users(path, image, **{name: entry("me")}) == []


def test_the_more_specific_is_tried_first(path: Path) -> None:
    """Everything that matches is a candidate, in the kubelet's order."""
    found = users(
        path,
        IMAGE,
        **{
            "*.example.com:5000": entry("glob"),
            "registry.example.com:5000": entry("host"),
            "https://registry.example.com:5000": entry("host again"),
            "registry.example.com:5000/team/app": entry("path"),
            "registry.example.com:5000/team": entry("shorter path"),
        },
    )
    assert found == ["path", "shorter path", "host", "host again", "glob"]


def test_credentials_are_for_the_image_s_registry(path: Path) -> None:
    """A glob opens one registry at a time."""
    path.write_text(json.dumps({"auths": {"*.example.com:5000": entry("me:a:b")}}))
    [found] = Keyring(path).lookup(IMAGE)
    assert (found.registry, found.username, found.password) == (
        "registry.example.com:5000",
        "me",
        "a:b",
    )


def test_username_and_password_may_stand_for_themselves(path: Path) -> None:
    """A config.json written by hand need not be base64."""
    plain = {"username": "me", "password": "s3cret"}
    assert users(path, IMAGE, **{"registry.example.com:5000": plain}) == ["me"]


def test_padding_may_be_left_out(path: Path) -> None:
    """Go and the kubelet read both forms of base64."""
    bare = {"auth": b64encode(b"me:s3cret!").decode().rstrip("=")}
    assert users(path, IMAGE, **{"registry.example.com:5000": bare}) == ["me"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_of_base64_may_be_broken(path: Path, ending: str) -> None:
    """``base64`` breaks them after 76 characters; Docker and the kubelet do not mind."""
    auth = b64encode(b"me:" + b"s3cret" * 30).decode()
    lines = [auth[at : at + 76] for at in range(0, len(auth), 76)]
    assert len(lines) > 2
    broken = {"auth": ending.join([*lines, ""])}
    path.write_text(json.dumps({"auths": {"registry.example.com:5000": broken}}))
    [found] = Keyring(path).lookup(IMAGE)
    assert (found.username, found.password) == ("me", "s3cret" * 30)


@pytest.mark.parametrize(
    "content",
    [
        {"registry.example.com:5000": entry("me")},
        {"https://registry.example.com:5000/v1/": entry("me"), "credsStore": ""},
        {"*.example.com:5000": entry("me"), "HttpHeaders": {"auth": "x"}, "psFormat": "table"},
        {"Auths": {"registry.example.com:5000": {"Auth": entry("me")["auth"]}}},
        {"auths": {"registry.example.com:5000": {**entry("me"), "email": None, "password": None}}},
    ],
    ids=["old", "address", "settings", "capitals", "null"],
)
def test_files_of_other_times(path: Path, content: dict[str, Any]) -> None:
    """A ``.dockercfg`` holds the entries themselves; Go does not mind capitals, nor null."""
    path.write_text(json.dumps(content))
    assert [found.username for found in Keyring(path).lookup(IMAGE)] == ["me"]


def test_with_auths_nothing_else_is_an_entry(path: Path) -> None:
    """As the kubelet reads it."""
    other = {"registry.example.com:5000": entry("me")}
    path.write_text(json.dumps({"auths": {}, **other}))
    assert Keyring(path).lookup(IMAGE) == []


NOBODY = {"auth": b64encode(b"00000000-0000-0000-0000-000000000000:").decode()}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"identitytoken": "t0ken"}, [("", "t0ken", "")]),
        ({**NOBODY, "identitytoken": "t0ken"}, [("", "t0ken", "")]),
        ({**entry("me"), "identitytoken": "t0ken"}, [("me", "", ""), ("", "t0ken", "")]),
        ({"registrytoken": "t0ken"}, [("", "", "t0ken")]),
    ],
    ids=["identity", "nobody", "both", "registry"],
)
def test_tokens_are_read(path: Path, value: object, found: list[tuple[str, str, str]]) -> None:
    """What the kubelet would take comes first; of a user name that is nobody's, nothing."""
    path.write_text(json.dumps({"auths": {"registry.example.com:5000": value}}))
    keys = Keyring(path).lookup(IMAGE)
    assert [(key.username, key.identity_token, key.registry_token) for key in keys] == found
    assert "t0ken" not in repr(keys)


UNUSABLE: list[tuple[Any, str]] = [
    ({"auth": "%%%s3cret"}, "base64"),
    ({"auth": b64encode(b"\xff\xfes3cret:").decode()}, "base64"),
    ({"auth": b64encode(b"s3cret").decode()}, "username:password"),
    ({"auth": 5}, "form"),
    ("s3cret", "form"),
    (None, "form"),
]


@pytest.mark.parametrize(("value", "word"), UNUSABLE)
def test_unusable_credentials_are_a_failure_that_says_why(
    path: Path, value: object, word: str
) -> None:
    """An administrator meant them for this image: a 401 would send them to look elsewhere."""
    with pytest.raises(PullFailed) as failed:
        users(path, IMAGE, **{"registry.example.com:5000": value})
    assert failed.value.reason is Reason.UNAUTHORIZED
    assert str(path) in failed.value.message
    assert "'registry.example.com:5000'" in failed.value.message
    assert word in failed.value.message
    assert "s3cret" not in failed.value.message
    assert "t0ken" not in failed.value.message


def test_an_entry_in_another_encoding_is_unusable(path: Path) -> None:
    """A password in Latin-1 is no JSON; it spoils its own entry and nothing else."""
    path.write_bytes(
        b'{"auths": {"registry.example.com:5000": {"username": "p", "password": "\xe4"}}}'
    )
    with pytest.raises(PullFailed, match="form"):
        Keyring(path).lookup(IMAGE)


def test_what_is_usable_beside_it_is_used(path: Path) -> None:
    """One bad entry spoils no other."""
    bad = {"auth": "%%%s3cret"}
    auths = {"registry.example.com:5000": bad, "*.example.com:5000": entry("me")}
    assert users(path, IMAGE, **auths) == ["me"]


def test_what_cannot_be_used_is_named(path: Path) -> None:
    """By its key in the file, without what is in it or before its host."""
    auths = {
        "https://me:s3cret@registry.example.com:5000": {"auth": "%%%s3cret"},
        "*.example.com:5000": entry("me"),
        "other.example.com": {"auth": 5},
    }
    path.write_text(json.dumps({"auths": auths}))
    keyring = Keyring(path)
    assert len(keyring.lookup(IMAGE)) == 1
    said = keyring.complaint(IMAGE)
    assert said.startswith(f"{path}: the entry 'https://***@registry.example.com:5000' has an auth")
    assert "s3cret" not in said
    assert "other.example.com" not in said
    assert keyring.complaint("elsewhere.example.com/app") == keyring.complaint("NO image") == ""


def test_an_empty_entry_is_none(path: Path) -> None:
    """Docker leaves one where a credential helper has the rest."""
    assert users(path, IMAGE, **{"registry.example.com:5000": {}}) == []


def test_without_a_file_there_are_none() -> None:
    """The setting is optional."""
    assert Keyring(None).lookup(IMAGE) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"auths": 5}',
        b"\x00",
        b'{"auths": {"r\xe4": {}}}',
        b'{"x":' + b"[" * 10_000,
    ],
)
def test_a_broken_file_is_logged_once_and_taken_for_none(
    path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Public images can be pulled all the same."""
    path.write_bytes(data)
    keyring = Keyring(path)
    assert keyring.lookup(IMAGE) == keyring.lookup(IMAGE) == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_what_is_no_file_is_not_opened(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe would be waited for without end; so would a file without one be read."""
    os.mkfifo(path)
    assert Keyring(path).lookup(IMAGE) == []
    path.unlink()
    with path.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    assert Keyring(path).lookup(IMAGE) == []
    assert ["no registry credentials" in record.message for record in caplog.records] == [True] * 2


def test_the_file_may_appear_change_and_vanish(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each lookup sees the file as it is then; Kubernetes replaces a Secret's by a rename."""
    keyring = Keyring(path)
    assert keyring.lookup(IMAGE) == keyring.lookup(IMAGE) == []
    assert len(caplog.records) == 1
    for user in ("first", "other"):
        replacement = path.with_name("new")
        replacement.write_text(json.dumps({"auths": {"registry.example.com:5000": entry(user)}}))
        replacement.rename(path)
        assert [found.username for found in keyring.lookup(IMAGE)] == [user]
    path.unlink()
    assert keyring.lookup(IMAGE) == []


def test_changes_of_the_file_are_counted(path: Path) -> None:
    """From the first reading on, whoever looks, and where it vanishes, too."""
    keyring = Keyring(path)
    assert Keyring(None).changes == keyring.changes == 0
    path.write_text("{}")
    assert keyring.changes == 1
    keyring.lookup(IMAGE)
    assert keyring.changes == 1
    path.unlink()
    assert keyring.changes == 2


def test_a_malformed_image_has_no_credentials(path: Path) -> None:
    """The runtime will say what is wrong with it."""
    assert users(path, "NO image", **{"registry.example.com:5000": entry("me")}) == []


def test_passwords_are_in_no_repr(path: Path) -> None:
    """Whatever logs an object logs no secret."""
    path.write_text(json.dumps({"auths": {"registry.example.com:5000": entry("me")}}))
    keyring = Keyring(path)
    shown = f"{keyring.lookup(IMAGE)!r} {vars(keyring)!r}"
    assert "s3cret" not in shown
    assert "me:" not in shown
