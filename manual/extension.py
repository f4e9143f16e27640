"""An extension of Python-Markdown, which Zensical renders the pages with.

``<!-- generated: NAME -->`` on a line of its own is replaced by what :data:`manual.PAGES` makes of the code. Links to
files of the repository that are no pages lead to the repository, or are plain text where its address is not known.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from markdown import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from zensical.extensions.context import ContextPreprocessor

from manual import PAGES

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from markdown import Markdown

_MARK: Final = re.compile(r"<!-- generated: (\w+) -->")
_OUTSIDE: Final = "../"
_BEFORE_FENCES: Final = 28  # pymdownx.superfences has 25, normalize_whitespace 30
_AFTER_INLINE: Final = 15  # the links are there from 20 on; Zensical's own come later


class Generated(Preprocessor):
    """Puts the reference in place of its marks. An unknown name is a KeyError: the build fails."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines of a page with the marks replaced."""
        out: list[str] = []
        for line in lines:
            mark = _MARK.fullmatch(line.strip())
            out += PAGES[mark[1]]().splitlines() if mark else [line]
        return out


class Outside(Treeprocessor):
    """Leads links that leave ``docs/`` to the repository."""

    def __init__(self, md: Markdown, repository: str) -> None:
        super().__init__(md)
        self._repository = repository

    def run(self, root: Element) -> None:
        """Change the links of a page in place."""
        folder = self._folder()
        for link in root.iter("a"):
            target = link.get("href", "")
            if re.match(r"[a-z]+:|#|/", target):
                continue
            inside = posixpath.normpath(posixpath.join(folder, target.partition("#")[0]))
            if inside.startswith(_OUTSIDE):
                self._lead_out(link, posixpath.normpath(posixpath.join("docs", inside)))

    def _folder(self) -> str:
        context = ContextPreprocessor.from_markdown(self.md)
        return posixpath.dirname(context.page.path) if context else ""

    def _lead_out(self, link: Element, path: str) -> None:
        del link.attrib["href"]
        if self._repository:
            link.set("href", f"{self._repository}/blob/main/{path}")
        else:  # an <a> without href is text that says where it would lead
            link.set("title", path)


class ManualExtension(Extension):
    """Both of them. ``repository``: its address without a slash at the end, or nothing."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - what Python-Markdown hands over
        self.config = {"repository": ["", "Where the repository can be read."]}
        super().__init__(**options)

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Python-Markdown's name
        """Register both."""
        md.preprocessors.register(Generated(md), "manual_generated", _BEFORE_FENCES)
        md.treeprocessors.register(Outside(md, self.getConfig("repository")), "manual_outside", _AFTER_INLINE)


def makeExtension(**options: Any) -> ManualExtension:  # noqa: N802, ANN401 - Python-Markdown's name
    """Return the extension, as Python-Markdown asks for it."""
    return ManualExtension(**options)
