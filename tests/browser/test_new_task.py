"""The form of a new task: checks while typing, a preview, the command, the server's faults."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from coordinator.api.openapi import openapi_document
from tests.fixtures.browser import Windows, add_label
from tests.fixtures.fleet import Fleet
from tests.fixtures.image_references import CANONICAL, REFUSED

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def sent(page: Page) -> dict[str, object]:
    """The body that the page sends when the button is pressed."""
    async with page.expect_request(lambda request: request.method == "POST") as caught:
        await page.get_by_role("button", name="Create task").click()
    return dict((await caught.value).post_data_json or {})


async def test_a_task_is_created_by_the_form(windows: Windows) -> None:
    """The task's own page follows, and shows it to its end."""
    page = await windows.open()
    await page.get_by_role("banner").get_by_role("link", name="New task").click()
    await page.get_by_role("textbox", name="Images").fill("registry.example/form:1\nnginx")
    await page.get_by_label("Batch size").fill("2")
    await page.get_by_role("button", name="Create task").click()
    heading = page.get_by_role("heading", level=1, name="registry.example/form:1 +1")
    await expect(heading).to_be_visible()
    await expect(page.get_by_text("Completed").first).to_be_visible()
    await expect(page.get_by_text("2 of 2", exact=True)).to_be_visible()


def fields_of_a_create() -> dict[str, Any]:
    """Every field that the service takes, as its own description tells them."""
    described = json.loads(openapi_document())["components"]["schemas"]["CreateTask"]
    return dict(described["properties"])


async def test_every_default_is_shown(windows: Windows) -> None:
    """Nothing has to be filled in but the images; the fields say what then holds."""
    page = await windows.open("#/new")
    defaults = {
        name: str(field["default"])
        for name, field in fields_of_a_create().items()
        if field.get("default") not in (None, {}, [])
    }
    assert len(defaults) == 9
    for name, value in defaults.items():
        field = page.locator(f"#{name}")
        await expect(field).to_be_visible()
        await expect(field).to_have_value(value)


async def test_every_field_is_sent(windows: Windows) -> None:
    """What is chosen is in the body, in any field there is; what is left at its default is not."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").fill("registry.example/fields:1")
    await add_label(page, "zone", "is", "b")
    await add_label(page, "workload", "NotIn", "storage, backup")
    await add_label(page, "workload", "Exists")
    await page.get_by_label("Only these nodes").fill("b-1, b-1\nb-9")
    for label, value in {
        "Batch size": "7",
        "Priority": "9",
        "Retries per node": "2",
        "Retry delay": "5",
        "Max failed nodes": "10%",
        "Pull timeout per image": "60",
        "Webhook": "http://127.0.0.1:9/hook",
        "Credentials": "corp, corp, mirror",
        "Pull Secrets": "shop/regcred",
    }.items():
        await page.get_by_label(label).fill(value)
    await page.get_by_label("Backoff").select_option("exponential")
    await page.get_by_label("Strategy").select_option("rolling")
    await page.get_by_label("Image pull policy").select_option("Always")
    await expect(page.get_by_text("Retries after 5 s, 10 s")).to_be_visible()
    body = await sent(page)
    assert set(body) == set(fields_of_a_create())
    assert body == {
        "images": ["registry.example/fields:1"],
        "batchSize": 7,
        "priority": 9,
        "maxRetries": 2,
        "retryStrategy": "exponential",
        "retryDelay": 5,
        "maxFailedNodes": "10%",
        "rollout": "rolling",
        "imagePullPolicy": "Always",
        "pullTimeoutSeconds": 60,
        "webhookUrl": "http://127.0.0.1:9/hook",
        "nodeSelector": {"zone": "b"},
        "matchExpressions": [
            {"key": "workload", "operator": "NotIn", "values": ["storage", "backup"]},
            {"key": "workload", "operator": "Exists"},
        ],
        "nodeNames": ["b-1", "b-9"],
        "credentials": ["corp", "mirror"],
        "pullSecrets": ["shop/regcred"],
    }
    await expect(page.get_by_label("Pull Secrets")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Pull Secrets").fill("")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_label("Credentials")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Credentials").fill("")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("registry.example/fields:1")


async def test_images_are_checked_as_they_are_typed(windows: Windows) -> None:
    """Each line says what it means in full, or what is wrong with it; the wrong ones come first."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").press_sequentially(
        "nginx\nacme/Shop:2\ndocker.io/library/nginx:latest\nhttps://quay.io/x"
    )
    verdicts = page.locator(".verdicts li")
    await expect(verdicts.nth(0)).to_contain_text("repository names are lower case")
    await expect(verdicts.nth(1)).to_contain_text("remove https://")
    await expect(verdicts.nth(2)).to_contain_text("docker.io/library/nginx:latest")
    await expect(verdicts.nth(3)).to_contain_text("the same image as line 1")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.get_by_role("alert")).to_contain_text("Fix 2 problems first.")
    await expect(page.get_by_role("textbox", name="Images")).to_be_focused()


