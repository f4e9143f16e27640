"""The settings as frozen, typed values. What each key means is in docs/configuration.md.

Durations are seconds, sizes bytes, whatever the file wrote. In code the models take plain numbers
as well (`Route(name="a", path="/a", queue="a", timeout=0.5)`); a file must name the unit.
A model checks its own values only: what two keys must agree upon is in `checks`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from .addresses import BrokerUrl
from .fields import (
    AsArray,
    Bind,
    CertificateSubject,
    CollectorUrl,
    Count,
    Duration,
    DurationOrZero,
    File,
    HeaderName,
    Issuer,
    JwksUrl,
    KeyHash,
    Login,
    MediaType,
    Methods,
    Name,
    NotEmpty,
    Origin,
    PathTemplate,
    Priority,
    PublicUrl,
    Queue,
    Rate,
    Schema,
    Secret,
    ServiceName,
    Share,
    Size,
    StoreUrl,
    Stream,
    Url,
    Vhost,
)

KIB = 1 << 10
MIB = 1 << 20
HOUR = 3_600.0
STORE_URL = "sqlite:///var/mqbridge.db"


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values are not converted, nothing changes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )


class Server(Section):
    """`[server]`: where calls come in and how many are held. `bind` holds "host:port"."""

    bind: Annotated[tuple[Bind, ...], AsArray, NotEmpty] = ("127.0.0.1:8080",)
    implementation: Literal["auto", "uvicorn", "hypercorn"] = "auto"
    max_held: Count = 10_000
    max_connections: Count = 20_000
    max_body_memory: Size = 256 * MIB
    http2: bool = False
    public_url: PublicUrl = ""
    allow_anonymous: bool = False
    head_timeout: Duration = 10.0
    body_timeout: Duration = 10.0
    drain: Duration = 35.0
    tls_certificate: File = None
    tls_key: File = None
    client_ca: File = None


class Broker(Section):
    """`[broker]`: where the broker is and how to log in. No login: an empty `login`."""

    urls: Annotated[tuple[Url, ...], AsArray, NotEmpty] = (BrokerUrl("127.0.0.1", 61613, tls=False),)
    kind: Literal["auto", "classic", "artemis", "rabbitmq"] = "auto"
    login: Login = ""
    passcode: Secret = SecretStr("")
    passcode_file: File = None
    vhost: Vhost = "/"
    declare: bool = True
    tls_ca: File = None
    tls_certificate: File = None
    tls_key: File = None
    heartbeat: Duration = 10.0
    publish_timeout: Duration = 5.0
    max_frame: Size = 4 * MIB


class Store(Section):
    """`[store]`: where jobs are kept. The URL may hold a password."""

    url: StoreUrl = SecretStr(STORE_URL)
    retention: Duration = 24 * HOUR


class Admin(Section):
    """`[admin]`: who may see the bridge's inner pages."""

    key_sha256: KeyHash = ""


class Cors(Section):
    """`[cors]`: which web pages may call."""

    origins: Annotated[tuple[Origin, ...], AsArray] = ()


class Log(Section):
    """`[log]`: what is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
    access: Literal["all", "problems", "none"] = "problems"


class Tracing(Section):
    """`[tracing]`: where spans go. No `endpoint`: nowhere, unless the environment of the command says otherwise.

    `sample`: the share of the traces that begin here that is kept; 1: what the environment says, or all.
    """

    endpoint: CollectorUrl = ""
    service_name: ServiceName = ""
    sample: Share = 1.0


class Caller(Section):
    """`[[caller]]`: one who may call, which routes, and how much."""

    name: Name
    key_sha256: KeyHash = ""
    routes: Annotated[tuple[Name, ...], AsArray] = ()
    max_held: Count = 200
    rate: Rate = "50/s"
    certificate_subject: CertificateSubject = ""
    jwt: bool = False


class Jwt(Section):
    """`[jwt]`: whose tokens are taken. Algorithms are asymmetric only."""

    issuer: Issuer
    audience: Annotated[str, NotEmpty]
    jwks_url: JwksUrl
    algorithms: Annotated[
        tuple[
            Literal[
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "ES256", "ES384", "ES512", "EdDSA",
            ],
            ...,
        ],
        AsArray,
        NotEmpty,
    ] = ("RS256", "ES256", "EdDSA")  # fmt: skip
    claim: Annotated[str, NotEmpty] = "sub"
    routes: Annotated[tuple[Name, ...], AsArray] = ()
    max_held: Count = 200
    rate: Rate = "50/s"


class Route(Section):
    """`[[route]]`: which calls become messages on which queue, and under which rules."""

    name: Name
    path: PathTemplate
    methods: Methods = frozenset({"POST"})
    queue: Queue
    timeout: Duration = 30.0
    job_timeout: Duration = HOUR
    persistent: bool = False
    async_: Annotated[Literal["never", "allowed", "always"], Field(alias="async")] = "allowed"
    idempotency: Literal["off", "optional", "required"] = "optional"
    redeliver: bool = True
    max_attempts: Count = 3
    worker_wait: DurationOrZero = 0.0
    max_backlog: Count = 10_000
    started: Literal["never", "ask", "always"] = "ask"
    max_body: Size = MIB
    max_reply: Size = 3 * MIB
    max_held: Count = 1_000
    accepts: Annotated[tuple[MediaType, ...], AsArray] = ()
    schema_: Annotated[Schema, Field(alias="schema")] = None
    stream: Stream = False
    priority_ceiling: Priority = 9
    message: Literal["auto", "text", "bytes"] = "auto"
    pass_headers: Annotated[tuple[HeaderName, ...], AsArray] = ("accept-language",)
    pass_reply_headers: Annotated[tuple[HeaderName, ...], AsArray] = (
        "cache-control",
        "content-disposition",
    )

    @property
    def may_be_job(self) -> bool:
        """Whether a call of this route can be a job instead of a held call."""
        return self.async_ != "never" or self.idempotency != "off"


class Document(Section):
    """A whole file, each table checked by itself."""

    server: Server = Server()
    broker: Broker = Broker()
    store: Store = Store()
    admin: Admin = Admin()
    cors: Cors = Cors()
    log: Log = Log()
    tracing: Tracing = Tracing()
    callers: Annotated[tuple[Caller, ...], AsArray, Field(alias="caller")] = ()
    jwt: Jwt | None = None
    routes: Annotated[tuple[Route, ...], AsArray, Field(alias="route")] = ()


class Settings(Document):
    """A whole file, checked. `notes` are sentences about it to log as warnings at start."""

    notes: tuple[str, ...] = ()


TABLES: Mapping[str, type[Section]] = MappingProxyType(
    {
        "server": Server,
        "broker": Broker,
        "store": Store,
        "admin": Admin,
        "cors": Cors,
        "log": Log,
        "tracing": Tracing,
        "jwt": Jwt,
    }
)
ARRAYS: Mapping[str, type[Section]] = MappingProxyType({"caller": Caller, "route": Route})


def keys_of(model: type[Section]) -> tuple[str, ...]:
    """List the keys of a table as a file writes them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())
