"""What two or more keys must agree upon, and what the files that keys name must hold.

Each check is given the whole document and `sound`, which tells whether a key's value is the
writer's own or a stand-in for one that was refused already: a fault is never reported twice, and
never follows from another.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.certificates import subject_of_name

from . import tls
from .addresses import is_loopback
from .faults import Finding, Location
from .models import KIB, Document, Section
from .paths import shape
from .units import format_duration, format_size

FRAME_MARGIN = 64 * KIB
"""Room in a frame for its headers, beside the body."""

Sound = Callable[[Location], bool]
Check = Callable[[Document, Sound], Iterator[Finding]]


def cross_checks(document: Document, sound: Sound) -> Iterator[Finding]:
    """Run every check."""
    for check in _CHECKS:
        yield from check(document, sound)


def _names(document: Document, sound: Sound) -> Iterator[Finding]:
    names_of = {
        "route": [route.name for route in document.routes],
        "caller": [caller.name for caller in document.callers],
    }
    for table, names in names_of.items():
        first: dict[str, int] = {}
        for index, name in enumerate(names):
            at = (table, index, "name")
            if not sound(at):
                continue
            if name in first:
                yield Finding(at, f'"{name}" is the name of {table}[{first[name]}] too')
            first.setdefault(name, index)


def _calls(document: Document, sound: Sound) -> Iterator[Finding]:
    """No two routes may match the same path with the same method."""
    first: dict[tuple[str, str], int] = {}
    for index, route in enumerate(document.routes):
        if not (sound(("route", index, "path")) and sound(("route", index, "methods"))):
            continue
        calls = [(method, shape(route.path)) for method in sorted(route.methods)]
        taken = [call for call in calls if call in first]
        if taken:
            other = first[taken[0]]
            methods = ", ".join(method for method, _ in taken)
            yield Finding(
                ("route", index, "path"),
                f'{methods} "{route.path}" is a call of route[{other}], "{document.routes[other].path}", already',
            )
        for call in calls:
            first.setdefault(call, index)


def _parameters(document: Document, sound: Sound) -> Iterator[Finding]:
    """Paths of one shape must call their parameters alike, or which template a call meets is chance.

    OpenAPI 3.1, Paths Object, holds such templates for identical.
    """
    first: dict[str, int] = {}
    for index, route in enumerate(document.routes):
        if not sound(("route", index, "path")):
            continue
        other = first.setdefault(shape(route.path), index)
        before = document.routes[other]
        told = all(sound(("route", each, "methods")) for each in (index, other)) and before.methods & route.methods
        if before.path != route.path and not told:  # told by _calls, where they share a method
            yield Finding(
                ("route", index, "path"),
                f'"{route.path}" is "{before.path}" of route[{other}] with other names: call its parameters alike',
            )


def _drain(document: Document, sound: Sound) -> Iterator[Finding]:
    timeouts = [
        (route.timeout, -index)  # of equals the first
        for index, route in enumerate(document.routes)
        if sound(("route", index, "timeout"))
    ]
    if not timeouts or not sound(("server", "drain")):
        return
    longest, negative = max(timeouts)
    if document.server.drain < longest:
        at = ("route", -negative, "timeout")
        yield Finding(
            ("server", "drain"),
            f"must be at least the longest timeout, {format_duration(longest)} of "
            f"route[{-negative}] (is {format_duration(document.server.drain)}"
            f"{_by_default(document.server, 'drain')})",
            near=at,
        )


def _frame(document: Document, sound: Sound) -> Iterator[Finding]:
    """Bodies must fit into a frame the broker takes, or the shared connection is lost."""
    at: Location = ("broker", "max_frame")
    room = document.broker.max_frame - FRAME_MARGIN
    if not sound(at):
        return
    if room <= 0:
        yield Finding(at, f"must be more than {format_size(FRAME_MARGIN)}, which headers may take")
        return
    for index, route in enumerate(document.routes):
        for key, size in (("max_body", route.max_body), ("max_reply", route.max_reply)):
            if size > room and sound(("route", index, key)):
                yield Finding(
                    ("route", index, key),
                    f"must be at most broker.max_frame less {format_size(FRAME_MARGIN)}, "
                    f"{format_size(room)} (is {format_size(size)}{_by_default(route, key)})",
                )


def _open_bind(document: Document, sound: Sound) -> Iterator[Finding]:
    """Nobody but this machine may reach a bridge that asks no caller who it is."""
    server = document.server
    asks = document.callers or document.jwt or not (sound(("caller",)) and sound(("jwt",)))
    if asks or server.allow_anonymous or not sound(("server", "allow_anonymous")):
        return
    for index, bind in enumerate(server.bind):
        if sound(("server", "bind", index)) and not is_loopback(bind):
            yield Finding(
                ("server", "bind", index),
                f'"{bind}" is not loopback, and there is no [[caller]] and no [jwt]: '
                "anyone who reaches it could call; "
                "bind 127.0.0.1, or set server.allow_anonymous = true",
            )


def _http2(document: Document, _: Sound) -> Iterator[Finding]:
    server = document.server
    if server.http2 and server.implementation == "uvicorn":
        yield Finding(
            ("server", "http2"),
            'needs server.implementation = "auto" or "hypercorn": Uvicorn has no HTTP/2',
        )


def _server_tls(document: Document, sound: Sound) -> Iterator[Finding]:
    return _own_certificate("server", document.server.tls_certificate, document.server.tls_key, sound)


def _own_certificate(section: str, certificate: Path | None, key: Path | None, sound: Sound) -> Iterator[Finding]:
    at_certificate, at_key = (section, "tls_certificate"), (section, "tls_key")
    if not (sound(at_certificate) and sound(at_key)):
        return
    if certificate and key:
        if fault := tls.certificate_fault(certificate, key):
            yield Finding(at_key if fault.in_key else at_certificate, fault.reason)
    elif certificate:
        yield Finding(at_certificate, f"needs {section}.tls_key beside it")
    elif key:
        yield Finding(at_key, f"needs {section}.tls_certificate beside it")


def _broker_tls(document: Document, sound: Sound) -> Iterator[Finding]:
    broker = document.broker
    if broker.tls_ca and sound(("broker", "tls_ca")) and (reason := tls.authority_fault(broker.tls_ca)):
        yield Finding(("broker", "tls_ca"), reason)
        return
    yield from _own_certificate("broker", broker.tls_certificate, broker.tls_key, sound)
    if sound(("broker", "urls")) and not any(url.tls for url in broker.urls):
        for name in ("tls_ca", "tls_certificate"):
            if getattr(broker, name) and sound(("broker", name)):
                yield Finding(("broker", name), "has no use: none of broker.urls begins with stomp+ssl://")


def _credentials(document: Document, sound: Sound) -> Iterator[Finding]:
    broker = document.broker
    keys = ("login", "passcode", "passcode_file")
    if not all(sound(("broker", key)) for key in keys):
        return
    passcode = broker.passcode.get_secret_value()
    if broker.login and not passcode:
        yield Finding(
            ("broker", "login"),
            "needs a passcode: set broker.passcode_file, or MQBRIDGE_BROKER__PASSCODE in the environment",
        )
    elif passcode and not broker.login:
        yield Finding(("broker", "login"), "is required when there is a passcode")


def _callers_routes(document: Document, sound: Sound) -> Iterator[Finding]:
    names = {route.name for route in document.routes}
    if not all(sound(("route", index, "name")) for index in range(len(document.routes))):
        return
    lists: list[tuple[Location, tuple[str, ...]]] = [
        (("caller", index, "routes"), caller.routes) for index, caller in enumerate(document.callers)
    ]
    if document.jwt is not None:
        lists.append((("jwt", "routes"), document.jwt.routes))
    for at, routes in lists:
        for name in routes:
            if name not in names and sound(at):
                yield Finding(at, f'names "{name}", and there is no such route')


def _identities(document: Document, sound: Sound) -> Iterator[Finding]:
    """Each caller can be known by something, and by nothing that is another's too."""
    admin = document.admin.key_sha256
    first: dict[tuple[str, object], str] = {("key_sha256", admin): "[admin]"} if admin else {}
    for index, caller in enumerate(document.callers):
        if not all(sound(("caller", index, key)) for key in ("key_sha256", "certificate_subject", "jwt")):
            continue
        known_by: list[tuple[str, object]] = []
        if caller.key_sha256:
            known_by.append(("key_sha256", caller.key_sha256))
        if caller.certificate_subject:
            known_by.append(("certificate_subject", subject_of_name(caller.certificate_subject)))
        if not known_by and not caller.jwt:
            yield Finding(("caller", index), "can be known by nothing: key_sha256, certificate_subject or jwt = true")
        for key, value in known_by:
            if (key, value) in first:
                yield Finding(("caller", index, key), f"is that of {first[key, value]} too")
            first.setdefault((key, value), f"caller[{index}]")
        if caller.jwt and document.jwt is None and sound(("jwt",)):
            yield Finding(("caller", index, "jwt"), "needs a table [jwt], which says whose tokens are taken")


