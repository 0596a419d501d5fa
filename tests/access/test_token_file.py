from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordinator.access.callers import Caller, UnknownCredentialError, Way
from coordinator.access.token_file import TokenFile, hash_of, line, new_token
from coordinator.access.watched_file import FileError
from tests.fixtures.main_program import call

TOKEN = "token-of-ann-" + "x" * 32


def write(path: Path, *lines: str) -> Path:
    """A file that is seen to be another one, however fast it is written."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, ns=(before + 10**9, before + 10**9))
    return path


def test_a_token_is_known_by_its_line(tmp_path: Path) -> None:
    """With its holder's name and groups; the file holds no token."""
    path = write(tmp_path / "t", "# people", "", line(TOKEN, "ann", ("ops", "qa")))
    assert TOKEN not in path.read_text()
    tokens = TokenFile(path)
    assert tokens.identify(TOKEN) == Caller(user="ann", groups=("ops", "qa"), way=Way.TOKENS)
    for other in ("", TOKEN[:-1], f"{TOKEN} ", hash_of(TOKEN), "\udcff"):
        with pytest.raises(UnknownCredentialError):
            tokens.identify(other)


def test_the_file_is_read_anew_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that was taken out is nobody's at once; a bad file leaves the last good one."""
    path = write(tmp_path / "t", line(TOKEN, "ann", ()))
    tokens, other = TokenFile(path), new_token()
    write(path, line(other, "bob", ()))
    assert tokens.identify(other).user == "bob"
    with pytest.raises(UnknownCredentialError):
        tokens.identify(TOKEN)
    write(path, line(TOKEN, "ann", ()), f"{TOKEN} ann ops")
    for _ in range(3):
        assert tokens.identify(other).user == "bob"
    assert [record.message for record in caplog.records].count(
        "a file is not taken; the last good one stays"
    ) == 1
    assert TOKEN not in caplog.text
    path.unlink()
    assert tokens.identify(other).user == "bob"
    write(path, line(TOKEN, "ann", ()))
    assert tokens.identify(TOKEN).user == "ann"


@pytest.mark.parametrize(
    "text",
    [
        f"{TOKEN} ann ops",
        "sha256:00 ann",
        hash_of(TOKEN),
        f"{hash_of(TOKEN)} ann a b",
        f"{hash_of(TOKEN)} ann ,",
        f"{hash_of(TOKEN)} {'a' * 300}",
        f"{hash_of(TOKEN)} a\n{hash_of(TOKEN)} b",
    ],
)
def test_a_bad_file_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    """A line that is wrong may be a token itself."""
    with pytest.raises(FileError) as refused:
        TokenFile(write(tmp_path / "t", text))
    assert TOKEN not in str(refused.value)
    assert str(tmp_path / "t") in str(refused.value)


def test_the_command_makes_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line on stdout, the token on stderr, and both belong together."""
    done = call(capsys, "coordinator", "hash-token", "ann", "ops,qa")
    assert done.code == 0
    token = done.stderr.strip()
    assert token not in done.stdout
    path = write(tmp_path / "t", done.stdout)
    assert TokenFile(path).identify(token).groups == ("ops", "qa")


def test_a_token_that_can_be_guessed_is_refused() -> None:
    """Plain hashes are safe for long random tokens alone."""
    for bad in ("hunter2", "a b" * 20):
        with pytest.raises(ValueError, match="at least 32 characters"):
            line(bad, "ann", ())
    for name in ("", "a b", "a,b", "a\n"):
        with pytest.raises(ValueError, match="no name"):
            line(TOKEN, name, ())
