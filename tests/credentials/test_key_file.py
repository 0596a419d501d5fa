"""The file with the key that credentials are sealed with."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.credentials.key_file import new_secretbox_key, read_secretbox_keys
from tests.fixtures.main_program import call


def test_a_key_is_made_once_for_its_owner_alone_and_never_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A second call would make what was sealed before unreadable."""
    file = tmp_path / "ips" / "credentials-key"
    assert call(capsys, "coordinator", "credentials-key", str(file)) == (0, "", "")
    [made] = read_secretbox_keys(file.read_text())
    assert len(made) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert call(capsys, "coordinator", "credentials-key", str(file)) == (0, "", "")
    assert read_secretbox_keys(file.read_text()) == [made]


def test_a_file_that_holds_no_key_stays_and_is_complained_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a word of what is in it, which may be a key with a letter mistyped."""
    file = tmp_path / "credentials-key"
    file.write_text("nearly-a-key")
    told = call(capsys, "coordinator", "credentials-key", str(file))
    assert (told.code, told.stdout, file.read_text()) == (1, "", "nearly-a-key")
    assert "line 1 is no key" in told.stderr
    assert "nearly" not in told.stderr


def test_no_two_keys_are_the_same() -> None:
    """They are random."""
    assert len({new_secretbox_key() for _ in range(100)}) == 100
