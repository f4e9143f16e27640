"""What the documentation site needs of code: its reference pages, and how it reads links and docstrings.

Zensical loads :mod:`manual.extension` (see ``zensical.toml``). Nothing of this is part of the wheel.
"""
