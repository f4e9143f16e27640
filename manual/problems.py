"""The problems as a page, from their table."""

from __future__ import annotations

from http import HTTPStatus

from bridge.problems import TABLE, Row


def render() -> str:
    """Return Markdown: an overview by status, then each problem with what to do about it."""
    rows = sorted(TABLE.items(), key=lambda item: (item[1].status, item[0]))
    overview = [f"| {row.status} | [`{name}`](#{name}) | {_ran(row)} | {row.title} |" for name, row in rows]
    head = ["| status | name | ran | what it is |", "|---|---|---|---|"]
    return "\n".join([*head, *overview, "", *(_section(name, row) for name, row in rows)])


def _ran(row: Row) -> str:
    return ", ".join(f"`{ran}`" for ran in (row.ran, *row.also) if ran) or "–"


def _section(name: str, row: Row) -> str:
    extra = f" Extra members: {', '.join(f'`{member}`' for member in row.extra)}." if row.extra else ""
    phrase = HTTPStatus(row.status).phrase
    ran = f" `ran`: {_ran(row)}." if row.ran else ""
    return f"## {name}\n\n**{row.status} {phrase}. {row.title}.** {row.meaning}{ran}{extra}\n"
