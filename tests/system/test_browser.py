"""The example's page in a real browser: a bridge with the demo's settings, the demo's workers, a real broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Self

import pytest

from consumers.demo import worker
from tests.bridge.callers import until
from tests.bridge.processes import Process
from tests.system.browser import served

PAGE = Path(__file__).parents[2] / "examples/browser"
ORIGIN = "http://127.0.0.1:8000"  # in the demo's settings, and in what the page's head says


@asynccontextmanager
async def demo_bridge(broker: Any, folder: Any, origin: str) -> Any:
    """A bridge as a process, with the demo's settings but for the page's port."""
    settings = resources.files("mqbridge.commands").joinpath("demo.toml").read_text()
    assert f'"{ORIGIN}"' in settings
    store = f"sqlite:///{folder}/jobs.db"
    bridge = Process(broker, folder, "unused", "bridge", store=store, route=settings.replace(ORIGIN, origin))
    try:
        await bridge.start()
        yield bridge
    finally:
        bridge.kill()


class Relay:
    """Stands before a bridge and can cut all connections to it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, up_writer]
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def opened(browser: Any, broker: Any, folder: Any, **options: Any) -> Any:
    """The page and its bridge; nothing may be wrong in the page's console."""
    with served(PAGE) as origin:
        async with demo_bridge(broker, folder, origin) as bridge:
            page = await browser.new_page(**options)
            page.set_default_timeout(20_000)
            page.faults = []
            page.on("pageerror", lambda error: page.faults.append(str(error)))
            await page.goto(f"{origin}/?bridge=http://127.0.0.1:{bridge.port}")
            yield page, bridge
            assert page.faults == []


async def job_of(page: Any, items: int) -> Any:
    """Make a job with the form; its card."""
    await page.get_by_label("Items", exact=True).fill(str(items))
    await page.get_by_role("button", name="Make a job").click()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=f"{items} items", exact=True))
    await card.wait_for()
    return card


async def shown(card: Any) -> float:
    """How far the card's bar is."""
    return float(await card.get_by_role("progressbar").evaluate("bar => bar.value"))


async def rises(card: Any, above: float) -> float:
    """Wait until the bar shows more than that."""
    bar = await card.get_by_role("progressbar").element_handle()
    await card.page.wait_for_function("([bar, above]) => bar.value > above", arg=[bar, above])
    return await shown(card)


async def test_the_page_shows_progress_and_the_result(browser: Any, broker: Any, working: Any, tmp_path: Any) -> None:
    from playwright.async_api import expect

    async with opened(browser, broker, tmp_path) as (page, _), working(worker, 4):
        card = await job_of(page, 8)
        first = await rises(card, 0)
        assert 0 < first < await rises(card, first) <= 8
        await expect(card.get_by_role("status")).to_have_text("done")
        assert await shown(card) == 8
        await expect(card.locator("pre")).to_contain_text('"items":8')
        await expect(card.get_by_role("button", name="Cancel")).to_be_disabled()


async def test_the_page_cancels_a_job_and_its_handler_stops(
    browser: Any, broker: Any, working: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from playwright.async_api import expect

    async with opened(browser, broker, tmp_path) as (page, _), working(worker, 4):
        other = await job_of(page, 12)
        card = await job_of(page, 1000)
        await rises(card, 0)
        await card.get_by_role("button", name="Cancel").click()
        await expect(card.get_by_role("status")).to_have_text("cancelled")
        said = []
        await until(lambda: said.append(capsys.readouterr().err) or "of 1000 items" in "".join(said), "it was stopped")
        await expect(other.get_by_role("status")).to_have_text("done")
        assert "of 12 items" not in "".join(said)


async def test_the_page_follows_its_job_when_the_bridge_was_killed_and_comes_back(
    browser: Any, broker: Any, working: Any, tmp_path: Any
) -> None:
    from playwright.async_api import expect

    async with opened(browser, broker, tmp_path) as (page, bridge), working(worker, 4):
        card = await job_of(page, 40)
        before = await rises(card, 1)
        bridge.kill()
        await expect(card.get_by_text("connecting again")).to_be_visible()
        await bridge.start()
        assert await rises(card, before) > before
        await expect(card.get_by_role("status")).to_have_text("done")


async def test_a_connection_that_is_cut_is_resumed_behind_the_last_event(
    browser: Any, broker: Any, working: Any, tmp_path: Any
) -> None:
    from playwright.async_api import expect

    async with opened(browser, broker, tmp_path) as (page, bridge), working(worker, 4), Relay(bridge.port) as relay:
        asked: list[Any] = []
        page.on("request", lambda request: asked.append(request) if request.url.endswith("/events") else None)
        await page.get_by_label("Bridge").fill(f"http://127.0.0.1:{relay.port}")
        card = await job_of(page, 40)
        before = await rises(card, 1)
        relay.cut()
        assert await rises(card, before) > before
        await expect(card.get_by_role("status")).to_have_text("done")
        first, second = [(await request.all_headers()).get("last-event-id") for request in asked]
        assert first is None
        assert int(second or 0) > before  # `started` has an id too


async def test_a_bridge_that_does_not_answer_is_named(browser: Any, broker: Any, tmp_path: Any) -> None:
    from playwright.async_api import expect

    async with opened(browser, broker, tmp_path) as (page, bridge):
        bridge.kill()
        await page.get_by_role("button", name="Make a job").click()
        await expect(page.get_by_role("alert")).to_contain_text(f"http://127.0.0.1:{bridge.port} does not answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_all_of_the_page(
    browser: Any, broker: Any, working: Any, tmp_path: Any, scheme: str
) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    async with opened(browser, broker, tmp_path, **phone) as (page, _), working(worker, 4):
        await rises(await job_of(page, 100), 0)
        assert await page.evaluate("document.documentElement.scrollWidth") == 390
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
        await page.get_by_role("button", name="Cancel").click()
        await page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
