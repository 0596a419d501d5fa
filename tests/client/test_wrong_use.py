"""What ``ips`` says to words that it cannot use; no server is asked, and none is there."""

from __future__ import annotations

import io
import sys

import pytest
from ips_client.command.arguments import parse
from ips_client.command.program import run


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (["run"], b"", "no image is named"),
        (["run", "-f", "-"], b"", "standard input is empty"),
        (["run", "-f", "-"], b"kind: Service\n", "standard input: no pod template in it"),
        (["run", "-f", "/nowhere/x.yaml"], b"", "/nowhere/x.yaml: No such file"),
        (["run", "-f", "/"], b"", "/: Is a directory"),
        (["run", "ng inx"], b"", "'ng inx' contains whitespace"),
        (["run", "{{ .Values.image }}"], b"", "template placeholder"),
        (["run", "app:$TAG"], b"", "template placeholder"),
        (["run", "x", "-l", "a b"], b"", "invalid selector term 'a b'"),
        (["run", "x", "--retry-delay", "soon"], b"", "is no duration"),
        (["ls", "--limit", "0"], b"", "--limit must be 1 or more"),
        (["ls", "--server", "ftp://x"], b"", "is no address"),
        (["dance"], b"", "invalid choice"),
    ],
)
def test_wrong_use(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    stdin: bytes,
    message: str,
) -> None:
    """Exit code 2 and a clear message; no traceback."""
    monkeypatch.setenv("IPS_SERVER", "http://127.0.0.1:1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    try:
        code = run(words)
    except SystemExit as end:  # argparse's own way out
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert message in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "nginx"],
        ["run", "nginx", "--wait"],
        ["retry", "task-20260101-000000-00000000"],
        ["cancel", "task-20260101-000000-00000000"],
        ["pause", "task-20260101-000000-00000000"],
        ["resume", "task-20260101-000000-00000000"],
        ["apply", "-f", "set.yaml"],
        ["delete", "set", "web"],
        ["wait", "task-20260101-000000-00000000"],
        ["events"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("form", "message"),
    [("csv", "csv is for lists"), ("jsonpath={.a", "brace is not closed"), ("xml", "is none of")],
)
def test_a_form_is_refused_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], words: list[str], form: str, message: str
) -> None:
    """While the options are read: after a change had been made it would be too late."""
    with pytest.raises(SystemExit) as end:
        parse([*words, "-o", form])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["ls"], ["show", "x"], ["nodes"], ["sets"], ["images"], ["image", "x"], ["audit"]]
)
def test_what_lists_has_csv(words: list[str]) -> None:
    """And every command has a template."""
    for form in ("csv", "jsonpath={.total}"):
        assert parse([*words, "-o", form]).output == form
