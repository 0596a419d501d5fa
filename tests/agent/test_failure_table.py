"""Every line of the table of failures, met by texts of real runtimes, and who speaks in each."""

from __future__ import annotations

import pytest

from agent.runtime.failures import TABLE, Speaker, classify, line_of
from common.reasons import Reason
from tests.agent.containerd_texts import CONTAINERD
from tests.agent.crio_texts import CRI_O
from tests.agent.test_failures import RECORDED, text_of

pytestmark = pytest.mark.pure

HOST, REPOSITORY, TAG = "registry.example:5000", "team/app", "1.2"


@pytest.mark.parametrize(("speaker", "reason", "code", "template"), CONTAINERD)
def test_containerd(speaker: Speaker | None, reason: Reason, code: str, template: str) -> None:
    """Recorded from 1.6.20, 1.7.24 and 2.1.9; some as their sources have them."""
    text, reference = text_of(template, HOST, REPOSITORY, TAG)
    line = line_of(code, text, reference)
    assert (line and line.speaker) is speaker
    assert classify(code, text, reference).reason is reason


@pytest.mark.parametrize("wrapped", [False, True], ids=["1.28", "1.32"])
@pytest.mark.parametrize(("speaker", "reason", "template"), CRI_O)
def test_cri_o(speaker: Speaker, reason: Reason, template: str, *, wrapped: bool) -> None:
    """CRI-O has one code for all; from 1.32 on it tries each image as an artifact too."""
    if wrapped:
        artifact = "get manifest: build image source: reading manifest {tag} in x: denied: no"
        template = (
            f"unable to pull image or OCI artifact: pull image err: {template}; "
            f"artifact err: {artifact}"
        )
    text, reference = text_of(template, HOST, REPOSITORY, TAG)
    line = line_of("UNKNOWN", text, reference)
    assert line is not None
    assert (line.speaker, line.reason) == (speaker, reason)


@pytest.mark.parametrize("repository", ["unauthorized", "denied", "tls/x509", "eof/unpigz"])
@pytest.mark.parametrize("tag", ["manifest", "unauthorized", "404", "tls"])
def test_a_name_never_decides_with_cri_o(repository: str, tag: str) -> None:
    """It quotes names without their tag, too."""
    for speaker, reason, template in CRI_O:
        text, reference = text_of(template, "unauthorized:503", repository, tag)
        line = line_of("UNKNOWN", text, reference)
        assert line is not None
        assert (line.speaker, line.reason) == (speaker, reason), text


def test_every_line_of_the_table_is_met() -> None:
    """A line that no recorded text falls under is guesswork, or hidden by one above it."""
    rows = [
        *RECORDED,
        *((reason, code, template) for _, reason, code, template in CONTAINERD),
        *((reason, "UNKNOWN", template) for _, reason, template in CRI_O),
    ]
    met = {line_of(code, *text_of(template, HOST, REPOSITORY, TAG)) for _, code, template in rows}
    assert [line for line in TABLE if line not in met] == []
