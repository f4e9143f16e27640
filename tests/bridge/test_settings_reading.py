"""What the settings are when the file is right: defaults, units, alternatives of spelling."""

import pytest
from pydantic import ValidationError

from bridge.settings import BrokerUrl, Route, Server, Settings, load, parse

ROUTE = '[[route]]\nname = "words"\npath = "/words"\nqueue = "words"\n'

COMPLETE = """
[server]
bind = ["127.0.0.1:0", "[::1]:8080", "localhost:8081"]
implementation = "hypercorn"
max_held = 1
max_body_memory = 1_000_000
http2 = true
public_url = "https://api.example.com/work"
allow_anonymous = true
body_timeout = "250ms"
drain = "1h"

[broker]
urls = ["stomp://one:61613", "stomp+ssl://[::1]:61614/"]
kind = "classic"
login = "bridge"
passcode_file = "passcode"
heartbeat = "0.5s"
publish_timeout = "1m"
max_frame = "64MiB"

[store]
url = "sqlite:///elsewhere.db"
retention = "48h"

[admin]
key_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

[cors]
origins = ["https://app.example.com", "http://localhost:3000"]

[[route]]
name = "thumbnails.v2"
path = "/thumbnails/{size}/a-b.c_d~e"
methods = ["PUT", "POST"]
queue = "Thumbnails.v2_x-y"
timeout = "20s"
job_timeout = "2h"
persistent = true
async = "always"
idempotency = "required"
redeliver = false
max_attempts = 1
worker_wait = "0s"
max_backlog = 1
started = "always"
max_body = 512
max_reply = "63MiB"
max_held = 1
accepts = ["image/png", "application/vnd.api+json"]
schema = ""
stream = false
priority_ceiling = 0
message = "bytes"
pass_headers = []
pass_reply_headers = ["etag", "x-rows-1"]
"""


def test_an_empty_file_gives_the_documented_defaults():
    settings = parse("")
    assert settings.server.model_dump() == {
        "bind": ("127.0.0.1:8080",),
        "implementation": "auto",
        "max_held": 10_000,
        "max_connections": 20_000,
        "max_body_memory": 268_435_456,
        "http2": False,
        "public_url": "",
        "allow_anonymous": False,
        "head_timeout": 10.0,
        "body_timeout": 10.0,
        "drain": 35.0,
        "tls_certificate": None,
        "tls_key": None,
        "client_ca": None,
    }
    assert settings.broker.urls == (BrokerUrl("127.0.0.1", 61613, tls=False),)
    assert settings.broker.passcode.get_secret_value() == ""
    assert settings.broker.model_dump(exclude={"urls", "passcode"}) == {
        "kind": "auto",
        "login": "",
        "passcode_file": None,
        "vhost": "/",
        "declare": True,
        "tls_ca": None,
        "tls_certificate": None,
        "tls_key": None,
        "heartbeat": 10.0,
        "publish_timeout": 5.0,
        "max_frame": 4_194_304,
    }
    assert settings.store.url.get_secret_value() == "sqlite:///var/mqbridge.db"
    assert settings.store.retention == 86_400.0
    assert settings.admin.key_sha256 == ""
    assert settings.cors.origins == ()
    assert (settings.callers, settings.jwt, settings.routes) == ((), None, ())


def test_a_route_needs_a_name_a_path_and_a_queue_and_has_defaults_for_the_rest():
    (route,) = parse(ROUTE).routes
    assert route.model_dump() == {
        "name": "words",
        "path": "/words",
        "methods": frozenset({"POST"}),
        "queue": "words",
        "timeout": 30.0,
        "job_timeout": 3_600.0,
        "persistent": False,
        "async_": "allowed",
        "idempotency": "optional",
        "redeliver": True,
        "max_attempts": 3,
        "worker_wait": 0.0,
        "max_backlog": 10_000,
        "started": "ask",
        "max_body": 1_048_576,
        "max_reply": 3_145_728,
        "max_held": 1_000,
        "accepts": (),
        "schema_": None,
        "stream": False,
        "priority_ceiling": 9,
        "message": "auto",
        "pass_headers": ("accept-language",),
        "pass_reply_headers": ("cache-control", "content-disposition"),
    }


