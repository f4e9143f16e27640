"""Each value that is refused, with the key, the line and a plain sentence."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.settings import Fault, SettingsError, load, parse
from bridge.settings.models import ARRAYS, TABLES, keys_of

ROUTE = '[[route]]\nname = "words"\npath = "/words"\nqueue = "words"\n'


def refused(text: str, **options) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text, source="bridge.toml", **options)
    return caught.value.faults


def the_fault(text: str, **options) -> Fault:
    (fault,) = refused(text, **options)
    return fault


# One bad value for a key of [server], [broker] …, and a part of the sentence.
SECTION_VALUES = [
    ("server", "bind", "[]", "must not be empty"),
    ("server", "bind", '"127.0.0.1:80"', 'must be an array, such as ["127.0.0.1:80"]'),
    ("server", "bind", "5", "must be an array (is 5)"),
    ("server", "bind", '["127.0.0.1:1", "127.0.0.1:1"]', 'has "127.0.0.1:1" twice'),
    ("server", "implementation", '"granian"', 'must be "auto", "uvicorn" or "hypercorn" (is "granian")'),
    ("server", "implementation", '"hypercron"', 'did you mean "hypercorn"?'),
    ("server", "max_held", "0", "must be 1 or more (is 0)"),
    ("server", "max_held", "-1", "must be 1 or more (is -1)"),
    ("server", "max_held", '"5"', 'must be a whole number (is "5")'),
    ("server", "max_held", "5.5", "must be a whole number (is 5.5)"),
    ("server", "max_held", "5.0", "must be a whole number (is 5.0)"),
    ("server", "max_held", "true", "must be a whole number (is true)"),
    ("server", "max_body_memory", '"0B"', "must be greater than 0 (is 0B)"),
    ("server", "max_body_memory", "0", "must be greater than 0 (is 0)"),
    ("server", "max_body_memory", "-5", "must be greater than 0 (is -5)"),
    ("server", "max_body_memory", '"256MB"', '"256MB" is not a size'),
    ("server", "max_body_memory", "1.5", 'must be a size such as "64KiB" or whole bytes (is 1.5)'),
    ("server", "http2", '"yes"', 'must be true or false (is "yes")'),
    ("server", "http2", "1", "must be true or false (is 1)"),
    ("server", "public_url", '"api.example.com"', "must be a URL such as"),
    ("server", "public_url", '"ftp://api.example.com"', "must be a URL such as"),
    ("server", "public_url", '"https://a.example/"', "must end without a slash"),
    ("server", "public_url", '"https://a.example/?x=1"', "must end without a slash, a query"),
    ("server", "public_url", '"https://a.example?"', "must end without a slash, a query"),
    ("server", "public_url", '"https://me:s3cret@a.example"', "must hold no user and password"),
    ("server", "public_url", '"https://a.ex\\nample"', "must be a URL such as"),
    ("server", "public_url", '"https://a.example/x y"', "must be a URL such as"),
    ("server", "public_url", '"https://é.example"', "must be a URL such as"),
    ("server", "public_url", '"https://["', "is not a URL"),
    ("server", "body_timeout", '"-5s"', "must be greater than 0 (is -5s)"),
    ("server", "body_timeout", '"0s"', "must be greater than 0 (is 0s)"),
    ("server", "body_timeout", "10", 'must be a duration with its unit, such as "10s" (is 10)'),
    ("server", "body_timeout", "0.5", "must be a duration with its unit"),
    ("server", "body_timeout", "nan", "must be a duration with its unit"),
    ("server", "body_timeout", "inf", "must be a duration with its unit"),
    ("server", "body_timeout", '"10"', '"10" is not a duration'),
    ("server", "body_timeout", "true", 'must be a duration such as "10s" (is true)'),
    ("server", "body_timeout", "[1]", "(is an array)"),
    ("server", "tls_key", "5", "must be the path of a file (is 5)"),
    ("server", "tls_key", '"a\\u0000b"', "must be the path of a file"),
    ("broker", "urls", "[]", "must not be empty"),
    ("broker", "kind", '"clasic"', 'did you mean "classic"?'),
    ("broker", "login", "5", "must be a string (is 5)"),
    ("broker", "login", '"a\\nb"', "must be one line"),
    ("broker", "vhost", '""', "must not be empty"),
    ("broker", "declare", '"no"', "must be true or false"),
    ("broker", "passcode_file", "5", "must be the path of a file (is 5)"),
    ("broker", "heartbeat", '"0ms"', "must be greater than 0 (is 0ms)"),
    ("broker", "publish_timeout", '"5"', '"5" is not a duration'),
    ("broker", "max_frame", '"64KiB"', "must be more than 64KiB"),
    ("tracing", "endpoint", '"127.0.0.1:4318"', 'must be a URL such as "http://127.0.0.1:4318"'),
    ("tracing", "endpoint", '"grpc://collector:4317"', "must be a URL such as"),
    ("tracing", "endpoint", '"http://me:s3cret@collector:4318"', "must hold no user and password"),
    ("tracing", "endpoint", '"http://collector:4318/"', "must end before /v1/traces, without a slash"),
    ("tracing", "endpoint", '"http://collector:4318/v1/traces"', "must end before /v1/traces"),
    ("tracing", "service_name", '"a\\nb"', "must be one line"),
    ("tracing", "sample", "1.1", "must be 1.0 or less"),
    ("tracing", "sample", "-0.1", "must be 0.0 or more"),
    ("tracing", "sample", "nan", "must be a number (is nan)"),
    ("tracing", "sample", '"5%"', 'must be a number (is "5%")'),
    ("store", "url", '"oracle://x"', "must begin with sqlite://"),
    ("store", "url", '"mysql://h/db"', "must begin with sqlite://, mysql+DRIVER://"),
    ("store", "url", "5", "must be a string"),
    ("store", "retention", '"1d"', '"1d" is not a duration'),
    ("admin", "key_sha256", '"abc"', "must be the SHA-256 of a key"),
    ("cors", "origins", '["*"]', "must be an origin such as"),
    ("cors", "origins", '["https://a.example/"]', "must be an origin such as"),
    ("cors", "origins", '["https://me@a.example"]', "must be an origin such as"),
    ("cors", "origins", '["https://A.example"]', "must be an origin such as"),
]


@pytest.mark.parametrize(("section", "key", "value", "sentence"), SECTION_VALUES)
def test_a_bad_value_in_a_section_is_refused_by_name_and_line(section, key, value, sentence):
    fault = the_fault(f"\n[{section}]\n{key} = {value}\n")
    assert fault.key.partition("[")[0] == f"{section}.{key}"
    assert (fault.line, fault.source) == (3, "bridge.toml")
    assert sentence in fault.reason


ROUTE_VALUES = [
    ("name", '""', "must be 1 to 64 letters"),
    ("name", '"two words"', "must be 1 to 64 letters"),
    ("name", f'"{"a" * 65}"', "must be 1 to 64 letters"),
    ("name", '"-a"', "with a letter or digit first"),
    ("path", '"words"', "must begin with /"),
    ("path", '""', "must begin with /"),
    ("path", '"/words/"', "must not end with /"),
    ("path", '"//"', "must not end with /"),
    ("path", '"/a//b"', "has an empty segment"),
    ("path", '"/a/../b"', "must not have .. as a segment"),
    ("path", '"/./b"', "must not have . as a segment"),
    ("path", '"/a%20b"', 'has "a%20b"'),
    ("path", '"/a b"', 'has "a b"'),
    ("path", '"/é"', 'has "é"'),
    ("path", '"/:id"', 'has ":id"'),
    ("path", '"/a{x}"', 'has "a{x}"'),
    ("path", '"/{x:int}"', 'has "{x:int}"'),
    ("path", '"/{1x}"', 'has "{1x}"'),
    ("path", '"/{}"', 'has "{}"'),
    ("path", '"/{x}/b/{x}"', "has the parameter {x} twice"),
    ("path", f'"/{{{"a" * 65}}}"', "longer than 64 characters"),
    ("path", '"/a?b=1"', 'has "a?b=1"'),
    ("path", '"/jobs"', "is under /jobs, which is the bridge's own"),
    ("path", '"/jobs/x"', "is under /jobs"),
    ("path", '"/-"', "is under /-"),
    ("path", '"/-/live"', "is under /-"),
    ("path", '"/problems/x"', "is under /problems"),
    ("path", '"/docs"', "is under /docs"),
    ("path", '"/openapi.json"', "is under /openapi.json"),
    ("methods", "[]", "must not be empty"),
    ("methods", '"POST"', 'must be an array, such as ["POST"]'),
    ("methods", '["post"]', "write POST"),
    ("methods", '["CONNECT"]', "which is none of GET"),
    ("methods", '["POST", 5]', "has 5, which is none of GET"),
    ("methods", '["POST", "POST"]', 'has "POST" twice'),
    ("queue", '""', "must be 1 to 128 letters"),
    ("queue", f'"{"a" * 129}"', "must be 1 to 128 letters"),
    ("queue", '"a>"', "must be 1 to 128 letters"),
    ("queue", '"a.*"', "must be 1 to 128 letters"),
    ("queue", '"a,b"', "must be 1 to 128 letters"),
    ("queue", '"a?x=1"', "must be 1 to 128 letters"),
    ("queue", '"/queue/a"', "must be 1 to 128 letters"),
    ("queue", '"a\\n"', "must be 1 to 128 letters"),
    ("queue", '"bridge.replies"', "must not begin with bridge."),
    ("queue", '"ActiveMQ.Advisory"', "must not begin with ActiveMQ."),
    ("queue", '"DLQ"', "must not begin with DLQ"),
    ("queue", '"DLQs"', "must not begin with DLQ"),
    ("queue", '"ExpiryQueue"', "must not begin with ExpiryQueue"),
    ("queue", '"Consumer.a.VirtualTopic.b"', "must not begin with Consumer."),
    ("queue", '"VirtualTopic.b"', "must not begin with VirtualTopic."),
    ("queue", '"amq.gen"', "must not begin with amq."),
    ("queue", '"words.poison"', "must not end with .poison"),
    ("timeout", '"-5s"', "must be greater than 0 (is -5s)"),
    ("timeout", "-5", "must be a duration with its unit"),
    ("job_timeout", '"0s"', "must be greater than 0"),
    ("persistent", "0", "must be true or false (is 0)"),
    ("async", '"allow"', 'did you mean "allowed"?'),
    ("async", "true", 'must be "never", "allowed" or "always" (is true)'),
    ("idempotency", '"on"', 'must be "off", "optional" or "required"'),
    ("redeliver", '"no"', "must be true or false"),
    ("max_attempts", "0", "must be 1 or more"),
    ("worker_wait", '"-1s"', "must be 0 or more (is -1s)"),
    ("worker_wait", "0", "must be a duration with its unit"),
    ("max_backlog", "0", "must be 1 or more"),
    ("started", '"yes"', 'must be "never", "ask" or "always"'),
    ("max_body", '"0KiB"', "must be greater than 0"),
    ("max_reply", "-1", "must be greater than 0"),
    ("max_held", "0", "must be 1 or more"),
    ("accepts", '"image/png"', "must be an array"),
    ("schema", "5", "must be the path of a file"),
    ("stream", "1", 'must be false, true or "body" (is 1)'),
    ("stream", "0", 'must be false, true or "body" (is 0)'),
    ("stream", '"yes"', 'must be false, true or "body" (is "yes")'),
    ("priority_ceiling", "10", "must be 9 or less (is 10)"),
    ("priority_ceiling", "-1", "must be 0 or more (is -1)"),
    ("message", '"binary"', 'must be "auto", "text" or "bytes"'),
    ("pass_headers", '"etag"', "must be an array"),
    ("pass_headers", '["etag", "etag"]', 'has "etag" twice'),
]


@pytest.mark.parametrize(("key", "value", "sentence"), ROUTE_VALUES)
def test_a_bad_value_in_a_route_is_refused_by_name_and_line(key, value, sentence):
    lines = [line for line in ROUTE.splitlines() if not line.startswith(f"{key} =")]
    fault = the_fault("\n".join([*lines, "", f"{key} = {value}"]))
    assert fault.key == f"route[0].{key}"
    assert fault.line == len(lines) + 2
    assert sentence in fault.reason


ELEMENTS = [
    ("server", "bind", "127.0.0.1", 'is not an address such as "127.0.0.1:8080"'),
    ("server", "bind", "8080", "is not an address"),
    ("server", "bind", ":8080", 'to listen everywhere write "0.0.0.0:8080"'),
    ("server", "bind", "*:8080", 'to listen everywhere write "0.0.0.0:8080"'),
    ("server", "bind", "::1:8080", "write an IPv6 address in brackets"),
    ("server", "bind", "127.0.0.1:65536", "the port must be from 0 to 65535"),
    ("server", "bind", "127.0.0.1:-1", "is not an address"),
    ("server", "bind", "127.0.0.1:\u0661", "is not an address"),
    ("server", "bind", "300.0.0.1:80", "300"),
    ("server", "bind", "[1::2::3]:80", "1::2::3"),
    ("server", "bind", "a_host!:80", "is not an address"),
    ("server", "bind", f"{'a.' * 126}aa:80", "is not an address"),
    ("server", "bind", "http://127.0.0.1:80", "is not an address"),
    ("server", "bind", "unix:/run/x", "is not an address"),
    ("broker", "urls", "127.0.0.1:61613", "is not a broker URL such as"),
    ("broker", "urls", "tcp://127.0.0.1:61616", "must begin with stomp:// or stomp+ssl://"),
    ("broker", "urls", "failover:(stomp://a:1)", "is not a broker URL"),
    ("broker", "urls", "stomp://host", "is not an address"),
    ("broker", "urls", "stomp://host:0", "must name a port from 1 to 65535"),
    ("broker", "urls", "stomp://host:65536", "the port must be"),
    ("broker", "urls", "stomp://host:1/x", "must end after the port"),
    ("broker", "urls", "stomp://host:1?x=1", "must end after the port"),
    ("broker", "urls", "stomp://me:s3cret@host:1", "must hold no user and password"),
]


@pytest.mark.parametrize(("section", "key", "element", "sentence"), ELEMENTS)
def test_a_bad_element_is_refused_by_index_and_line(section, key, element, sentence):
    good = '"127.0.0.1:1"' if key == "bind" else '"stomp://127.0.0.1:1"'
    fault = the_fault(f'[{section}]\n{key} = [\n  {good},\n  "{element}",\n]\n')
    assert (fault.key, fault.line) == (f"{section}.{key}[1]", 4)
    assert sentence in fault.reason
    assert "s3cret" not in fault.reason


@pytest.mark.parametrize("media_type", ["png", "image/*", "*/*", "Image/png", "text/plain; charset=utf-8", "a/b/c", ""])
def test_accepts_takes_plain_media_types_only(media_type):
    fault = the_fault(f'{ROUTE}accepts = ["image/png", "{media_type}"]\n')
    assert fault.key == "route[0].accepts[1]"
    assert "must be one media type in lower case" in fault.reason


NEVER_PASSED = [
    *("authorization", "cookie", "set-cookie", "content-length", "transfer-encoding"),
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
    *("te", "trailer", "upgrade", "content-type", "correlation-id", "date", "idempotency-key"),
    *("idempotency-replayed", "job-state", "preference-applied", "server", "server-timing"),
    *("traceparent", "tracestate", "access-control-allow-origin", "Authorization", "Set-Cookie"),
]


@pytest.mark.parametrize("key", ["pass_headers", "pass_reply_headers"])
@pytest.mark.parametrize("name", NEVER_PASSED)
def test_a_header_that_must_not_go_through_is_refused(key, name):
    fault = the_fault(f'{ROUTE}{key} = ["etag", "{name}"]\n')
    assert fault.key == f"route[0].{key}[1]"
    assert f'must not let "{name}" through' in fault.reason


@pytest.mark.parametrize("key", ["pass_headers", "pass_reply_headers"])
@pytest.mark.parametrize("name", ["", "a b", "x_y", "x:y", "é", "a\\r\\nb", "*"])
def test_what_is_not_a_header_name_is_refused(key, name):
    fault = the_fault(f'{ROUTE}{key} = ["{name}"]\n')
    assert fault.key == f"route[0].{key}[0]"
    assert "is not a header name in a-z, 0-9 and -" in fault.reason


def test_a_header_name_with_capitals_is_answered_with_the_right_spelling():
    assert the_fault(f'{ROUTE}pass_headers = ["X-Tenant"]\n').reason.endswith('write "x-tenant"')


@pytest.mark.parametrize(
    ("line", "key", "sentence"),
    [
        ("[[route]]\ntimout = 1", "route[1].timout", 'did you mean "timeout"?'),
        ("[server]\nmax_hold = 1", "server.max_hold", 'did you mean "max_held"?'),
        ("[broker]\npassword = 's3cret'", "broker.password", 'did you mean "passcode_file"?'),
        ("[broker]\nusername = 'me'", "broker.username", 'did you mean "login"?'),
        ("[server]\nport = 8080", "server.port", 'did you mean "bind"?'),
        ("[servers]", "servers", 'did you mean "server"?'),
        ("[[routes]]", "routes", 'did you mean "route"?'),
        ("[server]\nqueue = 'x'", "server.queue", "is not a key of this version here; it belongs to [[route]]"),
        ("[server]\nlogin = 'x'", "server.login", "it belongs to [broker]"),
        ("[server]\nfrobnicate = 1", "server.frobnicate", "is not a key of this version"),
        ("[server.inner]", "server.inner", "is not a key of this version"),
        ("[[route]]\nasync_ = 'never'", "route[1].async_", 'did you mean "async"?'),
        ('[server]\n"max held" = 1', 'server."max held"', 'did you mean "max_held"?'),
        ("[notes]", "notes", "is not a key of this version"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(line, key, sentence):
    good = 'name = "x"\npath = "/x"\nqueue = "x"\n' if line.startswith("[[route]]") else ""
    text = f"{ROUTE}{line}\n{good}"
    (fault,) = [fault for fault in refused(text) if fault.key == key]
    assert sentence in fault.reason
    assert fault.line == text[: text.index(line) + len(line)].count("\n") + 1
    assert "s3cret" not in str(fault)


def test_a_key_above_the_first_table_is_refused_with_its_table():
    fault = the_fault('timeout = "5s"\n')
    assert (fault.key, fault.line) == ("timeout", 1)
    assert "it belongs to [[route]]" in fault.reason


@pytest.mark.parametrize("key", ["name", "path", "queue"])
def test_a_route_without_what_it_needs_is_refused_at_its_header(key):
    lines = [line for line in ROUTE.splitlines() if not line.startswith(key)]
    fault = the_fault("\n" + "\n".join(lines))
    assert (fault.key, fault.line, fault.reason) == (f"route[0].{key}", 2, "is required")


@pytest.mark.parametrize(
    ("text", "key", "sentence"),
    [
        ("server = 5\n", "server", "must be a table: write [server]"),
        ("[[server]]\n", "server", "must be a table: write [server]"),
        ("[route]\n", "route", "must be an array of tables: write [[route]]"),
        ("route = 5\n", "route", "must be an array of tables: write [[route]]"),
        ("route = [5]\n", "route[0]", "must be a table (is 5)"),
    ],
)
def test_a_table_of_the_wrong_kind_is_refused(text, key, sentence):
    fault = the_fault(text)
    assert (fault.key, fault.line) == (key, 1)
    assert sentence in fault.reason


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("[server]\ndrain = 35s\n", 2, "go in quotes"),
        ("[server]\nimplementation = auto\n", 2, 'text goes in quotes, as "auto"'),
        ("[server]\nhttp2 = True\n", 2, "in lower case"),
        ('[server]\ndrain = "35s\n', 2, "column"),
        ("[server]\nmax_held = 1\nmax_held = 2\n", 3, "the key is there twice"),
        ("[server]\n[server]\n", 2, "twice"),
        ("[server\n", 1, "column"),
        ("[server]\nbind = [", 2, "at the end"),
        ("x = " + "1" * 5000, None, "too many digits"),
        ("x = " + "[" * 5000, None, "nested too deeply"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_place(text, line, sentence):
    fault = the_fault(text)
    assert (fault.key, fault.line) == ("", line)
    assert sentence in fault.reason


def test_a_file_that_cannot_be_read_is_one_fault(tmp_path):
    for path, sentence in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=sentence) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: cannot be read: ")


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path):
    path = tmp_path / "bridge.toml"
    path.write_bytes(b'[server]\npublic_url = "\xff"\n')
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2: is not UTF-8 text"


TOML_VALUES = st.recursive(
    st.integers() | st.booleans() | st.floats() | st.dates() | st.text(max_size=5) | st.just("10s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)
KNOWN = sorted({key for model in (*TABLES.values(), *ARRAYS.values()) for key in keys_of(model)})
ENTRIES = st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=4), TOML_VALUES, max_size=5)
DOCUMENTS = st.dictionaries(
    st.sampled_from([*TABLES, *ARRAYS, "notes", ""]),
    ENTRIES | st.lists(ENTRIES | TOML_VALUES, max_size=3) | TOML_VALUES,
    max_size=4,
)


def _written(value) -> str:
    """A value as inline TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(key)} = {_written(item)}" for key, item in value.items()) + "}"
    return str(value)


@settings(deadline=None)  # the machine may be busy
@given(DOCUMENTS)
def test_any_document_is_read_or_refused_in_plain_words(document):
    text = "".join(f"{_written(key)} = {_written(value)}\n" for key, value in document.items())
    try:
        parse(text, source="bridge.toml")
    except SettingsError as error:
        said = str(error)
    else:
        return
    assert re.fullmatch(r"(bridge\.toml:\d+: [^\n]+\n?)+", said)
    for phrase in ("Input should", "Value error", "valid ", "NoneType", "<class", "pydantic"):
        assert phrase not in said


@settings(deadline=None)  # the machine may be busy
@given(st.text())
def test_any_text_is_read_or_refused_with_the_one_error(text):
    try:
        parse(text)
    except SettingsError as error:
        faults = error.faults
    else:
        return
    assert faults
