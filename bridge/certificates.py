"""Whom a client certificate names. `cryptography` is loaded only where certificates are used."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Name

Subject = frozenset[tuple[str, str]]


def subject_of_name(text: str) -> Subject:
    """Read a distinguished name (RFC 4514), e.g. ``CN=shop,O=Example``; raises ValueError.

    Two names are the same if they have the same attributes: programs print them in both orders.
    """
    from cryptography.x509 import Name  # noqa: PLC0415 - 8 MiB that most bridges need not have

    return _subject(Name.from_rfc4514_string(text))


@lru_cache(maxsize=1_024)  # each of a caller's calls comes with the same
def subject_of_certificate(der: bytes) -> Subject:
    """Return the subject of a certificate, which TLS has verified; empty if it has none that can be read."""
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 - as above

    try:
        return _subject(load_der_x509_certificate(der).subject)
    except ValueError:
        return frozenset()


def _subject(name: Name) -> Subject:
    return frozenset((attribute.oid.dotted_string, str(attribute.value)) for attribute in name)
