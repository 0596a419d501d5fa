"""Pictures of every view, light and dark, on a fleet of 240 nodes in the middle of a roll-out.

With ``IPS_TEST_SCREENSHOTS=1`` they are written to ``docs/screenshots/``, for people; otherwise
they are made all the same, and thrown away.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from bench.crowd import Crowd, Node, Pull
from bench.nodes import connected
from common import subjects
from common.bus import Bus
from common.messages import Heartbeat, ImageDisk
from common.reasons import Reason
from tests.fixtures.browser import DESKTOP, PHONE, Windows
from tests.fixtures.fleet import Fleet

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
NODES = 240
FULL = 7
"""The number of a node whose disk is full: its cell is the one that is pointed at."""
LEFT = (12, 33)
"""Nodes whose agents go when their part is done."""
IMAGES = ["ghcr.io/acme/shop/frontend:2.14.0", "ghcr.io/acme/shop/checkout:2.14.0", "redis:7.4"]
SIZES = dict(zip(IMAGES, (412_000_000, 268_000_000, 46_000_000), strict=True))
THEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
IS_PAINTED = """() => [...document.querySelectorAll(".map-card canvas")].every((map) => {
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  paper.drawImage(map, map.width - 1, map.height - 1, 1, 1, 0, 0, 1, 1);
  const [red, green, blue] = paper.getImageData(0, 0, 1, 1).data;
  const card = getComputedStyle(map.closest(".map-card"));
  return card.backgroundColor === `rgb(${red}, ${green}, ${blue})`;
})"""
"""Whether a map is in the colours of the page's theme: its last pixel is no cell's."""
MISSING = "ghcr.io/acme/ml/embedder:0.9-cuda"


def node_names() -> list[str]:
    """Names as a cloud gives them."""
    return [f"ip-10-0-{number // 40}-{number % 40 + 10}" for number in range(NODES)]


NUMBERS = {name: number for number, name in enumerate(node_names())}


def make_nodes() -> list[Node]:
    """Three zones; every fifth node has a GPU; a few disks are nearly full."""
    nodes = []
    for name, number in NUMBERS.items():
        labels = {"zone": f"eu-central-1{'abc'[number % 3]}", "workload": "compute"}
        if number % 5 == 0:
            labels["gpu"] = "l4"
        free = 9_000_000_000 if number % 37 == 5 else 41_000_000_000 + number * 130_000_000
        disk = ImageDisk(free_bytes=free, total_bytes=107_000_000_000)
        nodes.append(Node(name, labels, disk=disk))
    return nodes


def plan(node: str, image: str, attempt: int) -> Pull:
    """Some are slow, a few have a full disk, some meet a registry that limits them once."""
    number, size = NUMBERS[node], SIZES.get(image, 80_000_000)
    if image == MISSING:
        text = f'failed to resolve reference "{image}": not found'
        return Pull(2.0, size, Reason.IMAGE_NOT_FOUND, text)
    if image in SIZES and number % 41 == 7:
        text = "write /var/lib/containerd/…/data: no space left on device"
        return Pull(4.0, size, Reason.DISK_FULL, text)
    if image in SIZES and number % 19 == 4 and attempt == 1:
        text = "pull QPS exceeded: 429 Too Many Requests"
        return Pull(4.0, size, Reason.RATE_LIMITED, text)
    slowness = 5 + (number * 7919) % 11
    return Pull(1 + 1.2 * slowness * size / SIZES[IMAGES[0]], size)


@dataclass
class Scene:
    """A roll-out in its middle."""

    fleet: Fleet
    running: str
    failed: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Set the scene, and keep it moving."""
    fleet = Fleet(tmp_path_factory.mktemp("scene"))
    try:
        coordinator = await fleet.add_coordinator()
        async with connected(coordinator.administrator_settings()) as bus:
            nodes = make_nodes()
            crowd = Crowd(bus, nodes, plan)
            speaking = asyncio.create_task(crowd.run())
            await fleet.known_nodes(NODES)
            made = await set_scene(fleet)
            for number in LEFT:
                crowd.silence(nodes[number].name)
                leave(bus, nodes[number])
            yield made
            speaking.cancel()
    finally:
        await fleet.stop()


