"""`mqbridge dlq`: what an operator does with dead letters, by way of the bridge's `/-/api/dlq`."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import typer

from mqbridge.asking import RefusedError, ask, bridge_at
from mqbridge.console import CommandError, say
from mqbridge.letters import print_letter, print_letters, print_shelves
from mqbridge.progress import Progress
from mqbridge.tables import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

AT: Final = "/-/api/dlq"
TIMEOUT: Final = 90.0  # seconds; the bridge bounds each step itself, and waits for its turn
PAGE: Final = 200
_OF_ONE_LETTER: Final = frozenset({"not-replayable", "no-dead-letter", "dead-letter-busy"})
_MAYBE_STILL_THERE: Final = (
    "the broker did not confirm that it is gone; if it is still there, to replay it again gives the same job"
)

Letter = dict[str, Any]


class Desk:
    """The commands, for the bridge at ``url``. Each returns an exit code and raises :class:`CommandError`."""

    def __init__(self, url: str, key: str) -> None:
        self._client = bridge_at(url, key, TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    # -- looking

    def overview(self, queues: Sequence[str], limit: int, *, as_json: bool) -> int:
        """Print the queues that hold anything, and at most ``limit`` letters of each; or just those of ``queues``."""
        shelves = [] if queues else self._shelves()
        filled = [shelf["queue"] for shelf in shelves if shelf["count"]]
        found = {}
        with Progress("looking at dead letters"):
            for queue in queues or filled:
                found[queue] = list(self._first(queue, limit + 1))
        if as_json:
            letters = [letter for of_one in found.values() for letter in of_one[:limit]]
            print(json.dumps({"queues": shelves, "letters": letters}))
            return 0
        if not queues:
            print_shelves(shelves)
        for queue, letters in found.items():
            print_letters(queue, letters[:limit], more=len(letters) > limit)
        return 0

    def show(self, letter_id: str, body_to: Path | None, *, as_json: bool) -> int:
        """Print one letter."""
        with Progress("looking for it"):
            letter = ask(self._client, "GET", _path(letter_id), "headers")
        body = _body_of(letter)
        if body_to is not None:
            _save(body, body_to, letter["size"])
        if as_json:
            print(json.dumps(letter))
        else:
            print_letter(letter, body)
        return 0

    # -- doing

    def replay(self, ids: Sequence[str], queues: Sequence[str], *, as_json: bool) -> int:
        """Make jobs of letters; print where each is."""

        def one(letter_id: str) -> None:
            done = ask(self._client, "POST", f"{_path(letter_id)}/replay", "job")
            if as_json:
                print(json.dumps(done))
            else:
                print(f"{printable(letter_id)}  {done['job']['links']['self']}", flush=True)
            if not done["removed"]:
                say(f"{printable(letter_id)}: {_MAYBE_STILL_THERE}")

        return self._each("replaying", "replayed", one, ids, queues)

    def drop(self, ids: Sequence[str], queues: Sequence[str], *, yes: bool) -> int:
        """Throw letters away, once somebody has said that he means it."""
        number = len(dict.fromkeys(ids))
        what = f"{number} dead letter{'s'[: number > 1]}" if ids else f"all dead letters of {', '.join(queues)}"
        if not yes:
            if not sys.stdin.isatty():
                raise CommandError("nobody is here to be asked: say --yes", 2)
            if not typer.confirm(f"Drop {what} for good?", err=True):
                raise CommandError("nothing was dropped")
        return self._each("dropping", "dropped", self._drop, ids, queues)

    def _drop(self, letter_id: str) -> None:
        ask(self._client, "DELETE", _path(letter_id))

    def _each(
        self, doing: str, done: str, one: Callable[[str], None], ids: Sequence[str], queues: Sequence[str]
    ) -> int:
        """Do it to letters, or to all of queues; what is refused is said, and the others are gone on with."""
        with Progress(doing) as progress:
            attempts = _Attempts(one, progress)
            try:
                for letter_id in dict.fromkeys(ids):
                    attempts.attempt(letter_id)
                for queue in queues:
                    self._sweep(queue, attempts.attempt)
            finally:  # also if the bridge goes away in the middle of it
                left = f", {attempts.kept} left as they were" if attempts.kept else ""
                say(f"{attempts.done} {done}{left}")
        return 1 if attempts.kept else 0

    def _sweep(self, queue: str, attempt: Callable[[str], bool]) -> None:
        """Attempt all letters of a queue that are there now: what dies again meanwhile is not replayed again.

        A broker may show only the first letters of a queue, so it is begun again as long as that leads anywhere.
        """
        kept: set[str] = set()
        until_ms: int | None = None
        moved = True
        while moved:
            moved, after, more = False, None, True
            while more:
                try:
                    page = self._page(queue, after, PAGE)
                except RefusedError as error:
                    if error.name != "no-dead-letter":
                        raise
                    moved = True  # somebody else has taken the letter that we had come to
                    break
                until_ms = until_ms or page["now_ms"]
                for letter in page["letters"]:
                    letter_id, is_old = letter["id"], letter["when_ms"] is None or letter["when_ms"] <= until_ms
                    if is_old and letter_id not in kept and attempt(letter_id):
                        moved = True
                    else:
                        kept.add(letter_id)
                        after = letter_id
                more = page["next"] is not None

    # -- asking

    def _shelves(self) -> list[dict[str, Any]]:
        with Progress("counting dead letters"):
            found: list[dict[str, Any]] = ask(self._client, "GET", AT, "queues")["queues"]
        return found

    def _first(self, queue: str, limit: int) -> Iterator[Letter]:
        after: str | None = None
        while limit > 0:
            page = self._page(queue, after, min(limit, PAGE))
            yield from page["letters"]
            limit -= len(page["letters"])
            after = page["next"]
            if after is None:
                return

    def _page(self, queue: str, after: str | None, limit: int) -> dict[str, Any]:
        behind = "" if after is None else f"&after={quote(after, safe='')}"
        return ask(self._client, "GET", f"{AT}?queue={quote(queue, safe='')}&limit={limit}{behind}", "letters")


class _Attempts:
    """What was tried, and how it went; ``one`` does it to one letter."""

    def __init__(self, one: Callable[[str], None], progress: Progress) -> None:
        self.done = 0
        self.kept = 0
        self._one = one
        self._progress = progress

    def attempt(self, letter_id: str) -> bool:
        """Do it; False if this letter stays. Raises what will be the same for all others."""
        try:
            self._one(letter_id)
        except RefusedError as error:
            if error.name not in _OF_ONE_LETTER:
                raise
            self.kept += 1
            say(f"{printable(letter_id)}: {error}")
            return False
        self.done += 1
        self._progress.now = f"{self.done} done, {self.kept} left"
        return True


def _path(letter_id: str) -> str:
    return f"{AT}/{quote(letter_id, safe='~:=')}"


def _body_of(letter: Letter) -> bytes | None:
    if "body_base64" in letter:
        return base64.b64decode(letter["body_base64"])
    return None if letter["body"] is None else str(letter["body"]).encode()


def _save(body: bytes | None, file: Path, size: int) -> None:
    if body is None:
        raise CommandError(f"the body of {size} bytes is over the bridge's broker.max_frame, and cannot be had from it")
    try:
        file.write_bytes(body)
    except OSError as error:
        raise CommandError(f"--body-to {file}: {error.strerror}") from error
