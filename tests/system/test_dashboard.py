"""The operator's page in a real browser: what it shows of a bridge at work, and what can be done with it."""

from __future__ import annotations

import asyncio
import os
import secrets
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.async_api import expect

from bridge.settings import Admin, Route
from consumers import Request, Worker
from tests.bridge.callers import Response, call
from tests.bridge.harness import client_for, running, settings_for
from tests.bridge.letters import Desk

KEY = "key of the operator"
# For docs/images: MQBRIDGE_SCREENSHOTS=docs/images scripts/test tests/system/test_dashboard.py
SCREENSHOTS = os.environ.get("MQBRIDGE_SCREENSHOTS")


def worker_of(queue: str) -> Worker:
    worker = Worker()

    @worker.handler(queue)
    async def work(request: Request) -> str:
        if request.body == b"long":
            await asyncio.sleep(60)
        return "done"

    return worker


class World:
    def __init__(self, bridge, browser):
        self.bridge, self._browser = bridge, browser
        self.errors: list[str] = []

    async def post(self, path: str, body: bytes = b"", *headers: tuple[str, str]) -> Response:
        return await call(self.bridge.port, path, body, headers=headers)

    async def page(self, width: int = 1280, scheme: str = "light"):
        """Open the page, log in, and wait until it shows the routes."""
        context = await self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        await page.goto(f"http://localhost:{self.bridge.port}/-/dashboard")
        await page.get_by_label("Admin key").fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#routes tbody tr")).to_have_count(2)
        return page


