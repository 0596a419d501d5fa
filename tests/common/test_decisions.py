"""What source files cite of ``docs/decisions.md`` is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CITATION = re.compile(r"\b[Dd]ecisions: ([^).]+)[).]")


def test_every_citation_has_its_heading() -> None:
    """A citation is a heading's words, in any case."""
    text = (ROOT / "docs" / "decisions.md").read_text()
    headings = {line.removeprefix("### ").lower() for line in text.splitlines() if "### " in line}
    cited = {
        (" ".join(found.split()).lower(), path.relative_to(ROOT))
        for folder in ("agent", "common", "coordinator", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
        for found in CITATION.findall(path.read_text())
    }
    assert {(words, path) for words, path in cited if words not in headings} == set()
    assert cited
