"""From a TOML file, the environment and the files of secrets to Settings, or to all the faults."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from . import environment, wording
from .checks import cross_checks
from .faults import Fault, Finding, Location, SettingsError, key_of
from .fields import Reading
from .locate import locate
from .models import STORE_URL, Document, Settings
from .secrets import read_secret

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_LINES: Mapping[Location, int] = MappingProxyType({})
_PASSCODE_IN_FILE = (
    "must not stand in this file: put it into a file of its own and name that in "
    "broker.passcode_file, or set MQBRIDGE_BROKER__PASSCODE in the environment"
)
_URL_IN_FILE = "must not hold a password in this file: set the whole URL as MQBRIDGE_STORE__URL in the environment"
_PASSWORD_IN_URL = re.compile(r"//[^/@]*:.*@|[?&]passw(?:or)?d=")
_SYNTAX = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_SYNTAX_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "Expected newline or end of document": 'durations and other text go in quotes, as "10s"',
        "Invalid value": 'text goes in quotes, as "auto"; true and false are in lower case',
        "Cannot overwrite a value": "the key is there twice",
    }
)
# What stands in for a required value that was refused, so that the other values can be checked.
_STAND_INS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "route": MappingProxyType({"name": "stand-in", "path": "/stand-in", "queue": "stand-in"}),
        "caller": MappingProxyType({"name": "stand-in"}),
        "jwt": MappingProxyType(
            {"issuer": "stand-in", "audience": "stand-in", "jwks_url": "https://stand-in.localhost"}
        ),
    }
)


def load(path: Path, environ: Mapping[str, str] = _NOTHING) -> Settings:
    """Read the settings from the TOML file at `path`.

    `environ` may override keys (`MQBRIDGE_SERVER__MAX_HELD`); paths in the file are relative to
    the file's folder. Raises SettingsError with every fault at once.
    """
    source = str(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _refused(source, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _refused(source, "is not UTF-8 text", line) from None
    return parse(text, source=source, base=path.parent, environ=environ)


def parse(
    text: str,
    *,
    source: str = "<string>",
    base: Path = Path(),
    environ: Mapping[str, str] = _NOTHING,
) -> Settings:
    """Read the settings from TOML `text`; see `load`. `base` is what paths are relative to."""
    document, lines = _read_toml(text, source)
    faults = _Report(source, lines).faults(_secrets_in_the_file(document))
    overrides = environment.read(environ)
    data = overrides.onto(document)
    _name_the_store(data)
    findings = _read_passcode(data, base)
    checked, refused = _validate(data, Reading(base))
    findings += refused
    findings += cross_checks(checked, _Soundness(tuple(finding.at for finding in findings)))
    faults += _Report(source, lines, overrides.values).faults(findings)
    faults += overrides.faults
    if faults:
        raise SettingsError(tuple(sorted(faults, key=_by_line)), source)
    tables = {name: getattr(checked, name) for name in Document.model_fields}
    return Settings(**tables, notes=(*overrides.notes, *_notes(checked)))


def faults_together(document: Document, source: str) -> tuple[Fault, ...]:
    """Say in what sound values contradict each other; ``source`` is where they are from, for the messages."""
    return tuple(_Report(source, _NO_LINES).faults(cross_checks(document, _Soundness(()))))


def _read_toml(text: str, source: str) -> tuple[dict[str, Any], dict[Location, int]]:
    try:
        return tomllib.loads(text), locate(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, source) from None
    except ValueError:  # of int(): Python reads no more than 4,300 digits
        raise _refused(source, "holds a number with too many digits") from None
    except RecursionError:
        raise _refused(source, "is nested too deeply") from None


def _syntax_error(message: str, text: str, source: str) -> SettingsError:
    match = _SYNTAX.fullmatch(message)
    if match is None:
        return _refused(source, f"is not TOML: {message}")
    what, line, column = match.groups()
    hints = [f" ({hint})" for phrase, hint in _SYNTAX_HINTS.items() if what.startswith(phrase)]
    place = "the end" if line is None else f"column {column}"
    at = text.count("\n") + 1 if line is None else int(line)
    return _refused(source, f"is not TOML: {what}, at {place}{''.join(hints)}", at)


def _refused(source: str, reason: str, line: int | None = None) -> SettingsError:
    return SettingsError((Fault("", line, reason, source),), source)


def _secrets_in_the_file(document: dict[str, Any]) -> list[Finding]:
    """Find secrets where anybody who may see the configuration reads them, and drop the passcode."""
    findings = []
    broker, store = document.get("broker"), document.get("store")
    if isinstance(broker, dict) and broker.pop("passcode", None) is not None:
        findings.append(Finding(("broker", "passcode"), _PASSCODE_IN_FILE))
    url = store.get("url") if isinstance(store, dict) else None
    if isinstance(url, str) and _PASSWORD_IN_URL.search(url):
        findings.append(Finding(("store", "url"), _URL_IN_FILE))
    return findings


def _name_the_store(data: dict[str, Any]) -> None:
    """Write the default down, so that its path too is relative to the folder of the configuration file."""
    store = data.setdefault("store", {})
    if isinstance(store, dict):
        store.setdefault("url", STORE_URL)


def _read_passcode(data: dict[str, Any], base: Path) -> list[Finding]:
    """Put the passcode of `passcode_file` into `data`, unless the environment gave one already."""
    broker = data.get("broker")
    if not isinstance(broker, dict) or "passcode" in broker:
        return []
    path = broker.get("passcode_file")
    if not isinstance(path, str) or not path or "\0" in path:
        return []  # the wrong type is refused with the others
    try:
        broker["passcode"] = read_secret(base / path)
    except ValueError as error:
        return [Finding(("broker", "passcode_file"), str(error))]
    return []


def _validate(data: dict[str, Any], reading: Reading) -> tuple[Document, list[Finding]]:
    """Check each value by itself. What is refused is replaced in `data`, so that the rest can be judged."""
    findings: list[Finding] = []
    while True:
        try:
            return _document(data, reading), findings
        except ValidationError as error:
            errors = error.errors(include_url=False)
        for each in errors:
            findings.append(wording.finding(each))
            _repair(data, each["loc"])


def _document(data: dict[str, Any], reading: Reading) -> Document:
    # By alias only: `async_` is the attribute, and not a key of the file.
    return Document.model_validate(data, context=reading, by_alias=True, by_name=False)


def _repair(data: dict[str, Any], at: Location) -> None:
    """Take the refused value at `at` away, or put another in its place if there must be one."""
    match at:
        case (str(table), int(index)):
            data[table][index] = dict(_STAND_INS[table])
        case (str(table), int(index), str(key), *_):
            _replace(data[table][index], key, _STAND_INS[table])
        case ("server", "bind", int(index)):  # the other addresses may be open ones
            data["server"]["bind"][index] = f"stand-in-{index}.localhost:0"
        case (str(section), str(key), *_):
            _replace(data[section], key, _STAND_INS.get(section, {}))
        case (str(section), *_):
            data.pop(section, None)


def _replace(table: dict[str, Any], key: str, stand_ins: Mapping[str, str]) -> None:
    table.pop(key, None)
    if key in stand_ins:
        table[key] = stand_ins[key]


@dataclass(frozen=True)
class _Soundness:
    """Whether a value is the writer's own: neither it, nor what holds it, nor a part was refused."""

    refused: tuple[Location, ...]

    def __call__(self, at: Location) -> bool:
        return not any(at[: len(other)] == other[: len(at)] for other in self.refused)


