"""The site as it is built: every link leads somewhere, every page is in it and reads as on a forge."""

from __future__ import annotations

import re
import tomllib
import urllib.request
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, all_pages, reader

CONFIGURATION = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
SOURCES = [str(path.relative_to(DOCS)) for path in sorted(DOCS.rglob("*.md"))]
GENERATED = re.compile(r"<!-- generated: |^::: ", re.MULTILINE)


def in_the_navigation(items=CONFIGURATION["nav"]):
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            for value in item.values():
                yield from in_the_navigation(value if isinstance(value, list) else [value])


def outside():
    links = {
        match[1].rstrip(".,")
        for page in all_pages()
        for match in re.finditer(r"(?:\]\(|<)(https?://[^)>\s]+)", page.path.read_text("utf-8"))
    }
    return sorted(link for link in links if urlsplit(link).hostname not in ("127.0.0.1", "localhost"))


def test_the_build_says_nothing_is_wrong(site):
    if "No issues found" not in site.said:
        pytest.fail(site.said, pytrace=False)


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    entries = list(in_the_navigation())
    decisions = {source for source in SOURCES if source.startswith("decisions/")}
    assert set(entries) - set(SOURCES) == set()
    assert set(SOURCES) - set(entries) - decisions == set()
    assert len(entries) == len(set(entries))


def test_every_decision_is_in_the_list_of_decisions():
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (DOCS / "decisions" / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in (DOCS / "decisions").glob("[0-9]*.md")}


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(site):
    wrong = []
    for path, page in site.pages.items():
        if path.name == "404.html":
            continue  # its links begin at the site's root, wherever that is
        for element, target in page.links:
            address, fragment = urldefrag(target)
            if urlsplit(address).scheme or (element == "link" and not address):
                continue
            place = (path.parent / address).resolve() if address else path
            place = place / "index.html" if place.is_dir() else place
            where = f"{path.relative_to(site.folder)} → {target}"
            if not place.is_relative_to(site.folder) or not place.is_file():
                wrong.append(where)
            elif fragment and place in site.pages and fragment not in {*site.pages[place].ids, "__top"}:
                wrong.append(f"{where}: no such place")
    assert wrong == []


def test_no_page_has_two_places_of_one_name(site):
    for path, page in site.pages.items():
        twice = {name for name in page.ids if page.ids.count(name) > 1 and not name.startswith("__")}
        assert twice == set(), path


def test_nothing_is_loaded_from_another_host(site):
    for path, page in site.pages.items():
        loaded = [target for element, target in page.links if element in ("img", "link", "script", "iframe")]
        assert [target for target in loaded if urlsplit(target).netloc] == [], path
    for style in site.folder.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//", style.read_text("utf-8")) == [], style


def test_a_page_reads_on_the_site_as_it_does_on_a_forge(site):
    """The site's Markdown is not CommonMark: a list without a blank line before it is a paragraph there."""
    kinds = {"li": "list_item_open", "table": "table_open", "tr": "tr_open", "h2": "heading_open", "pre": "fence"}
    differences = {}
    for name in SOURCES:
        text = (DOCS / name).read_text("utf-8")
        if GENERATED.search(text):
            continue
        tokens = reader().parse(text)
        for tag, kind in kinds.items():
            there = sum(token.type == kind and token.tag in (tag, "code") for token in tokens)
            here = site.page(name).counts.get(tag, 0)
            if here != there:
                differences[f"{name}: {tag}"] = f"{here}, on a forge {there}"
    assert differences == {}


@pytest.mark.parametrize("page", [page.path for page in all_pages()], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_sources_lead_to_files_and_headings(page):
    """As a forge shows them: also the README, and links to files that are no pages."""
    wrong = []
    for token in reader().parse(page.read_text("utf-8")):
        for part in token.children or ():
            target = part.attrGet("href") or part.attrGet("src") or ""
            address, fragment = urldefrag(str(target))
            if not target or urlsplit(address).scheme:
                continue
            place = (page.parent / address).resolve() if address else page
            if not place.exists() or (fragment and place.suffix == ".md" and fragment not in anchors(place)):
                wrong.append(target)
    assert wrong == []


def anchors(page: Path) -> set[str]:
    """The places of a page as forges name them."""
    if GENERATED.search(page.read_text("utf-8")):
        return set(re.findall(r"#[\w-]+", page.read_text("utf-8")))
    found: dict[str, int] = {}
    tokens = reader().parse(page.read_text("utf-8"))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            parts = tokens[number + 1].children or ()
            text = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)}


@pytest.mark.parametrize("link", outside())
def test_a_link_to_elsewhere_is_well_formed(link, request):
    """And, with ``pytest tests/docs --outside-links``, leads to something."""
    parts = urlsplit(link)
    assert parts.scheme == "https"
    assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc)
    if request.config.getoption("--outside-links", default=False):
        asked = urllib.request.Request(link, method="HEAD", headers={"User-Agent": "activemq-rest-bridge tests"})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.status < 400
