"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LogLevel = Annotated[
    str, typer.Option("--log-level", help="debug, info, warning or error.", envvar="MQBRIDGE_LOG_LEVEL")
]
Url = Annotated[str, typer.Option(help="The bridge.")]
DEFAULT_URL = "http://127.0.0.1:8080"
AdminKeyFile = Annotated[
    Path | None,
    typer.Option(help="A file with the admin key; else MQBRIDGE_ADMIN_KEY.", dir_okay=False, show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Urls = Annotated[list[str], typer.Option("--url", help="The bridge; several: the next one is asked when one is away.")]
DEFAULT_URLS = [DEFAULT_URL]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="A file with the caller's key; else MQBRIDGE_KEY.", dir_okay=False, show_default=False),
]
Method = Annotated[str, typer.Option("--method", "-X", help="The HTTP method.")]
Headers = Annotated[list[str] | None, typer.Option("--header", "-H", help="NAME: VALUE; several.", show_default=False)]
BodyFile = Annotated[
    str | None, typer.Option("--file", "-f", help="A file with the body; - is standard input.", show_default=False)
]
MediaType = Annotated[
    str | None,
    typer.Option("--type", "-t", help="The body's Content-Type; else by what it looks like.", show_default=False),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the answer's body to this file.", dir_okay=False, show_default=False),
]
