"""The types of single values: each turns what TOML gives into what the bridge uses, or refuses it.

Validators raise ValueError with a sentence for the reader; nothing here looks at two keys at once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, SecretStr, StringConstraints, ValidationInfo

from activemq.brokers.profile import QUEUE_NAME
from bridge.certificates import subject_of_name
from bridge.schema import BodySchema

from .addresses import (
    BrokerUrl,
    check_bind,
    check_collector_url,
    check_jwks_url,
    check_origin,
    check_public_url,
    parse_broker_url,
)
from .faults import show
from .headers import check_passed_header
from .paths import check_path
from .units import check_duration, check_size, parse_duration, parse_size

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STORE_URL = re.compile(r"(?P<kind>sqlite|mysql|postgresql)(?:\+(?P<driver>[a-z0-9_]+))?://.", re.DOTALL)
_STORE_DRIVERS = {
    "sqlite": (None,),
    "mysql": ("asyncmy", "aiomysql"),
    "postgresql": ("asyncpg",),
}
_SQLITE_FILE = re.compile(r"(?P<head>sqlite:///)(?P<path>[^/:?][^?]*)(?P<rest>.*)", re.DOTALL)
_RATE = re.compile(r"[1-9][0-9]{0,8}/[smh]")
_RESERVED_QUEUES = (
    "bridge.",
    "ActiveMQ.",
    "DLQ",
    "ExpiryQueue",
    "Consumer.",
    "VirtualTopic.",
    "amq.",
)
_POISON = ".poison"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """Validation context of values that come from a file: `base` is what paths are relative to."""

    base: Path


def _mistyped(wanted: str, value: object) -> ValueError:
    # Not a TypeError: pydantic collects ValueErrors and lets the others through.
    return ValueError(f"must be {wanted} (is {show(value)})")


def _duration(value: object, info: ValidationInfo, *, zero_allowed: bool = False) -> float:
    if isinstance(value, str):
        return parse_duration(value, zero_allowed=zero_allowed)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _mistyped('a duration such as "10s"', value)
    if isinstance(info.context, Reading):
        raise _mistyped('a duration with its unit, such as "10s"', value)
    return check_duration(float(value), zero_allowed=zero_allowed)


def _size(value: object) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mistyped('a size such as "64KiB" or whole bytes', value)
    return check_size(value)


def _array(value: object) -> object:
    """Make a tuple of an array without twins; in code, tuples and sets will do as well."""
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(value))
    if not isinstance(value, (list, tuple)):
        example = f", such as [{show(value)}]" if isinstance(value, str) else ""
        raise _mistyped(f"an array{example}", value)
    for index, item in enumerate(value):
        if isinstance(item, str) and item in value[:index]:
            raise ValueError(f"has {show(item)} twice")
    return tuple(value)


def _not_empty(value: tuple[T, ...]) -> tuple[T, ...]:
    if not value:
        raise ValueError("must not be empty")
    return value


def _file(value: object, info: ValidationInfo) -> Path | None:
    """Resolve a file's path against the configuration's folder; an empty string is none."""
    if value is None or value == "":
        return None
    if not isinstance(value, (str, Path)) or "\0" in str(value):
        raise _mistyped("the path of a file", value)
    return info.context.base / value if isinstance(info.context, Reading) else Path(value)


def _schema(value: object, info: ValidationInfo) -> BodySchema | None:
    """Read the JSON Schema in a file; in code, one that is made already will do as well."""
    if isinstance(value, BodySchema):
        return value
    path = _file(value, info)
    if path is None:
        return None
    try:
        return BodySchema.parse(path.read_bytes(), path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _methods(value: object) -> frozenset[str]:
    methods = _array(value)
    if not isinstance(methods, tuple) or not methods:
        raise ValueError("must not be empty")
    for method in methods:
        if method not in METHODS:
            hint = f"; write {method.upper()}" if str(method).upper() in METHODS else ""
            raise ValueError(f"has {show(method)}, which is none of {', '.join(METHODS)}{hint}")
    return frozenset(methods)


def _stream(value: object) -> object:
    # Python holds 1 for equal to True, and so does pydantic's Literal.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise _mistyped('false, true or "body"', value)
    return value


def _queue(name: str) -> str:
    if not QUEUE_NAME.fullmatch(name):
        raise ValueError(f"must be 1 to 128 letters, digits and . _ - (is {show(name)})")
    for prefix in _RESERVED_QUEUES:
        if name.startswith(prefix):
            raise ValueError(f"must not begin with {prefix} (is {show(name)})")
    if name.endswith(_POISON):
        raise ValueError(f"must not end with {_POISON} (is {show(name)})")
    return name


def _one_line(text: str) -> str:
    """Refuse what a CONNECT frame cannot carry: STOMP 1.2 has no escapes there."""
    if any(char in text for char in "\r\n\0"):
        raise ValueError("must be one line, without NUL")
    return text


def _one_line_secret(secret: SecretStr) -> SecretStr:
    _one_line(secret.get_secret_value())
    return secret


def _store_url(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    """Check the URL's kind and driver; a relative path of SQLite is the configuration folder's, as all paths are."""
    url = secret.get_secret_value()
    match = _STORE_URL.match(url)
    if match is None or (match["kind"] != "sqlite" and match["driver"] is None):
        raise ValueError("must begin with sqlite://, mysql+DRIVER:// or postgresql+DRIVER://")
    drivers = _STORE_DRIVERS[match["kind"]]
    if match["driver"] not in drivers:
        wanted = " or ".join(f"{match['kind']}+{one}" if one else match["kind"] for one in drivers)
        raise ValueError(f"must begin with {wanted}://")
    file = _SQLITE_FILE.fullmatch(url)
    if file is None or not isinstance(info.context, Reading):
        return secret
    return SecretStr(f"{file['head']}{info.context.base / file['path']}{file['rest']}")


def _matching(pattern: re.Pattern[str], wanted: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {wanted} (is {show(text)})")
        return text

    return check


def _key_hash(text: str) -> str:
    if text and not _SHA256.fullmatch(text):
        raise ValueError("must be the SHA-256 of a key in 64 digits 0-9 and a-f, or empty")
    return text


def _certificate_subject(text: str) -> str:
    if text:
        try:
            subject = subject_of_name(text)
        except ValueError:
            subject = frozenset()
        if not subject:
            raise ValueError(f'must be a distinguished name such as "CN=shop,O=Example" (is {show(text)})')
    return text


def _broker_url(value: object) -> BrokerUrl:
    if isinstance(value, BrokerUrl):
        return value
    if not isinstance(value, str):
        raise _mistyped("a string", value)
    return parse_broker_url(value)


Duration = Annotated[float, BeforeValidator(_duration)]
DurationOrZero = Annotated[float, BeforeValidator(partial(_duration, zero_allowed=True))]
Size = Annotated[int, BeforeValidator(_size)]
Count = Annotated[int, Field(ge=1)]
Priority = Annotated[int, Field(ge=0, le=9)]
File = Annotated[Path | None, BeforeValidator(_file)]
Schema = Annotated[InstanceOf[BodySchema] | None, BeforeValidator(_schema)]
Name = Annotated[
    str,
    AfterValidator(_matching(_NAME, "1 to 64 letters, digits and . _ -, with a letter or digit first")),
]
Queue = Annotated[str, AfterValidator(_queue)]
PathTemplate = Annotated[str, AfterValidator(check_path)]
Methods = Annotated[frozenset[str], BeforeValidator(_methods)]
MediaType = Annotated[
    str,
    AfterValidator(_matching(_MEDIA_TYPE, 'one media type in lower case, without "*" and parameters')),
]
HeaderName = Annotated[str, AfterValidator(check_passed_header)]
Bind = Annotated[str, AfterValidator(check_bind)]
PublicUrl = Annotated[str, AfterValidator(check_public_url)]
Origin = Annotated[str, AfterValidator(check_origin)]
Url = Annotated[BrokerUrl, BeforeValidator(_broker_url)]
Login = Annotated[str, AfterValidator(_one_line)]
Secret = Annotated[SecretStr, AfterValidator(_one_line_secret)]
Vhost = Annotated[str, StringConstraints(min_length=1), AfterValidator(_one_line)]
Stream = Annotated[Literal[False, True, "body"], BeforeValidator(_stream)]
StoreUrl = Annotated[SecretStr, AfterValidator(_store_url)]
CertificateSubject = Annotated[str, AfterValidator(_certificate_subject)]
CollectorUrl = Annotated[str, AfterValidator(check_collector_url)]
ServiceName = Annotated[str, Field(max_length=120), AfterValidator(_one_line)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
JwksUrl = Annotated[str, AfterValidator(check_jwks_url)]
# With a name of a token it is a caller's name, which the store bounds.
Issuer = Annotated[str, Field(min_length=1, max_length=120)]
KeyHash = Annotated[str, AfterValidator(_key_hash), Field(repr=False)]
Rate = Annotated[str, AfterValidator(_matching(_RATE, 'a rate such as "50/s", "100/m", "9/h"'))]
AsArray = BeforeValidator(_array)
NotEmpty = AfterValidator(_not_empty)
