"""Whether certificate files can be used, found out by loading them as the server will."""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CertificateFault:
    """Why a certificate and its key cannot be used; `in_key` when the key's file is to blame."""

    reason: str
    in_key: bool


def certificate_fault(certificate: Path, key: Path) -> CertificateFault | None:
    """Load the pair; None when it can be used."""
    for path, in_key in ((certificate, False), (key, True)):
        if reason := _unreadable(path):
            return CertificateFault(reason, in_key)
    asked = False

    def no_password() -> str:
        # Without this OpenSSL would ask at the terminal, and a service would hang.
        nonlocal asked
        asked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if asked:
            return CertificateFault(f"{key} is encrypted; give a key without a password", True)
        if error.reason == "KEY_VALUES_MISMATCH":
            return CertificateFault(f"{key} is not the key of {certificate}", True)
        if error.reason:  # None is OpenSSL's "PEM lib", which says nothing
            said = error.reason.replace("_", " ").lower()
            return CertificateFault(f"{certificate} is refused by OpenSSL: {said}", False)
        in_key = _holds_certificate(certificate)
        path, what = (key, "private key") if in_key else (certificate, "certificate")
        return CertificateFault(f"{path} holds no {what} in PEM form", in_key)
    return None


def authority_fault(authority: Path) -> str | None:
    """Why the CA file cannot be used; None when it can."""
    if reason := _unreadable(authority):
        return reason
    return None if _holds_certificate(authority) else f"{authority} holds no certificate in PEM form"


def _holds_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
