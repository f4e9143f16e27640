"""Addresses in the settings: where to listen, where the broker is, what prefix callers see.

Pure checks; each raises ValueError with a sentence for the reader.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from .faults import show

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/@\s]+)):(?P<port>[0-9]{1,5})")
_PRINTABLE_ASCII = re.compile(r"[!-~]+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_BROKER_SCHEMES = {"stomp": False, "stomp+ssl": True}
_BROKER_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<address>[^/?#]*)/?(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class BrokerUrl:
    """Where one broker takes STOMP. `host` is bare (`::1`, not `[::1]`)."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"stomp{'+ssl' if self.tls else ''}://{host}:{self.port}"


def parse_broker_url(text: str) -> BrokerUrl:
    """Read `stomp://HOST:PORT` or `stomp+ssl://HOST:PORT`, and nothing more than these."""
    match = _BROKER_URL.fullmatch(text)
    if match is None:
        raise ValueError(f'{show(text)} is not a broker URL such as "stomp://127.0.0.1:61613"')
    if "@" in text:
        raise ValueError("must hold no user and password: set broker.login and broker.passcode_file")
    if match["scheme"] not in _BROKER_SCHEMES:
        raise ValueError(f"must begin with stomp:// or stomp+ssl:// (is {show(text)})")
    if match["rest"]:
        raise ValueError(f"must end after the port (is {show(text)})")
    host, port = split_host_port(match["address"])
    if port == 0:
        raise ValueError(f"must name a port from 1 to 65535 (is {show(text)})")
    return BrokerUrl(host, port, _BROKER_SCHEMES[match["scheme"]])


def split_host_port(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `localhost:0` or `[::1]:8080` as bare host and port, 0 to 65535."""
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(_not_an_address(text))
    host, port = match["v6"] or match["name"], int(match["port"])
    if port > 65_535:
        raise ValueError(f"{show(text)}: the port must be from 0 to 65535")
    if match["v6"]:
        ipaddress.IPv6Address(host)  # its ValueError reads well
    elif host.rstrip(".").rpartition(".")[2].isdigit():  # no top-level domain is a number
        ipaddress.IPv4Address(host)
    elif not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise ValueError(_not_an_address(text))
    return host, port


def check_bind(text: str) -> str:
    """`text` unchanged, if it is an address to listen at: port 0 takes any free one."""
    split_host_port(text)
    return text


def is_loopback(bind: str) -> bool:
    """Whether only this machine can reach what listens at the checked `bind`."""
    host, _ = split_host_port(bind)
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name: where it leads is not for us to know
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_public_url(text: str) -> str:
    """`text`, if it is empty or an http(s) URL that paths can be appended to."""
    if not text:
        return text
    parts = _split(text)
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password")
    if parts.scheme not in {"http", "https"} or not parts.netloc or not _PRINTABLE_ASCII.fullmatch(text):
        raise ValueError(f'must be a URL such as "https://api.example.com/work" (is {show(text)})')
    if parts.query or parts.fragment or text.endswith(("/", "?", "#")):
        raise ValueError(f"must end without a slash, a query and a fragment (is {show(text)})")
    return text


def check_collector_url(text: str) -> str:
    """`text`, if it is empty or an http(s) URL that OTLP's own paths can be appended to."""
    if not text:
        return text
    parts = _split(text)
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password: set OTEL_EXPORTER_OTLP_HEADERS in the environment")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _PRINTABLE_ASCII.fullmatch(text):
        raise ValueError(f'must be a URL such as "http://127.0.0.1:4318" (is {show(text)})')
    if parts.query or parts.fragment or text.endswith(("/", "?", "#")) or parts.path.endswith("/v1/traces"):
        raise ValueError(f"must end before /v1/traces, without a slash, a query and a fragment (is {show(text)})")
    return text


def check_jwks_url(text: str) -> str:
    """`text`, if it is an https URL, or an http one of this machine: keys that anybody could replace prove nothing."""
    parts = _split(text)
    if not parts.hostname or "@" in parts.netloc or parts.fragment or not _PRINTABLE_ASCII.fullmatch(text):
        raise ValueError(f'must be a URL such as "https://login.example.com/jwks.json" (is {show(text)})')
    local = parts.scheme == "http" and is_loopback(f"{_bracketed(parts.hostname)}:80")
    if parts.scheme != "https" and not local:
        raise ValueError(f"must begin with https:// (is {show(text)})")
    return text


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def check_origin(text: str) -> str:
    """`text`, if it is a web origin as browsers send it: scheme, host, perhaps a port."""
    parts = _split(text)
    plain = parts.scheme in {"http", "https"} and text == f"{parts.scheme}://{parts.netloc}"
    if not plain or not parts.netloc or "@" in parts.netloc or text != text.lower():
        raise ValueError(f'must be an origin such as "https://app.example.com" (is {show(text)})')
    return text


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:  # its own message would show the password
        raise ValueError(f"{show(text)} is not a URL") from None


def _not_an_address(text: str) -> str:
    hint = ""
    if text.count(":") > 1 and "[" not in text:
        hint = '; write an IPv6 address in brackets, such as "[::1]:8080"'
    elif text.startswith((":", "*")):
        hint = '; to listen everywhere write "0.0.0.0:8080" or "[::]:8080"'
    return f'{show(text)} is not an address such as "127.0.0.1:8080"{hint}'
