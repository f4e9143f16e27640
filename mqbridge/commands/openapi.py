"""`mqbridge openapi`: the document that the bridge would serve."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from bridge.openapi import make_document
from mqbridge import __version__
from mqbridge.commands.serve import read_settings

if TYPE_CHECKING:
    from pathlib import Path


def print_document(config: Path) -> None:
    """Print it on standard output."""
    document = make_document(read_settings(config), __version__)
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