def leave(bus: Bus, node: Node) -> None:
    """An agent's last word, as it is shut down."""
    last = Heartbeat(
        agent_version="1.0.0",
        driver="cri",
        labels=dict(node.labels),
        runtime=node.runtime,
        platform="linux/amd64",
        image_disk=node.disk,
        pulling=[],
        holds=[],
        leaving=True,
    )
    bus.publish(subjects.heartbeat(node.name, node.instance), msgspec.json.encode(last))


async def set_scene(fleet: Fleet) -> Scene:
    """Tasks of every status; the last one is on its way."""
    done = await fleet.post(["postgres:16.4"], batchSize=60, nodeSelector={"gpu": "l4"})
    await fleet.over(done)
    stopped = await fleet.post(["nvcr.io/nvidia/tritonserver:24.08-py3"], batchSize=2)
    await fleet.until(stopped, lambda seen: seen["progress"]["completedNodes"] >= 4)
    await fleet.cancel(stopped)
    failed = await fleet.post([MISSING], batchSize=60, nodeSelector={"gpu": "l4"})
    await fleet.over(failed)
    await fleet.over(await fleet.post(["registry.k8s.io/pause:3.10"], nodeSelector={"gpu": "h100"}))
    more = {"batchSize": 60, "maxRetries": 2, "retryDelay": 10, "priority": 8}
    running = await fleet.post(IMAGES, maxFailedNodes="10%", **more)
    for name in ("grafana/grafana:11.2.0", "quay.io/argoproj/argocd:v2.12.3"):
        await fleet.post([name], batchSize=3)
    await fleet.post(["mongo:7"], priority=2)
    await fleet.until(running, lambda seen: seen["progress"]["completedNodes"] > 80)
    return Scene(fleet, running, failed)


async def shoot(page: Page, name: str, folder: Path) -> None:
    """Write one picture: of the whole page on a desktop, of the first screen of a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    await page.wait_for_function("document.fonts.status === 'loaded'")
    full = "desktop" in name
    picture = await page.screenshot(path=folder / f"{name}.png", full_page=full)
    assert len(picture) > 10_000


async def arrange(page: Page, view: str) -> None:
    """Bring a view to what its picture is to show."""
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    if view == "task":
        await expect(page.locator("#map-title")).to_have_text(re.compile(rf"{NODES}$"))
        await expect(page.locator(".chart .line[d]")).to_be_attached()
        await expect(page.locator(".batches li").first).to_be_visible()
        await page.locator("canvas").focus()
        for key in ("Home", *["ArrowRight"] * FULL, "Enter"):
            await page.keyboard.press(key)
        await expect(page.locator(".details")).to_contain_text("DiskFull")
    if view == "nodes":
        await expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(rf"{NODES}$"))
        away = page.locator("tbody tr[data-state=away]")
        await expect(away).to_have_count(len(LEFT))
    if view in {"nodes", "tasks"}:
        await expect(page.locator("tbody tr:visible").first).to_be_visible()
    if view == "new":
        await page.locator("#images").fill("\n".join([*IMAGES, "ghcr.io/acme/Shop/admin:1"]))
        await page.locator(".label-rows + p + div button").click()
        await page.locator(".label-row input").nth(0).fill("zone")
        await page.locator(".label-row input").nth(1).fill("eu-central-1a")
        await page.locator("#maxRetries").fill("3")
        await page.locator("#retryStrategy").select_option("exponential")
        await expect(page.locator(".preview")).to_contain_text("80")


@pytest.mark.parametrize("view", ["task", "tasks", "new", "nodes"])
async def test_pictures_of_every_view(
    browser: Browser, scene: Scene, view: str, tmp_path: Path
) -> None:
    """On a desktop, and in Chinese on a phone; each arranged once, for both themes."""
    folder = FOLDER if os.environ.get("IPS_TEST_SCREENSHOTS") == "1" else tmp_path
    windows = Windows(browser, scene.fleet.coordinator.url)
    place = f"#/tasks/{scene.running}" if view == "task" else f"#/{view}"
    for device, size, language in (
        ("desktop", DESKTOP, "en-GB"),
        ("phone", PHONE, "zh-CN"),
    ):
        page = await windows.open(place, size=size, language=language)
        await arrange(page, view)
        for theme in THEMES:
            await page.emulate_media(color_scheme=theme)
            await page.wait_for_function(IS_PAINTED)
            await shoot(page, f"{view}-{device}-{theme}", folder)
    await windows.close()
    assert windows.complaints == []
