"""Contexts of ``ips``: which server is asked, with which credentials."""

from __future__ import annotations

import json
import stat
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from ips_client.command import contexts
from ips_client.command.arguments import parse
from ips_client.command.connection import as_options, connect, settings
from ips_client.command.program import run

pytestmark = pytest.mark.pure


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is; nothing else of the environment names a server."""
    for name in ("IPS_SERVER", "IPS_TOKEN", "IPS_TOKEN_FILE", "IPS_CONTEXT", "IPS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "ips" / "config.yaml"


def config(*words: str) -> None:
    """``ips config …``."""
    arguments = parse(["config", *words])
    assert arguments.handler()(arguments) == 0


def applied(*words: str) -> Namespace:
    """A command line, with what its context says."""
    arguments = parse(words)
    contexts.apply(arguments)
    return arguments


def token_of(arguments: Namespace) -> Any:
    """What is sent to the server."""
    token = settings(arguments)["token"]
    return token() if callable(token) else token


@pytest.fixture
def two(tmp_path: Path) -> None:
    """Two contexts, each with a token; the first is current."""
    for name in ("prod", "test"):
        secret = tmp_path / f"{name}.token"
        secret.write_text(f"{name}-token\n")
        server = f"https://{name}.example"
        config("set-context", name, "--server", server, "--token-file", str(secret))


@pytest.mark.usefixtures("two")
def test_which_server_is_asked_and_what_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context counts as a whole; whoever names another server sends it nothing of one."""
    current = applied("ls")
    assert (current.server, token_of(current)) == ("https://prod.example", "prod-token")
    assert as_options(current) == []
    for words in (("ls", "--context", "test"), ("--context", "test", "ls")):
        chosen = applied(*words)
        assert (chosen.server, token_of(chosen)) == ("https://test.example", "test-token")
        assert as_options(chosen) == ["--context", "test"]
    other = applied("ls", "--server", "https://evil.example")
    assert (other.server, token_of(other)) == ("https://evil.example", None)
    monkeypatch.setenv("IPS_CONTEXT", "test")
    assert token_of(applied("ls")) == "test-token"
    monkeypatch.setenv("IPS_SERVER", "https://env.example")
    env = applied("ls")
    assert (env.server, token_of(env)) == ("https://env.example", None)
    assert applied("ls", "--context", "prod").server == "https://prod.example"
    assert token_of(applied("ls", "--context", "prod", "--token", "own")) == "own"


