"""`/docs`: the page by itself, and `/docs` and `/openapi.json` on both HTTP servers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.openapi import BASE, make_document, make_page
from bridge.openapi.page import content_security_policy
from bridge.schema import BodySchema
from bridge.settings import Route, Server, Settings
from tests.bridge.harness import running, settings_for

VOID = {"meta", "link", "wbr", "br"}
SKU = BodySchema({"required": ["sku"], "description": "<b>&", "examples": [{"sku": "it's"}]})
ROUTES = (
    Route(name="thumbnails", path="/thumbnails/{size}", queue="q", accepts=("image/png", "image/jpeg")),
    Route(
        name="orders",
        path="/orders/{id}",
        queue="q",
        methods={"PUT", "GET", "HEAD"},
        schema_=SKU,
        idempotency="required",
    ),
    Route(name="words", path="/words", queue="q", accepts=("text/plain",)),
    Route(name="any", path="/any", queue="q", async_="never", idempotency="off"),
)


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its turn, every id is there once."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.ids = []
        self.links = []
        self.addresses = []
        self.texts = {}
        self.commands = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action", "srcset")]
        if tag == "div" and attributes.get("class") == "command":
            self.commands.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        self.texts[where] = self.texts.get(where, "") + data
        if self.open[-2:] == ["pre", "code"] and self.open[-3] == "div":
            self.commands[-1] += data


def page_of(*routes, **server):
    return make_page(make_document(Settings(server=Server(**server), routes=routes or ROUTES), "1.2.3"))


def test_it_is_well_formed_and_links_lead_to_what_is_there():
    page = Page(page_of())
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert re.fullmatch(r"openapi\.json|problems/[a-z-]+", link)


def test_nothing_of_it_comes_from_elsewhere():
    page = Page(page_of())
    assert not [address for address in page.addresses if "//" in address]
    assert "url(" not in page.texts["style"]
    assert "@import" not in page.texts["style"]


def test_the_policy_allows_its_own_style_and_script_and_no_other():
    page = Page(page_of())
    policy = content_security_policy()
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")


def test_each_operation_has_a_section_and_a_command():
    page = Page(page_of())
    for name in ("post_thumbnails", "put_orders", "get_orders", "head_orders", "post_words", "post_any"):
        assert name in page.ids
    for name in ("jobs.get", "jobs.cancel", "jobs.result", "jobs.events"):
        assert name in page.ids
    assert len(page.commands) == 10


def test_commands_are_those_a_shell_understands():
    commands = [shlex.split(command.replace("\\\n", " ")) for command in Page(page_of()).commands]
    key = ["-H", "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324"]
    of_json = ["-H", "Content-Type: application/json"]
    assert commands == [
        ["curl", "-i", f"{BASE}/thumbnails/SIZE", "-H", "Content-Type: image/png", "--data-binary", "@FILE.png"],
        ["curl", "-i", f"{BASE}/orders/ID", *key],
        ["curl", "-I", f"{BASE}/orders/ID", *key],
        ["curl", "-i", "-X", "PUT", f"{BASE}/orders/ID", *key, *of_json, "-d", '{"sku": "it\'s"}'],
        ["curl", "-i", f"{BASE}/words", "-H", "Content-Type: text/plain", "-d", "some text"],
        ["curl", "-i", f"{BASE}/any", *of_json, "-d", "{}"],
        ["curl", "-i", f"{BASE}/jobs/ID"],
        ["curl", "-i", "-X", "DELETE", f"{BASE}/jobs/ID"],
        ["curl", "-i", f"{BASE}/jobs/ID/result"],
        ["curl", "-i", f"{BASE}/jobs/ID/events"],
    ]


def test_a_route_without_a_body_is_called_with_its_method():
    page = Page(page_of(Route(name="a", path="/a", queue="q", methods={"DELETE"}, idempotency="off", async_="never")))
    assert page.commands == [f"curl -i -X DELETE {BASE}/a"]


def test_what_is_configured_is_text_and_never_markup():
    text = page_of()
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text


def test_below_a_public_url_commands_and_problems_lead_there():
    page = Page(page_of(public_url="https://example.com/mq"))
    assert "https://example.com/mq/thumbnails/SIZE" in page.commands[0]
    assert "https://example.com/mq/problems/deadline" in page.links
    assert BASE not in page_of(public_url="https://example.com/mq")


def test_a_bridge_without_routes_has_a_page_too():
    text = make_page(make_document(Settings(), "1.2.3"))
    Page(text)
    assert "No route is configured." in text


# -- as they are served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(implementation):
    async with FakeBroker() as broker, running(settings_for(broker, ROUTES), implementation) as bridge:
        yield bridge


served = pytest.mark.asyncio(loop_scope="module")


@served
async def test_the_document_is_served(bridge):
    response = await bridge.call("/openapi.json", None, method="GET")
    assert (response.status, response.get("content-type")) == (200, "application/json")
    assert response.get("cache-control") == "no-store"
    assert set(json.loads(response.body)["paths"]) == {
        "/thumbnails/{size}", "/orders/{id}", "/words", "/any", "/jobs/{id}", "/jobs/{id}/result", "/jobs/{id}/events",
    }  # fmt: skip


@served
async def test_the_page_is_served_with_its_policy_and_its_address(bridge):
    response = await bridge.call("/docs", None, method="GET", host=f"localhost:{bridge.port}")
    assert (response.status, response.get("content-type")) == (200, "text/html; charset=utf-8")
    assert response.get("content-security-policy") == content_security_policy()
    assert response.get("x-content-type-options") == "nosniff"
    page = Page(response.body.decode())
    assert f"http://localhost:{bridge.port}/thumbnails/SIZE" in page.commands[0]


@served
@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(bridge, path, method):
    response = await bridge.call(path, b"", method=method)
    assert (response.status, response.name) == (405, "method-not-allowed")
    assert response.get("allow") == "GET, HEAD"


@served
@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_an_open_bridge_shows_them_to_its_own_machine_only(bridge, path):
    for options in ({"host": "example.com"}, {"headers": (("X-Forwarded-For", "10.0.0.1"),)}):
        response = await bridge.call(path, None, method="GET", **options)
        assert (response.status, response.name) == (403, "forbidden")


@served
@pytest.mark.parametrize("path", ["/docs/", "/docs/x", "/openapi.json/x", "/docsx"])
async def test_what_only_begins_like_them_is_no_page(bridge, path):
    assert (await bridge.call(path, None, method="GET")).status == 404


@pytest.mark.parametrize("host", ['x"><script>', "a b", "a/b", "a'b", "$(id)", "`id`"])
async def test_a_host_that_is_none_does_not_get_into_the_page(host):
    async with (
        FakeBroker() as broker,
        running(settings_for(broker, ROUTES, allow_anonymous=True), "uvicorn") as bridge,
    ):
        response = await bridge.call("/docs", None, method="GET", host=host)
    assert f"://{host}".encode() not in response.body
    assert response.status == 200
    assert b"http://127.0.0.1/thumbnails" in response.body