def _client_ca(document: Document, sound: Sound) -> Iterator[Finding]:
    server = document.server
    at: Location = ("server", "client_ca")
    by_certificate = [index for index, caller in enumerate(document.callers) if caller.certificate_subject]
    if not sound(at):
        return
    if server.client_ca is None:
        for index in by_certificate:
            yield Finding(
                ("caller", index, "certificate_subject"),
                "needs server.client_ca, the authority that signs callers' certificates",
            )
        return
    if reason := tls.authority_fault(server.client_ca):
        yield Finding(at, reason)
    elif server.tls_certificate is None and sound(("server", "tls_certificate")):
        yield Finding(at, "needs server.tls_certificate: without TLS nobody shows a certificate")
    elif server.implementation == "uvicorn":
        yield Finding(at, 'needs server.implementation = "auto" or "hypercorn": Uvicorn does not hand certificates on')
    elif not by_certificate and sound(("caller",)):
        yield Finding(at, "has no use: no [[caller]] has a certificate_subject")


def _by_default(section: Section, key: str) -> str:
    return "" if key in section.model_fields_set else " by default"


_CHECKS: tuple[Check, ...] = (
    _names,
    _calls,
    _parameters,
    _drain,
    _frame,
    _open_bind,
    _http2,
    _server_tls,
    _broker_tls,
    _credentials,
    _callers_routes,
    _identities,
    _client_ca,
)