async def test_the_page_reads_references_as_the_service_does(windows: Windows) -> None:
    """The same full name, or a refusal in words of both languages."""
    page = await windows.open("#/new")
    read = await page.evaluate(
        """async (texts) => {
          const { readReference } = await import("/web/js/image_reference.js");
          const { WORDS } = await import("/web/js/words/words.js");
          return texts.map(readReference).map(({ canonical, fault }) =>
            canonical ?? (`reference.${fault}` in WORDS ? null : fault));
        }""",
        [text for text, _ in [*CANONICAL, *REFUSED]],
    )
    assert read == [*(canonical for _, canonical in CANONICAL), *(None for _ in REFUSED)]


async def test_lists_are_separated_as_they_are_written(windows: Windows) -> None:
    """By commas and semicolons of either script, and the Chinese enumeration comma."""
    page = await windows.open("#/new")
    box = page.get_by_role("textbox", name="Images")
    await box.fill("nginx:1\uff0credis:7\u3001busybox\nalpine:3\uff1bbad:\uff0cnginx:1")
    await page.get_by_label("Only these nodes").fill(
        "a-1\uff0ca-2\uff1ba-3\u3001b-1\u3000b-2,b-3 b-4"
    )
    verdicts = page.locator(".verdicts li")
    await expect(verdicts).to_have_count(6)
    assert await verdicts.locator(".line").all_inner_texts() == ["2", "1", "1", "1", "2", "2"]
    await expect(verdicts.nth(5)).to_contain_text("the same image as line 1")
    await page.get_by_role("button", name="Create task").click()
    await expect(box).to_be_focused()
    chosen = "one => one.value.slice(one.selectionStart, one.selectionEnd)"
    assert await box.evaluate(chosen) == "bad:"
    await box.fill("nginx:1\uff0credis:7\u3001busybox\nalpine:3\uff1b")
    body = await sent(page)
    assert body["images"] == ["nginx:1", "redis:7", "busybox", "alpine:3"]
    assert body["nodeNames"] == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3", "b-4"]


async def test_the_preview_counts_the_nodes_that_match(windows: Windows) -> None:
    """Labels and names narrow it down while they are typed; unknown names are told."""
    page = await windows.open("#/new")
    preview = page.locator(".preview")
    await expect(preview).to_contain_text("4 nodes match now")
    await add_label(page, "zone", "is", "a")
    await expect(preview).to_contain_text("3 nodes match now")
    await expect(preview).to_contain_text("a-3")
    await page.get_by_label("Only these nodes").fill("a-1 a-77")
    await expect(preview).to_contain_text("1 node matches now")
    await expect(preview).to_contain_text("Not in the fleet (will fail): a-77")
    await page.get_by_label("Value").fill("nowhere")
    await expect(preview).to_contain_text("No node matches now")
    await page.get_by_role("button", name="Remove this condition").click()
    await page.get_by_label("Only these nodes").fill("")
    await expect(preview).to_contain_text("4 nodes match now")


async def test_the_servers_faults_appear_at_their_fields(windows: Windows) -> None:
    """The page lets pass what only the server knows to be wrong; its words stand at the field."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").fill("nginx")
    await add_label(page, "zone", "is", "not a value!")
    await page.get_by_label("Only these nodes").fill("Upper_Case")
    await page.get_by_label("Webhook").fill("http://[nonsense")
    await page.get_by_role("button", name="Create task").click()
    await expect(page.locator("#labels-fault-0")).to_contain_text("invalid label value")
    await expect(page.get_by_label("Key")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Key")).to_be_focused()
    await expect(page.locator("#names-fault")).to_contain_text("invalid node name")
    await expect(page.locator("#webhookUrl-fault")).to_contain_text("http or https")
    names = page.get_by_label("Only these nodes")
    await expect(names).to_have_accessible_description(re.compile("invalid node name"))


async def test_the_command_does_the_same(windows: Windows, site: Fleet) -> None:
    """It is copied by a click and, run in a shell, makes the task that the form would make."""
    page = await windows.open("#/new", permissions=["clipboard-read", "clipboard-write"])
    await page.get_by_role("textbox", name="Images").fill("registry.example/it:1")
    await add_label(page, "zone", "is", "b")
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("status").get_by_text("Copied.")).to_be_visible()
    command = str(await page.evaluate("navigator.clipboard.readText()"))
    words = shlex.split(command)
    assert words[:4] == ["curl", "-X", "POST", f"{site.coordinator.url}/api/v1/tasks"]
    assert json.loads(words[-1]) == {
        "images": ["registry.example/it:1"],
        "nodeSelector": {"zone": "b"},
    }
    shell = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    answer, _ = await shell.communicate()
    assert (await site.over(json.loads(answer)["taskId"]))["status"] == "completed"


async def test_a_double_click_makes_one_task(windows: Windows, site: Fleet) -> None:
    """The button rests while the answer is awaited, and a repetition would carry the same key."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").fill("registry.example/double:1")
    await page.get_by_role("button", name="Create task").dblclick()
    await expect(page.get_by_role("heading", level=1)).to_have_text("registry.example/double:1")
    tasks = (await site.get("/tasks?limit=100"))["tasks"]
    assert sum(task["images"] == ["registry.example/double:1"] for task in tasks) == 1


