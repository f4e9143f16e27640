"""mqbridge(1): what the commands' help says, as roff."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from mqbridge.cli import app
from tests.tools import unavailable

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "mqbridge" / "mqbridge.1"


def test_it_is_what_the_commands_say_now(tmp_path):
    made = tmp_path / "mqbridge.1"
    subprocess.run([sys.executable, ROOT / "scripts" / "man_page.py", made], check=True, cwd=ROOT)
    assert made.read_text() == PAGE.read_text(), "scripts/man-page writes it anew"


def test_each_command_and_each_of_its_options_is_there():
    text = PAGE.read_text().replace("\\-", "-")

    def look(group, words):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                look(command, f"{words} {name}")
                continue
            section = text.partition(f"\n.SS {words} {name} ")[2].partition("\n.SS ")[0]
            for parameter in command.params:
                if not getattr(parameter, "hidden", False) and parameter.name != "help":
                    shown = parameter.metavar or parameter.opts[0]
                    assert shown.upper() in section.upper(), (words, name, shown)
            assert f"{words} {name}" in section.partition(".EX")[2]

    look(get_command(app), "mqbridge")


def test_groff_has_nothing_to_complain_of():
    if shutil.which("groff") is None:
        unavailable("groff is not installed (Debian: groff-base)")
    ran = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("hidden", ["--place", "--install-completion"])
def test_what_is_not_for_people_is_not_in_it(hidden):
    assert hidden not in PAGE.read_text().replace("\\-", "-")
