"""docs/http.md, docs/messages.md and the code say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge import translate
from bridge.endpoints.pages import PREFIXES
from bridge.problems import TABLE, retry_later
from tests.bridge.test_contract_order import ORDER
from tests.bridge.test_link import Bench, a_route, parsed

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "http.md").read_text()
LATER = "(from 0.2)"
NOT_ABOUT_A_CALL = "–"
ROW = re.compile(r"\| (\d{3}) \| `([a-z-]+)` \| (.*?) \| ([^|]*) \| ([^|]*) ?\|")


@dataclass
class Documented:
    status: int
    when: str
    ran: tuple[str, ...]
    extra: str

    @property
    def is_built(self):
        return not self.when.startswith(LATER)


def documented():
    rows = {}
    for line in PAGE.partition("\n## Errors")[2].partition("\n## ")[0].splitlines():
        if found := ROW.fullmatch(line.strip()):
            status, name, when, ran, extra = found.groups()
            assert name not in rows, f"{name} is there twice"
            rows[name] = Documented(int(status), when, tuple(ran.strip().split(" / ")), extra)
        else:
            assert not re.match(r"\| \d", line), f"a row that cannot be read: {line}"
    return rows


ROWS = documented()
BUILT = {name: row for name, row in ROWS.items() if row.is_built}


def test_the_page_has_the_rows_of_the_code_and_no_other():
    assert set(BUILT) == set(TABLE)


def test_every_row_is_built():
    assert set(ROWS) == set(BUILT)


@pytest.mark.parametrize("name", BUILT)
def test_a_row_has_the_status_and_the_ran_of_the_code(name):
    row = BUILT[name]
    assert (row.status, row.ran[0]) == (TABLE[name].status, TABLE[name].ran or NOT_ABOUT_A_CALL)
    assert set(row.ran) <= {"no", "maybe", "yes"} or row.ran == (NOT_ABOUT_A_CALL,)


@pytest.mark.parametrize("name", [name for name, row in BUILT.items() if row.status in (429, 503)])
def test_every_429_and_503_says_when_to_come_back(name):
    assert "`Retry-After`" in BUILT[name].extra
    assert dict(retry_later(name, "").headers)[b"retry-after"].isdigit()


def order_of_the_page():
    section = PAGE.partition("\n### Order of checks")[2].partition("\n## ")[0]
    items = re.split(r"\n\d+\. ", section)[1:]
    codes = re.compile(r"`([a-z-]+)`(?! \(from 0\.2\))")
    return [name for item in items for name in codes.findall(item)]


def test_the_order_of_checks_is_the_one_that_is_tested():
    first_of_each = list(dict.fromkeys(order_of_the_page()))
    assert first_of_each[0] == "invalid-request"
    tested = ["invalid-request" if name == "framing" else name for name in ORDER]
    assert first_of_each[1:] == tested[1:]


@pytest.mark.parametrize("page", ["/-/live", "/-/ready", "/-/api/status", "/problems/NAME"])
def test_the_bridges_own_pages_are_documented(page):
    assert f"| `{page}` |" in PAGE
    assert page.startswith(PREFIXES)


@pytest.mark.parametrize("page", ["http.md", "messages.md"])
def test_links_within_the_pages_lead_somewhere(page):
    text = (DOCS / page).read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert not file or (DOCS / file).exists()
        assert file or anchor in anchors


# -- the message contract


def documented_headers():
    """The names in the table of the request message, with NAME for what is open."""
    section = (DOCS / "messages.md").read_text().partition("\n## Request message")[2].partition("\nBody:")[0]
    names = set()
    for line in section.splitlines():
        if line.startswith("| `"):
            first, _, value = line.strip("| ").split(" | ", 2)
            if not value.startswith((LATER, "jobs:")):  # this is about a held call's message
                names |= set(re.findall(r"`([A-Za-z_-]+)`", first))
    return names


async def test_a_request_message_has_the_headers_of_the_page_and_no_other():
    bench, route = Bench(), a_route(persistent=True, pass_headers=("x-a",))
    given = [
        (b"content-type", b"a/b"),
        (b"x-a", b"1"),
        (b"traceparent", b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01"),
    ]
    head = translate.read_head([*given, (b"tracestate", b"a=1")], route.passes)
    properties = translate.properties_of(head, "/r/1", "POST", [("path_id", "1")]) + translate.trace_of(head, "2" * 32)
    bench.link.publish(route, bench.opened(), 1.0, 4, properties, b"", text=True)
    headers = set(parsed(bench).headers) - {"destination"}
    open_names = {"http_header_x_a": "http_header_NAME", "path_id": "path_NAME"}
    assert {open_names.get(name, name) for name in headers} == documented_headers()