async def test_a_task_is_the_template_of_another(windows: Windows, site: Fleet) -> None:
    """Everything that a task tells of itself is in the form."""
    task = await site.post(
        ["registry.example/template:1"],
        batchSize=3,
        nodeSelector={"zone": "b"},
        matchExpressions=[{"key": "workload", "operator": "In", "values": ["compute"]}],
    )
    page = await windows.open(f"#/tasks/{task}")
    await page.get_by_role("link", name="Duplicate").click()
    await expect(page.get_by_text(f"Copied from {task}.")).to_be_visible()
    images = page.get_by_role("textbox", name="Images")
    await expect(images).to_have_value("registry.example/template:1")
    await expect(page.get_by_label("Batch size")).to_have_value("3")
    await expect(page.get_by_label("Key").nth(1)).to_have_value("workload")
    body = await sent(page)
    assert body["matchExpressions"] == [
        {"key": "workload", "operator": "In", "values": ["compute"]}
    ]


async def test_keys_alone_create_and_cancel(windows: Windows, held: Fleet) -> None:
    """From the first key to the cancelled task, no pointer is needed, and focus is never lost."""
    page = await windows.open()
    await expect(page.get_by_role("heading", level=1, name="Tasks")).to_be_visible()
    await tab_to(page, "New task")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="New task")).to_be_focused()
    await tab_to(page, "images")
    await page.keyboard.type("registry.example/keys:1")
    await tab_to(page, "batchSize")
    await page.keyboard.type("1")
    await tab_to(page, "Create task")
    await page.keyboard.press("Enter")
    await expect(
        page.get_by_role("heading", level=1, name="registry.example/keys:1")
    ).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel registry.example/keys:1")).to_be_visible()
    await tab_to(page, "Cancel registry.example/keys:1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await tab_to(page, "Cancel the task")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Task cancelled.")).to_be_visible()
    await expect(page.locator(".title-line .chip")).to_have_text("Cancelled")
    task = page.url.rpartition("/")[2]
    assert (await held.over(task))["status"] == "cancelled"


