"""The site, built once for the tests that look at it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

NOT_IN_A_PAGE = {"nav", "header", "footer"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outside-links", action="store_true", help="tests/docs: also ask for pages on other hosts")


@dataclass
class Html(HTMLParser):
    """What of a page of the site the tests look at. ``counts``: elements within the article, by name."""

    path: Path
    ids: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # element, target
    article_links: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._in_article = False
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        target = given.get("href", given.get("src"))
        if target is not None:
            self.links.append((tag, target))
        if tag == "article":
            self._in_article = True
        elif self._in_article:
            self.counts[tag] = self.counts.get(tag, 0) + 1
            if tag == "a" and target is not None:
                self.article_links.append(target)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_article = False

    def handle_data(self, data: str) -> None:
        if self._in_article:
            self.text += data


@dataclass
class Site:
    """The site in its folder. ``said``: what the build has printed."""

    folder: Path
    said: str

    @cached_property
    def pages(self) -> dict[Path, Html]:
        return {path: Html(path) for path in sorted(self.folder.rglob("*.html"))}

    def page(self, name: str) -> Html:
        """The page made of ``docs/NAME``."""
        source = Path(name)
        index = source.parent if source.stem in ("index", "README") else source.with_suffix("")
        return self.pages[self.folder / index / "index.html"]


@pytest.fixture(scope="session")
def build_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Site]:
    """Build the site in a temporary folder. Not strictly: the tests say more clearly what is wrong with it."""

    def build() -> Site:
        root = tmp_path_factory.mktemp("site")
        shutil.copy(ROOT / "zensical.toml", root)
        shutil.copytree(ROOT / "docs", root / "docs")
        done = subprocess.run(
            [sys.executable, "-m", "zensical", "build"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
        if done.returncode != 0:
            pytest.fail(said[-4000:], pytrace=False)
        return Site(root / "build" / "site", said)

    return build


@pytest.fixture(scope="session")
def site(build_site: Callable[[], Site]) -> Site:
    return build_site()