def test_every_key_of_a_complete_file_is_read(tmp_path):
    (tmp_path / "passcode").write_text("s3cret\n")
    settings = parse(COMPLETE, base=tmp_path)
    server, broker, (route,) = settings.server, settings.broker, settings.routes
    assert server.bind == ("127.0.0.1:0", "[::1]:8080", "localhost:8081")
    assert (server.implementation, server.http2, server.allow_anonymous) == ("hypercorn", True, True)
    assert (server.max_held, server.max_body_memory) == (1, 1_000_000)
    assert (server.body_timeout, server.drain) == (0.25, 3_600.0)
    assert server.public_url == "https://api.example.com/work"
    assert broker.urls == (BrokerUrl("one", 61613, tls=False), BrokerUrl("::1", 61614, tls=True))
    assert [str(url) for url in broker.urls] == ["stomp://one:61613", "stomp+ssl://[::1]:61614"]
    assert (broker.kind, broker.login, broker.passcode.get_secret_value()) == ("classic", "bridge", "s3cret")
    assert (broker.heartbeat, broker.publish_timeout, broker.max_frame) == (0.5, 60.0, 64 << 20)
    assert route.methods == {"PUT", "POST"}
    assert (route.async_, route.idempotency, route.started, route.message) == ("always", "required", "always", "bytes")
    assert (route.timeout, route.job_timeout, route.worker_wait) == (20.0, 7_200.0, 0.0)
    assert (route.max_body, route.max_reply, route.max_held, route.max_attempts) == (512, 63 << 20, 1, 1)
    assert route.accepts == ("image/png", "application/vnd.api+json")
    assert (route.persistent, route.redeliver, route.priority_ceiling) == (True, False, 0)
    assert (route.pass_headers, route.pass_reply_headers) == ((), ("etag", "x-rows-1"))


def test_nothing_can_be_changed_afterwards():
    settings = parse(ROUTE)
    for part, name in ((settings, "routes"), (settings.routes[0], "queue"), (settings.server, "bind")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, name, None)


def test_a_file_is_read_from_its_own_folder(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "pass").write_text("s3cret")
    (folder / "bridge.toml").write_text('[broker]\nlogin = "b"\npasscode_file = "pass"\n' + ROUTE)
    broker = load(folder / "bridge.toml").broker
    assert broker.passcode.get_secret_value() == "s3cret"
    assert broker.passcode_file == folder / "pass"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "bridge.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ROUTE.replace("\n", "\r\n").encode())
    assert load(path).routes[0].name == "words"


@pytest.mark.parametrize(
    "path", ["/", "/a", "/{x}", "/a/{x}/{y_1}/b", "/a.b/~c", "/job", f"/{{{'x' * 64}}}", "/-x", "/a/jobs", "/docs2"]
)
def test_a_path_is_made_of_literal_segments_and_parameters(path):
    assert parse(ROUTE.replace('"/words"', f'"{path}"')).routes[0].path == path


@pytest.mark.parametrize("queue", ["a", "a" * 128, "DL.Q", "bridge", "a.poisoned", "ActiveMQ", "x.DLQ", "AMQ.x", "-"])
def test_a_queue_may_look_like_a_reserved_one_without_being_one(queue):
    assert parse(ROUTE.replace('queue = "words"', f'queue = "{queue}"')).routes[0].queue == queue


def test_a_host_name_may_be_as_long_as_the_domain_name_system_takes():
    name = "a." * 126 + "a"  # 253 characters
    (bind,) = parse(f'[server]\nbind = ["{name}:80"]\nallow_anonymous = true\n').server.bind
    assert bind == f"{name}:80"


def test_equal_paths_with_other_methods_and_other_shapes_are_different_calls():
    paths = ['path = "/a/{x}"', 'path = "/a/b"', 'path = "/a/{x}/c"', 'path = "/a/{x}"\nmethods = ["GET"]']
    text = "".join(f'[[route]]\nname = "r{i}"\nqueue = "same"\n{path}\n' for i, path in enumerate(paths))
    assert len(parse(text).routes) == 4


def test_in_code_numbers_are_seconds_and_bytes_and_names_are_attributes():
    route = Route(name="a", path="/a", queue="a", timeout=0.5, max_body=10, methods={"GET"}, async_="never")
    assert (route.timeout, route.max_body, route.methods, route.async_) == (0.5, 10, {"GET"}, "never")
    settings = Settings(server=Server(bind=("127.0.0.1:0",)), routes=(route,))
    assert settings.routes == (route,)
    assert settings.server.bind == ("127.0.0.1:0",)


def test_in_code_the_same_values_are_refused():
    with pytest.raises(ValidationError):
        Route(name="a", path="/a", queue="a>")
    with pytest.raises(ValidationError):
        Route(name="a", path="/a", queue="a", timeout=0)
