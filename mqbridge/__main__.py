"""``python -m mqbridge``."""

from mqbridge.cli import main

main()