async def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the element with this id, label or text has the focus."""
    seen = []
    for _ in range(60):
        await page.keyboard.press("Tab")
        names = await page.evaluate(
            """() => {
              const one = document.activeElement;
              return [one.id, one.getAttribute("aria-label"), one.textContent];
            }"""
        )
        if wanted in names:
            return
        seen.append(names)
    raise AssertionError(f"Tab never comes to {wanted!r}: {seen}")


async def test_enter_creates_nothing_and_many_nodes_are_asked_for(
    windows: Windows, site: Fleet
) -> None:
    """Enter in a field is typing; more than 50 nodes are started by a second yes alone."""
    page = await windows.open("#/new")
    states = {"ready": 80, "offline": 30, "unschedulable": 2}
    answer = {"nodes": [], "total": 112, "limit": 8, "offset": 0, "states": states, "leftOut": 0}
    await page.route("**/api/v1/nodes?*", lambda route: route.fulfill(json=answer))
    await page.reload()
    await page.get_by_role("textbox", name="Images").fill("registry.example/many:1")
    preview = page.locator(".preview")
    await expect(preview).to_contain_text("110 nodes match now")
    await expect(preview).to_contain_text("30 offline (will fail unless an agent answers)")
    await expect(preview).to_contain_text("2 unschedulable (not part of the task)")
    await page.get_by_label("Batch size").press("Enter")
    await page.get_by_role("button", name="Create task").click()
    dialog = page.get_by_role("dialog", name="Pull onto 110 nodes?")
    await dialog.get_by_role("button", name="Do not start").click()
    await expect(page).to_have_url(re.compile("#/new$"))
    await page.get_by_role("button", name="Create task").click()
    await dialog.get_by_role("button", name="Start the task").click()
    await expect(
        page.get_by_role("heading", level=1, name="registry.example/many:1")
    ).to_be_visible()
    await site.over(page.url.rpartition("/")[2])


async def test_a_template_is_always_read_anew(windows: Windows, site: Fleet) -> None:
    """Whatever was typed into it before; and a new task has nothing of it."""
    task = await site.post(["registry.example/anew:1"], batchSize=3)
    await site.over(task)
    page = await windows.open(f"#/tasks/{task}")
    images = page.get_by_role("textbox", name="Images")
    for _ in range(2):
        await page.get_by_role("link", name="Duplicate").click()
        await expect(images).to_have_value("registry.example/anew:1")
        await images.fill("changed:1")
        await page.go_back()
    await page.get_by_role("link", name="New task").click()
    await expect(images).to_have_value("")
    await expect(page.get_by_label("Batch size")).to_have_value("10")


async def test_a_list_is_pasted_as_the_command_takes_it(windows: Windows) -> None:
    """Marks of a list and comments are no images; what is wrong comes first, with its own text."""
    page = await windows.open("#/new")
    await page.get_by_role("textbox", name="Images").fill(
        "# of the shop\n- nginx:1.27\n  - redis:7 # cache\nhost:99999999/x:1\n"
    )
    verdicts = page.locator(".verdicts li")
    await expect(page.get_by_text("3 images", exact=True)).to_be_visible()
    await expect(verdicts).to_have_count(3)
    await expect(verdicts.first).to_contain_text("host:99999999/x:1: invalid registry host")
    await expect(verdicts.first).to_have_attribute("data-state", "failed")
    await page.get_by_role("textbox", name="Images").fill("- nginx:1.27\n# x\n- redis:7")
    body = await sent(page)
    assert body["images"] == ["nginx:1.27", "redis:7"]


async def test_a_form_says_what_it_means_and_where_it_is_wrong(windows: Windows) -> None:
    """Without a condition every node is meant; faults are at their rows; what is not used rests."""
    page = await windows.open("#/new")
    preview = page.locator(".preview")
    await expect(preview).to_contain_text("Whole fleet: 4 nodes match now")
    await expect(page.get_by_label("Retry delay")).to_be_disabled()
    await page.get_by_label("Retries per node").fill("2")
    await expect(page.get_by_label("Retry delay")).to_be_enabled()
    await page.get_by_role("textbox", name="Images").fill("nginx")
    await add_label(page, "zone", "In")
    await expect(preview).to_contain_text("Whole fleet")  # nobody is told off for typing
    await expect(preview.locator(".fault")).to_have_text("")
    await add_label(page, "bad key!", "Exists")
    await add_label(page, "also bad!", "Exists")
    await expect(preview).not_to_contain_text("Whole fleet")
    await page.get_by_label("Values").fill("a")
    await page.get_by_role("button", name="Create task").click()
    faults = page.locator(".label-row .fault:visible")
    await expect(faults).to_have_count(2)
    await expect(faults.first).to_contain_text("bad key!")
    await expect(faults.last).to_contain_text("also bad!")
    await expect(page.get_by_label("Key").nth(1)).to_have_attribute("aria-invalid", "true")


async def test_many_nodes_are_asked_for_before_they_are_counted(windows: Windows) -> None:
    """The question waits for the count of what is in the form, and not of what was a moment ago."""
    page = await windows.open("#/new")
    await expect(page.locator(".preview")).to_contain_text("match now")
    counting = asyncio.Event()

    async def answer(route: Route) -> None:
        await counting.wait()
        states = {"ready": 80, "offline": 0, "unschedulable": 0}
        body = {"nodes": [], "total": 80, "limit": 8, "offset": 0, "states": states, "leftOut": 0}
        await route.fulfill(json=body)

    await page.route("**/api/v1/nodes?*", answer)
    await page.get_by_role("textbox", name="Images").fill("registry.example/soon:1")
    async with page.expect_request("**/api/v1/nodes?*"):
        await add_label(page, "zone", "is", "a")
    await page.get_by_role("button", name="Create task").click()
    counting.set()
    dialog = page.get_by_role("dialog", name="Pull onto 80 nodes?")
    await dialog.get_by_role("button", name="Do not start").click()
    await expect(page).to_have_url(re.compile("#/new$"))