@pytest.fixture
def queue():
    """Queues of its own for each test: what is parked stays."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"


@pytest.fixture
async def world(broker, working, queue, browser, tmp_path):
    routes = [
        Route(name="words", path="/words", queue=queue("words"), stream=True),
        Route(name="lonely", path="/lonely", queue=queue("lonely"), async_="never", idempotency="off"),
    ]
    settings = settings_for(broker, routes, drain=40.0)
    settings = settings.model_copy(update={"admin": Admin(key_sha256=sha256(KEY.encode()).hexdigest())})
    async with working(worker_of(queue("words")), 2), running(settings, "uvicorn") as bridge:
        made = World(bridge, browser)
        yield made
        assert not made.errors


async def test_opening_the_page_is_no_problem_of_its_own(world):
    """A browser asks for /favicon.ico unless a page says what its icon is."""
    page = await world.page()
    await expect(page.locator("#ready")).to_have_text("ready")
    await expect(page.locator("link[rel=icon]")).to_have_attribute("href", "data:,")
    assert not list(world.bridge.bridge.book.ledger.problems())


async def picture(page, name):
    if SCREENSHOTS:
        await page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


async def test_a_wrong_key_is_told_and_the_right_one_opens_the_page(world, browser):
    page = await browser.new_page()
    await page.goto(f"http://localhost:{world.bridge.port}/-/dashboard")
    await expect(page.get_by_role("alert")).to_be_hidden()
    await page.get_by_label("Admin key").fill("wrong")
    await page.get_by_role("button", name="Open the dashboard").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Admin key").fill(KEY)
    await page.get_by_role("button", name="Open the dashboard").click()
    await expect(page.locator("#ready")).to_have_text("ready")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Admin key")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_says_which_route_is_served_and_what_to_do_about_the_other(world, width, scheme):
    for _ in range(20):
        assert (await world.post("/words", b"x")).status == 200
    for _ in range(5):
        assert (await world.post("/lonely")).status == 503
    page = await world.page(width, scheme)
    words, lonely = page.locator("#routes tbody tr").nth(0), page.locator("#routes tbody tr").nth(1)
    await expect(words).to_contain_text("fine")
    await expect(words).to_contain_text("0 busy / 2")
    await expect(lonely).to_contain_text("down")
    await expect(lonely).to_contain_text("Start one.")
    await expect(page.locator("#problems tbody tr").first).to_contain_text("no-worker")
    await expect(page.locator("#outcomes canvas")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page is wider than its window"
    )
    await picture(page, f"dashboard-{scheme}-{width}")


async def test_what_is_held_is_shown_while_it_is_held(world):
    page = await world.page()
    calling = asyncio.create_task(world.post("/words", b"long", ("Prefer", "wait=15")))
    await expect(page.locator("#routes tbody tr").first).to_contain_text("1 busy / 2")
    await expect(page.locator("#held")).to_have_text("1")
    calling.cancel()
    await asyncio.wait([calling])
    await expect(page.locator("#routes tbody tr").first).to_contain_text("0 busy / 2")


async def test_a_call_is_found_by_its_id(world):
    answered = await world.post("/words", b"x")
    page = await world.page()
    await page.get_by_label("Correlation id").fill(answered.get("correlation-id"))
    await page.keyboard.press("Enter")
    await expect(page.locator("#call")).to_contain_text("message sent to the queue")
    await expect(page.locator("#call")).to_contain_text("2xx (200)")
    await page.get_by_label("Correlation id").fill("0" * 32)
    await page.keyboard.press("Enter")
    await expect(page.locator("#call")).to_contain_text("No call or job of this id is kept.")


async def test_the_timeline_names_a_trace_that_is_sampled(world):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answered = await world.post("/words", b"x", ("traceparent", f"00-{trace}-00f067aa0ba902b7-01"))
    page = await world.page()
    await page.get_by_label("Correlation id").fill(answered.get("correlation-id"))
    await page.keyboard.press("Enter")
    await expect(page.locator("#call")).to_contain_text(f"traced as {trace}")
    await picture(page, "dashboard-call-1280")


async def test_what_became_of_a_problem_is_found_by_keyboard_alone(world):
    refused = await world.post("/lonely")
    page = await world.page(390)
    target = page.locator("#problems tbody button")
    await expect(target).to_have_count(1)
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await target.evaluate("element => element === document.activeElement"):
            break
    else:
        pytest.fail("no number of tabs leads to the problem")
    assert await target.evaluate("element => element.matches(':focus-visible')")
    await page.keyboard.press("Enter")
    await expect(page.locator("#call")).to_contain_text("no-worker (503)")
    await expect(page.get_by_label("Correlation id")).to_have_value(refused.get("correlation-id"))


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_dead_letter_is_shown_replayed_and_another_one_dropped(world, broker, queue, width):
    name = queue("words")
    async with client_for(broker) as client:
        await client.wait_connected()
        desk = Desk(world.bridge, client, name, broker)
        for body in ("first", "second"):
            await desk.park(body, type="words", http_target="/words")
    page = await world.page(width)
    await page.get_by_role("button", name=f"Show the letters of {name}.poison").click()
    rows = page.locator("#letters tbody tr")
    await expect(rows).to_have_count(2)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut_off = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert await page.evaluate(cut_off) == 0
    await rows.filter(has_text="poison").first.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("dialog")).to_contain_text("first")
    await page.keyboard.press("Escape")
    await picture(page, f"dashboard-letters-{width}")
    await rows.first.get_by_role("button", name="Replay").click()
    await page.get_by_role("button", name="Yes").click()
    await expect(rows).to_have_count(1)
    await expect(page.locator("#jobs tbody")).to_contain_text("done", timeout=20_000)
    await rows.first.get_by_role("button", name="Drop").click()
    await page.get_by_role("button", name="No", exact=True).click()
    await expect(rows).to_have_count(1)
    await rows.first.get_by_role("button", name="Drop").click()
    await page.get_by_role("button", name="Yes").click()
    await expect(page.locator("#queues")).to_contain_text("None: nothing was given up.", timeout=20_000)


async def test_a_job_is_cancelled_and_another_ones_result_is_shown(world):
    done = await world.post("/words", b"x", ("Idempotency-Key", "one"))
    assert done.status == 200
    running_one = await world.post("/words", b"long", ("Prefer", "respond-async"))
    page = await world.page()
    await page.get_by_role("button", name=f"Cancel job {running_one.get('correlation-id')}").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Cancel this job of words?")
    await page.get_by_role("button", name="Yes").click()
    await expect(page.locator("#jobs tbody")).to_contain_text("cancelled")
    await page.get_by_role("button", name=f"Result of job {done.get('correlation-id')}").click()
    await expect(page.get_by_role("dialog")).to_contain_text("done")
    await page.get_by_role("button", name="Close").click()
    await page.get_by_label("State", exact=True).select_option("done")
    await page.get_by_role("button", name="Show", exact=True).first.click()
    await expect(page.locator("#jobs tbody tr")).to_have_count(1)


async def test_what_comes_from_outside_is_text_and_never_markup(world):
    await world.post("/lonely", b"", ("X", "y"))
    await world.post("/<img src=x onerror=document.title='hacked'>".replace(" ", "%20"), b"")
    page = await world.page()
    await page.get_by_label("Correlation id").fill((await world.post("/%3Cb%3Ebold")).get("correlation-id"))
    await page.keyboard.press("Enter")
    await expect(page.locator("#call")).to_contain_text("%3Cb%3Ebold")
    assert await page.title() == "mqbridge"
    assert await page.locator("#call b").filter(has_text="bold").count() == 0


async def test_a_bridge_that_is_gone_is_said_to_be(world):
    page = await world.page()
    await page.route("**/-/**", lambda route: route.abort())
    world.bridge.stopping.set()
    await expect(page.locator("#link")).to_be_visible()
    await expect(page.locator("#link")).to_contain_text("does not answer")
