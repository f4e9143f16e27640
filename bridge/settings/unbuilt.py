"""What this version reads but does not act upon yet.

Refused where ignoring it would be a lie (a caller that is not authenticated); a note where it only
does nothing. A part that gets built loses its lines here.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .faults import Finding, Location
from .models import Document, Section

_REASON = "not built in this version: "

_TABLE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType({"cors": ("origins",)})
_NOTHING = "does nothing in this version"
# What each comes to, and the values that this version does fulfil besides the default.
_ROUTE_KEYS: Mapping[str, tuple[str, tuple[object, ...]]] = MappingProxyType({})


def refusals(document: Document) -> Iterator[Finding]:
    """Find what must not be accepted while nothing enforces it."""
    asked: list[tuple[Location, str]] = [
        (("caller", index), "authentication by key") for index in range(len(document.callers))
    ]
    if document.jwt is not None:
        asked.append((("jwt",), "authentication by JWT"))
    if document.server.client_ca is not None:
        asked.append((("server", "client_ca"), "authentication by client certificate"))
    for at, what in asked:
        yield Finding(at, _REASON + what)


def notes(document: Document) -> Iterator[str]:
    """Sentences about keys that are set to something and do nothing yet."""
    for table, keys in _TABLE_KEYS.items():
        section: Section = getattr(document, table)
        for key in keys:
            if _is_changed(section, key):
                yield f"{table}.{key} {_NOTHING}"
    if document.broker.kind == "rabbitmq":
        yield 'broker.kind = "rabbitmq": this version has no profile for it and will not connect'


def _is_changed(section: Section, name: str) -> bool:
    return bool(getattr(section, name) != type(section).model_fields[name].default)
