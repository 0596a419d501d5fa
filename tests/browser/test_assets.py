"""The page's files as they are served; no browser is needed for this."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from coordinator.api.web_files import FOLDER, WebFiles, accepts_gzip

LIMIT_BYTES = 350_000
LIMIT_SENT_BYTES = 150_000
"""7 kB of it are the words of every sentence that the service says, in a second language."""
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js"))
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    """Nothing but the files, served."""
    app = web.Application()
    app.add_routes([web.get("/web/{path:.*}", WebFiles(FOLDER).get)])
    return await aiohttp_client(app, auto_decompress=False)


def test_the_page_is_small() -> None:
    """All its files together: uncompressed without the types in its comments, and as sent."""
    files = [path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()]
    assert (
        sum(len(re.sub(rb"/\*\*.*?\*/", b"", one, flags=re.DOTALL)) for one in files) < LIMIT_BYTES
    )
    assert sum(len(gzip.compress(one)) for one in files) < LIMIT_SENT_BYTES


def test_every_module_is_asked_for_at_once() -> None:
    """The page names them all, so that none is found out only when another has come."""
    page = (FOLDER / "index.html").read_text()
    named = re.findall(
        r'<link rel="modulepreload" (?:fetchpriority="low" )?href="/web/([^"]+)">', page
    )
    assert sorted([*named, "js/appearance.js", "js/main.js"]) == MODULES


def imports_of(path: Path) -> Iterator[Path]:
    """The modules that a module imports."""
    for found in re.finditer(r'(?:from |import\()"(\.[^"]+)"', path.read_text()):
        yield (path.parent / found[1]).resolve()


def needed_by(name: str) -> set[str]:
    """A module and all that must have come before it runs; what it may load later is left out."""
    found, left = set(), [FOLDER / name]
    while left:
        path = left.pop().resolve()
        if path not in found:
            found.add(path)
            static = re.findall(r'from "(\.[^"]+)"', path.read_text())
            left += [path.parent / target for target in static]
    return {path.relative_to(FOLDER.resolve()).as_posix() for path in found}


def test_what_the_list_needs_comes_first() -> None:
    """The other views' code does not hold up the first content."""
    page = (FOLDER / "index.html").read_text()
    first = set(re.findall(r'<link rel="modulepreload" href="/web/([^"]+)">', page))
    assert first == needed_by("js/app.js") | needed_by("js/views/tasks_view.js")


def test_every_import_is_a_file_and_every_file_is_imported() -> None:
    """Nothing is missing, nothing is left over, and nothing comes from elsewhere."""
    imported = {target for name in MODULES for target in imports_of(FOLDER / name)}
    files = {(FOLDER / name).resolve() for name in MODULES}
    assert imported <= files
    assert {path.name for path in files - imported} == {"appearance.js", "main.js"}


@pytest.mark.parametrize("name", ["index.html", "js/main.js", "css/theme.css", "icon.svg"])
async def test_a_file_is_sent_compressed_and_only_once(client: Client, name: str) -> None:
    """Compressed where that is understood; asked for again, nothing is sent."""
    accept = {"Accept-Encoding": "gzip, br"}
    answer = await client.get(f"/web/{name}", headers=accept)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await answer.read()) == (FOLDER / name).read_bytes()
    assert answer.headers["Vary"] == "Accept-Encoding"
    etag = answer.headers["ETag"]
    again = await client.get(f"/web/{name}", headers={**accept, "If-None-Match": f'"x", W/{etag}'})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == etag


async def test_a_file_is_sent_plain_to_who_wants_it_so(client: Client) -> None:
    """The plain form has a validator of its own."""
    plain = await client.get("/web/js/main.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert await plain.read() == (FOLDER / "js/main.js").read_bytes()
    assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
    packed = await client.get("/web/js/main.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, br", True),
        ("br, *", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("*;q=0.0", False),
        ("gzip;q=0, *", False),
    ],
)
def test_who_understands_gzip(*, header: str, accepted: bool) -> None:
    """By RFC 9110, 12.5.3."""
    assert accepts_gzip(header) is accepted
