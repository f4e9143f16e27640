"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str, typer.Option(help="The bridge.")]
DEFAULT_URL = "http://127.0.0.1:8080"
AdminKeyFile = Annotated[
    Path | None,
    typer.Option(help="A file with the admin key; else MQBRIDGE_ADMIN_KEY.", dir_okay=False, show_default=False),
]
