"""Dead letters on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqbridge.tables import add_row, make_table, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEXDUMP: Final = 256  # bytes


def print_shelves(shelves: Sequence[Mapping[str, Any]]) -> None:
    """Print the queues that hold anything."""
    filled = [shelf for shelf in shelves if shelf["count"] or shelf["more"]]
    if not filled:
        print(f"no dead letters in {', '.join(printable(shelf['queue']) for shelf in shelves) or 'any queue'}")
        return
    table = make_table("queue", "kind", "of the routes", right=["messages"])
    for shelf in filled:
        count = f"{shelf['count']} or more" if shelf["more"] else str(shelf["count"])
        add_row(table, [shelf["queue"], shelf["kind"], ", ".join(shelf["routes"]), count])
    print_table(table)


def print_letters(queue: str, letters: Sequence[Mapping[str, Any]], *, more: bool) -> None:
    """Print letters of one queue; ``more``: that there are others."""
    print(f"\n{printable(queue)}")
    if not letters:
        print("  nothing")
        return
    table = make_table("when", "route", "attempts", "content type", "reason", "id", right=["bytes"])
    for letter in letters:
        cells = (letter[name] for name in ("when", "route", "attempts", "content_type", "reason", "id"))
        add_row(table, [*("–" if cell is None else str(cell) for cell in cells), str(letter["size"])])
    print_table(table)
    if more:
        print("… and more: --limit says how many are shown")


def print_letter(letter: Mapping[str, Any], body: bytes | None) -> None:
    """Print one letter whole; of a body that is not text, the beginning."""
    for name in ("id", "queue", "kind", "when", "original_queue", "route", "caller", "attempts", "reason", "size"):
        if letter[name] is not None:
            print(f"{name.replace('_', ' ')}: {printable(str(letter[name]))}")
    print("\nheaders")
    for name, value in sorted(letter["headers"].items()):
        print(f"  {printable(name)}: {printable(value)}")
    print("\nbody")
    for line in _lines(body, letter["size"]):
        print(line)


def _lines(body: bytes | None, size: int) -> Iterator[str]:
    if body is None:
        yield f"  {size} bytes, over the bridge's broker.max_frame: not shown"
        return
    text = _text(body)
    if text is not None:
        yield printable(text, keep="\n\t")
        return
    for at in range(0, min(len(body), _HEXDUMP), 16):
        row = body[at : at + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {at:06x}  {row.hex(' '):<47}  {shown}"
    if len(body) > _HEXDUMP:
        yield f"  … {len(body) - _HEXDUMP} bytes more: --body-to FILE saves all"


def _text(body: bytes) -> str | None:
    """Return a body as text, if that is what it is: UTF-8 without control characters but for spaces and line ends."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    controls = {chr(code) for code in range(32)} - set("\n\r\t")
    return None if controls.intersection(text) else text
