"""What ``ips`` says to words that it cannot use; no server is asked, and none is there."""

from __future__ import annotations

import io
import sys

import pytest
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
