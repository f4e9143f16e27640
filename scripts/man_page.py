# ruff: noqa: INP001 - a program, run by scripts/man-page
"""The manual page, mqbridge(1), from what the commands say of themselves with ``--help``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from mqbridge.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = r""".\" Made by scripts/man-page from `mqbridge --help`: do not edit.
.TH MQBRIDGE 1 "" "activemq-rest-bridge" "User Commands"
.SH NAME
mqbridge \- HTTP in, ActiveMQ in the middle, idle workers out
.SH SYNOPSIS
.B mqbridge
.I COMMAND
[\fIOPTIONS\fR] [\fIARGUMENTS\fR]
.SH DESCRIPTION
A bridge makes a message on a queue of each HTTP request, and the reply of an idle worker becomes the response. One
command runs the bridge, the workers and a broker to try them with, calls them, and looks after what runs.
.PP
What people and scripts wait for is one line on standard error that begins with "mqbridge:"; data go to standard
output, as JSON with \fB\-\-json\fR. Colours and bars are for terminals only, and none are shown where NO_COLOR is set.
"""
_TAIL = r""".SH EXIT STATUS
.TP
.B 0
Done. Of \fBcheck\fR: a call could be served now. Of \fBsend\fR, \fBjobs\fR, \fBbench\fR: the answers were no errors.
.TP
.B 1
Failed, or what was looked at is not as it should be.
.TP
.B 2
Refused: the command line or the configuration is wrong; standard error names all faults.
.TP
.B 70
Of \fBwork\fR and \fBforward\fR: a handler hung, and the worker has ended itself.
.TP
.B 130
Interrupted with Ctrl\-C, of commands that wait for something. Those that serve drain, and end with 0.
.SH ENVIRONMENT
.TP
.B MQBRIDGE_CONFIG
The settings file, where \fB\-\-config\fR is not given.
.TP
.B MQBRIDGE_KEY, MQBRIDGE_ADMIN_KEY
The keys of a caller and of the operator, where no file is given.
.TP
.B MQBRIDGE_BROKER__LOGIN, MQBRIDGE_BROKER__PASSCODE
Who to be at the broker.
.TP
.B MQBRIDGE_\fISECTION\fR__\fIKEY\fR
Any key of the settings file, and goes before it.
.TP
.B NO_COLOR
No colours.
.SH FILES
.TP
.I /etc/mqbridge/bridge.toml
The settings, where nothing else names them.
.SH SIGNALS
SIGTERM and SIGINT drain, a second one ends at once. SIGHUP has a bridge read its settings anew.
"""


def man_page() -> str:
    """Return it."""
    group: Any = get_command(app)
    parts = [_HEAD, ".SH COMMANDS\n"]
    for words, command in _commands(group, ["mqbridge"]):
        parts.append(_section(words, command))
    return "".join([*parts, _TAIL])


def _commands(group: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:  # noqa: ANN401 - Typer's own
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, [*words, name])
        else:
            yield [*words, name], command


def _section(words: list[str], command: Any) -> str:  # noqa: ANN401
    shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
    arguments = [parameter for parameter in shown if not parameter.opts[0].startswith("-")]
    usage = " ".join(_placeholder(argument) for argument in arguments)
    lines = [f".SS {_text(' '.join(words))} [\\fIOPTIONS\\fR] {usage}".rstrip()]
    lines += [_text(" ".join(paragraph.split())) + "\n.PP" for paragraph in command.help.split("\n\n")]
    for parameter in shown:
        lines += [".TP", _names(parameter), _text(_meaning(parameter))]
    examples = [line for line in (command.epilog or "").replace("\b\n", "").split("\n\n") if line.startswith("$ ")]
    if examples:
        lines += [".PP", *(".EX", *(_text(example) for example in examples), ".EE")]
    return "\n".join(lines) + "\n"


def _placeholder(argument: Any) -> str:  # noqa: ANN401
    name = f"\\fI{_text((argument.metavar or argument.name).upper())}\\fR"
    return name if argument.required else f"[{name}]"


def _names(parameter: Any) -> str:  # noqa: ANN401
    if not parameter.opts[0].startswith("-"):
        return f".I {_text((parameter.metavar or parameter.name).upper())}"
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in sorted(parameter.opts, key=len))
    other = "".join(f", \\fB{_text(name)}\\fR" for name in parameter.secondary_opts)
    if parameter.is_flag or parameter.secondary_opts or isinstance(parameter.default, bool):
        return names + other
    return f"{names} \\fI{_text(parameter.name.upper().replace('_', '-'))}\\fR"


def _meaning(parameter: Any) -> str:  # noqa: ANN401
    words = [parameter.help or ""]
    if parameter.default not in (None, False, [], ()) and parameter.show_default:
        default = parameter.default
        words.append(f"Default: {', '.join(map(str, default)) if isinstance(default, list) else default}.")
    if parameter.envvar:
        words.append(f"Environment: {parameter.envvar}.")
    return " ".join(words)


def _text(text: str) -> str:
    """Return plain text as roff has it."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "\\&...").replace("`", "\\`")
    )
    return re.sub(r"^\.", r"\\&.", text)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(man_page(), "utf-8")
