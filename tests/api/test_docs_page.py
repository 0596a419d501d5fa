"""The page for people tells what the documents for machines tell, and asks nobody else."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from tests.api.conftest import Client


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


@pytest.fixture
async def page(client: Client) -> Page:
    """The page as it is served."""
    answer = await client.get("/docs")
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = Page()
    page.feed(await answer.text())
    return page


async def test_no_outside_address(page: Page, client: Client) -> None:
    """Every link stays here and leads somewhere; there is no script."""
    assert "script" not in page.tags
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.anchors
        else:
            assert (await client.get(link)).status == 200


async def test_everything_is_told(page: Page, client: Client) -> None:
    """Every route, every field with its limits, every event."""
    rest = json.loads(await (await client.get("/openapi.json")).text())
    bus = json.loads(await (await client.get("/asyncapi.json")).text())
    assert all(path in page.text for path in rest["paths"])
    for name, schema in rest["components"]["schemas"].items():
        assert f"shape-{name}" in page.anchors
        assert all(field in page.text for field in schema.get("properties", {}))
    assert all(channel["address"] in page.text for channel in bus["channels"].values())
    assert "integer, at least 1, at most 10,000, default 10" in page.text