def test_no_credentials_of_the_environment_go_to_a_contexts_server(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only ``--token`` does; a password in the context's own address is no contradiction to it."""
    config("set-context", "open", "--server", "https://open.example")
    monkeypatch.setenv("IPS_TOKEN", "of-the-environment")
    assert token_of(applied("ls")) is None
    assert token_of(applied("ls", "--context", "open")) is None
    assert token_of(applied("ls", "--token", "own")) == "own"
    monkeypatch.delenv("IPS_TOKEN")
    monkeypatch.setenv("IPS_TOKEN_FILE", "of-the-environment")
    assert token_of(applied("ls")) is None
    file.write_text("current: a\ncontexts: {a: {server: 'https://me:secret@own.example'}}\n")
    monkeypatch.setenv("IPS_TOKEN", "of-the-environment")
    connect(applied("ls")).close()
    assert token_of(applied("ls", "--server", "https://open.example", "--token", "x")) == "x"


def test_another_server_of_a_context_gets_nothing_of_the_old_one() -> None:
    """Neither its token, its certificate nor its trust, unless that is said again."""
    files = ("--token-file", "t", "--cert", "c", "--key", "k", "--ca", "a")
    config("set-context", "a", "--server", "https://old.example", *files, "--insecure")
    config("set-context", "a", "--server", "https://old.example")
    assert contexts.load().contexts["a"].token_file.endswith("/t")
    config("set-context", "a", "--server", "https://new.example", "--cert", "d")
    moved = contexts.load().contexts["a"]
    assert (moved.server, moved.token_file, moved.key) == ("https://new.example", "", "")
    assert moved.cert.endswith("/d")
    assert moved.insecure is False


@pytest.mark.parametrize(
    ("server", "words", "expected"),
    [
        (None, (), []),
        (None, ("--context", "a"), ["--context", "a"]),
        (None, ("--ca", "b.pem", "--insecure"), ["--ca", "b.pem", "--insecure"]),
        (None, ("--server", "localhost:8080"), ["--server", "http://localhost:8080"]),
        ("https://me:pw@b.example", (), []),
        ("https://me:pw@b.example", ("--server", "b.example"), ["--server", "http://b.example"]),
        ("https://b.example", ("--server", "c.example"), ["--server", "http://c.example"]),
    ],
)
def test_the_way_back_names_the_same_server(
    monkeypatch: pytest.MonkeyPatch, server: str | None, words: tuple[str, ...], expected: list[str]
) -> None:
    """The default one, too, where an option named it: else the current context would count."""
    config("set-context", "a", "--server", "https://a.example")
    if server is not None:
        monkeypatch.setenv("IPS_SERVER", server)
    assert as_options(applied("ls", *words)) == expected
    monkeypatch.delenv("IPS_SERVER", raising=False)
    monkeypatch.setenv("IPS_CONTEXT", "a")
    assert as_options(applied("ls")) == ["--context", "a"]


def test_a_certificate_that_is_named_is_not_mixed_with_a_contexts_key() -> None:
    """The pair is one's own or the context's."""
    config("set-context", "a", "--server", "https://a.example", "--cert", "c", "--key", "k")
    assert applied("ls").key.endswith("/k")
    assert applied("ls", "--cert", "both.pem").key is None


@pytest.mark.usefixtures("two")
def test_what_cannot_be_meant() -> None:
    """Is said, and nothing is asked."""
    for words, why in (
        (("ls", "--context", "nope"), "no context 'nope'"),
        (("ls", "--context", "test", "--server", "http://x"), "two servers"),
    ):
        with pytest.raises(ValueError, match=why):
            applied(*words)
    for action in (["use-context", "nope"], ["delete-context", "nope"], ["use-context"]):
        with pytest.raises(ValueError, match=r"nope|NAME"):
            config(*action)
    with pytest.raises(ValueError, match="--server"):
        config("set-context", "new", "--ca", "x")


@pytest.mark.usefixtures("two")
def test_contexts_are_listed_changed_and_deleted(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is its owner's alone, and holds no token."""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "prod-token" not in file.read_text()
    config("use-context", "test")
    config("set-context", "test", "--insecure")
    config("get-contexts", "-o", "json")
    listed = json.loads(capsys.readouterr().out)
    assert listed["current"] == "test"
    assert listed["contexts"]["test"]["server"] == "https://test.example"
    assert applied("ls").insecure is True
    config("delete-context", "test")
    with pytest.raises(ValueError, match="current"):
        config("current-context")
    config("get-contexts", "-o", "name")
    assert capsys.readouterr().out == "prod\n"
    config("get-contexts", "-o", "csv")
    assert capsys.readouterr().out.startswith("CURRENT,NAME,SERVER,TOKEN-FILE\n-,prod,")


@pytest.mark.parametrize(
    "server",
    ["https://me:hunter2@ips.example", "https://hunter2@ips.example", "me:hunter2@ips.example"],
)
def test_a_password_is_neither_stored_nor_shown(
    file: Path, capsys: pytest.CaptureFixture[str], server: str
) -> None:
    """It is refused with what goes in its place; one that was written by hand is hidden."""
    with pytest.raises(ValueError, match="--token-file") as refused:
        config("set-context", "a", "--server", server)
    assert "hunter2" not in str(refused.value)
    assert not file.exists()
    file.parent.mkdir(parents=True)
    file.write_text(f"contexts: {{a: {{server: '{server}'}}}}\n")
    for form in ("table", "json", "yaml", "csv", "jsonpath={.contexts}"):
        config("get-contexts", "-o", form)
        shown = capsys.readouterr().out
        assert "ips.example" in shown
        assert "hunter2" not in shown
    config("use-context", "a")
    assert "hunter2" in file.read_text()


@pytest.mark.parametrize(
    "server", ["ftp://x", "https://", "https://x:port", "https://x/?q", "http://[x"]
)
def test_an_address_that_is_none_is_refused_where_it_is_said(file: Path, server: str) -> None:
    """Not by every command after it."""
    with pytest.raises(ValueError, match=r"is no address|must end before"):
        config("set-context", "a", "--server", server)
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    ["[", "contexts: 7", "contexts: {a: {}}", "contexts: {a: {server: x, token: secret}}", "- a"],
)
def test_a_file_that_is_none(file: Path, text: str) -> None:
    """Is named in the error; a token in it is none of its fields."""
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ValueError, match=str(file)):
        applied("ls")


def test_completion_needs_no_context(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks no server: a file that is broken must not end every shell's start with an error."""
    file.parent.mkdir(parents=True)
    file.write_text("[")
    assert run(["completion", "bash"]) == 0
    assert "ips" in capsys.readouterr().out
    assert run(["ls"]) == 2


def test_without_a_file_all_is_as_before() -> None:
    """The client's own server, and nobody's token."""
    plain = applied("ls")
    assert plain.server is None
    assert token_of(plain) is None