@dataclass(frozen=True)
class _Report:
    """Makes faults of findings: where in which file, or which variable of the environment."""

    source: str
    lines: Mapping[Location, int]
    overridden: Collection[environment.Place] = ()

    def faults(self, findings: Iterable[Finding]) -> list[Fault]:
        return [self._fault(finding) for finding in findings]

    def _fault(self, finding: Finding) -> Fault:
        match finding.at:
            case (str(section), str(key), *_) if (section, key) in self.overridden:
                name = environment.variable((section, key))
                return Fault(name, None, finding.reason, environment.SOURCE)
        near = finding.near if finding.near and finding.at not in self.lines else finding.at
        return Fault(key_of(finding.at), self._line(near), finding.reason, self.source)

    def _line(self, at: Location) -> int | None:
        """Find the line of `at`, or of the nearest table around it that is in the file."""
        known = (at[:length] for length in range(len(at), 0, -1))
        return next((self.lines[part] for part in known if part in self.lines), None)


def _by_line(fault: Fault) -> int:
    return fault.line or 0


def _notes(document: Document) -> Iterator[str]:
    if document.broker.kind == "rabbitmq":
        yield 'broker.kind = "rabbitmq": this version has no profile for it and will not connect'
    if document.server.allow_anonymous and (document.callers or document.jwt):
        yield "server.allow_anonymous does nothing: there are callers, and whoever calls must be one"
    for index, caller in enumerate(document.callers):
        if not caller.routes:
            yield f'caller[{index}], "{caller.name}", may call nothing: it has no routes'
    if not document.routes:
        yield "there is no [[route]]: every call is answered 404 no-route"
