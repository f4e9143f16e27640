"""Calling a bridge as a caller does, and showing what it answers."""

from __future__ import annotations

import base64
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from bridge.client import BearerKey, BridgeClient, EventStreamError, JobError, problem_of
from bridge.problems import TABLE
from mqbridge.asking import UNREACHABLE
from mqbridge.console import CommandError, say
from mqbridge.environment import caller_key
from mqbridge.tables import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

UNAUTHENTICATED = "give the caller's key with --key-file FILE or MQBRIDGE_KEY"


@contextmanager
def caller(
    urls: Sequence[str], key_file: Path | None, deadline: float, *, patient: bool = False
) -> Iterator[BridgeClient]:
    """Give a client for a bridge, or several. What goes wrong is a :class:`CommandError`.

    ``deadline``: seconds; ``patient``: what says "later" is asked again later.
    """
    key = caller_key(key_file)
    try:
        auth = BearerKey(key) if key else None
        client = BridgeClient(urls, auth=auth, deadline=deadline, max_pause=None if patient else 0.0)
    except ValueError as error:
        raise CommandError(f"--url or the key: {error}", 2) from error
    with client:
        try:
            yield client
        except JobError as error:
            raise CommandError(f"{printable(str(error))}{_advice(error.response)}") from error
        except httpx.TimeoutException as error:
            raise CommandError(f"no answer within {deadline:g} s ({error}): --timeout gives it longer") from error
        except (httpx.TransportError, EventStreamError) as error:
            raise CommandError(f"{', '.join(urls)} cannot be reached ({error}); {UNREACHABLE}") from error
        except httpx.InvalidURL as error:
            raise CommandError(str(error), 2) from error


def show(response: httpx.Response, *, output: Path | None, include: bool, as_json: bool) -> int:
    """Print an answer: its body on standard output, byte for byte unless that is a terminal; return the exit code.

    ``include``: status and headers on standard error. Raises :class:`CommandError` for a file that cannot be written.
    """
    if include:
        say(f"{response.status_code} {response.reason_phrase}")
        for name, value in response.headers.multi_items():
            say(f"  {printable(name)}: {printable(value)}")
    if as_json:
        print(json.dumps(as_document(response)))
    elif output is not None:
        try:
            output.write_bytes(response.content)
        except OSError as error:
            raise CommandError(f"--output {output}: {error.strerror}") from error
        say(f"{len(response.content)} bytes in {output}")
    else:
        _print_body(response)
    if response.is_error:
        problem = problem_of(response)
        name = "" if problem is None else f" {problem['name']}: {printable(str(problem.get('detail', '')))}"
        say(f"{response.status_code}{name or ' ' + response.reason_phrase}{_advice(response)}")
    return 1 if response.is_error else 0


@contextmanager
def job_goes_on(job_id: str) -> Iterator[None]:
    """Say where a job is if whoever waits for it does not wait any longer."""
    try:
        yield
    except (KeyboardInterrupt, httpx.TransportError):
        say(f"the job goes on: mqbridge jobs follow {job_id}")
        raise


def as_document(response: httpx.Response) -> dict[str, Any]:
    """Return an answer as JSON has it; ``body_base64`` where the body is not UTF-8."""
    try:
        body = {"body": response.content.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(response.content).decode()}
    return {"status": response.status_code, "headers": dict(response.headers), **body}


def _print_body(response: httpx.Response) -> None:
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(response.content)
        sys.stdout.buffer.flush()
        return
    try:
        text = printable(response.content.decode(), keep="\n\t")
    except UnicodeDecodeError:
        kind = response.headers.get("content-type", "no text")
        say(f"{len(response.content)} bytes, {printable(kind)}: --output FILE saves them")
        return
    print(text, end="" if text.endswith("\n") or not text else "\n", flush=True)


def _advice(response: httpx.Response) -> str:
    problem = problem_of(response)
    row = None if problem is None else TABLE.get(problem["name"])
    if row is None:
        return ""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return f"\n  → {UNAUTHENTICATED}"
    return f"\n  → {row.meaning}"
