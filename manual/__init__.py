"""What the documentation site needs of code: its reference pages, and how it reads links and docstrings.

Zensical loads :mod:`manual.extension` (see ``zensical.toml``). Nothing of this is part of the wheel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from manual import commands, metrics, problems, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands": commands.render,
    "metrics": metrics.render,
    "problems": problems.render,
    "settings": settings.render,
}
"""By the name that a page calls for it with: what makes its Markdown."""
