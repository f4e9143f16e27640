"""`mqbridge send` and `mqbridge bench`: options and help."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from mqbridge.console import CommandError
from mqbridge.options import (
    DEFAULT_URLS,
    AsJson,
    BodyFile,
    Headers,
    KeyFile,
    MediaType,
    Method,
    Output,
    Urls,
)

Target = Annotated[str, typer.Argument(metavar="PATH", help="A route's path, as /words; or a whole URL.")]
Body = Annotated[str | None, typer.Argument(help="The body; else see --file.", show_default=False)]


def send(
    path: Target,
    body: Body = None,
    method: Method = "POST",
    header: Headers = None,
    file: BodyFile = None,
    media_type: MediaType = None,
    as_job: Annotated[bool, typer.Option("--async", help="Make a job of it, and follow it to its end.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="With --async: print the job, and do not wait.")] = False,
    wait: Annotated[
        int | None, typer.Option(help="Be held for so many seconds at most.", min=1, show_default=False)
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", "-k", help="The call's own key; new: any.", show_default=False),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Ask again later, where the bridge says that this is safe.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for all of it.", min=0.1)] = 300.0,
    output: Output = None,
    include: Annotated[
        bool, typer.Option("--include", "-i", help="Print status and headers too, on standard error.")
    ] = False,
    as_json: AsJson = False,
    url: Urls = DEFAULT_URLS,
    key_file: KeyFile = None,
) -> None:
    """Send a call, or a job, and print the answer."""
    from mqbridge.calling import caller
    from mqbridge.commands import send as sending
    from mqbridge.outgoing import outgoing

    if detach and not as_job:
        raise CommandError("--detach is for --async", 2)
    if as_job and wait is not None:
        raise CommandError("--wait is for calls; a job is followed to its end, or not at all with --detach", 2)
    request = outgoing(url, path, method, header or (), body, file, media_type)
    showing = sending.Showing(output, include, as_json)
    with caller(request.urls, key_file, timeout, patient=retry) as client:
        if as_job:
            sys.exit(sending.submit(client, request, idempotency_key, showing, detach=detach))
        sys.exit(sending.call(client, request, idempotency_key, wait, showing))


def bench(
    path: Target,
    body: Body = None,
    method: Method = "POST",
    header: Headers = None,
    file: BodyFile = None,
    media_type: MediaType = None,
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", help="How many; else 1000.", min=1, show_default=False)
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", "-d", help="Or for so many seconds.", min=0.1, show_default=False)
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", help="How many at a time.", min=1, max=1_000)] = 16,
    timeout: Annotated[float, typer.Option(help="Seconds for each call.", min=0.1)] = 60.0,
    as_json: AsJson = False,
    url: Annotated[str, typer.Option(help="The bridge.")] = DEFAULT_URLS[0],
    key_file: KeyFile = None,
) -> None:
    """Send many calls to a running bridge, and print how many a second were answered, and how fast.

    Each call is sent once, whatever the answer. It is one Python process: for more than that there are wrk and h2load.
    """
    from mqbridge.commands.bench import Load
    from mqbridge.commands.bench import bench as measure
    from mqbridge.environment import caller_key
    from mqbridge.outgoing import outgoing

    if requests is not None and duration is not None:
        raise CommandError("give either --requests or --duration", 2)
    request = outgoing([url], path, method, header or (), body, file, media_type)
    load = Load(requests or (None if duration else 1_000), duration, concurrency, timeout)
    sys.exit(asyncio.run(measure(request, caller_key(key_file), load, as_json=as_json)))


SEND_EXAMPLES = (
    "mqbridge send /words 'some text'",
    "mqbridge send /thumbnails/160 --file photo.jpg --output small.jpg",
    "mqbridge send --async /batches/20",
    "date | mqbridge send /words --file - --json",
)
BENCH_EXAMPLES = ("mqbridge bench /words 'some text' -c 50 -n 5000", "mqbridge bench /words --duration 10 --json")
