"""Docstrings as the site shows them: their references are Sphinx's, the site's text is Markdown."""

from __future__ import annotations

import re
from typing import Any, Final

import griffe

_ROLE: Final = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")
_LITERAL: Final = re.compile(r"^::\n", re.MULTILINE)


class MarkdownDocstrings(griffe.Extension):
    """Makes ``code`` of a role, and an indented block of what follows ``::``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - griffe hands over more than is used
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = _LITERAL.sub("", _ROLE.sub(r"`\1`", obj.docstring.value))
