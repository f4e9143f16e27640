"""The pages of the documentation and their blocks of code, as CommonMark reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
# A comment right before a block says why it is not run. One anywhere says which test has all blocks of a language.
_NOT_RUN: Final = re.compile(r"<!-- not run: (.+?) -->", re.DOTALL)
_ELSEWHERE: Final = re.compile(r"<!-- (\w+) blocks: (tests/\S+) -->")
_TITLE: Final = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block. ``title``: the file it is written to. ``not_run``: why it is not, if it is not."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    not_run: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Page:
    """``elsewhere``: language → the test that has all its blocks of that language."""

    path: Path
    blocks: tuple[Block, ...]
    elsewhere: dict[str, str] = field(hash=False)
    unfenced: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def runnable(self) -> tuple[Block, ...]:
        """The blocks that nobody else has and nothing keeps from running."""
        return tuple(block for block in self.blocks if not block.not_run and block.language not in self.elsewhere)


def reader() -> MarkdownIt:
    """CommonMark with tables: what forges show."""
    return MarkdownIt("commonmark").enable("table")


@cache
def read(path: Path) -> Page:
    """Read a page. Numbers of lines are those of the file, from 1."""
    text = path.read_text("utf-8")
    blocks, unfenced, before = [], [], ""
    for token in reader().parse(text):
        if token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            why = _NOT_RUN.search(before)
            title = _TITLE.search(rest)
            blocks.append(
                Block(
                    path,
                    token.map[0] + 1,
                    language,
                    title[1] if title else "",
                    token.content,
                    " ".join(why[1].split()) if why else "",
                )
            )
        elif token.type == "code_block":
            unfenced.append(token.map[0] + 1)
        if token.type == "html_block":
            before = token.content
        elif token.type not in ("paragraph_open", "paragraph_close"):
            before = ""
    return Page(path, tuple(blocks), dict(_ELSEWHERE.findall(text)), tuple(unfenced))


def all_pages() -> list[Page]:
    """Every page: README.md, CONTRIBUTING.md and all below docs/."""
    return [read(path) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))]
