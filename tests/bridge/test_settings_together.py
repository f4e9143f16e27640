"""What keys must agree upon, and that all faults are told at once, each once."""

import pytest

from bridge.settings import Fault, SettingsError, load, parse

ROUTE = '[[route]]\nname = "{name}"\npath = "{path}"\nqueue = "q"\n'


def route(name: str, path: str = "", *lines: str) -> str:
    return "\n".join([ROUTE.format(name=name, path=path or f"/{name}").strip(), *lines, ""])


def refused(text: str, **options) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text, source="bridge.toml", **options)
    return caught.value.faults


def the_fault(text: str, **options) -> Fault:
    (fault,) = refused(text, **options)
    return fault


def test_two_routes_of_one_name_are_refused_at_the_second():
    fault = the_fault(route("a", "/x") + route("b") + route("a", "/y"))
    assert (fault.key, fault.line) == ("route[2].name", 10)
    assert fault.reason == '"a" is the name of route[0] too'


@pytest.mark.parametrize(
    ("first", "second"), [("/a", "/a"), ("/a/{x}", "/a/{x}"), ("/a/{x}", "/a/{y}"), ("/{x}/b/{y}", "/{p}/b/{q}")]
)
def test_two_routes_of_one_path_and_method_are_refused_at_the_second(first, second):
    fault = the_fault(route("a", first) + route("b", second))
    assert (fault.key, fault.line) == ("route[1].path", 7)
    assert fault.reason == f'POST "{second}" is a call of route[0], "{first}", already'


def test_two_routes_of_one_path_may_share_no_method():
    text = route("a", "/x", 'methods = ["GET", "PUT", "POST"]') + route("b", "/x", 'methods = ["PUT", "DELETE", "GET"]')
    assert the_fault(text).reason == 'GET, PUT "/x" is a call of route[0], "/x", already'


def test_two_routes_of_one_path_call_its_parameters_alike():
    fault = the_fault(route("a", "/a/{x}") + route("b", "/a/{y}", 'methods = ["GET"]'))
    assert (fault.key, fault.line) == ("route[1].path", 7)
    assert fault.reason == '"/a/{y}" is "/a/{x}" of route[0] with other names: call its parameters alike'


def test_names_of_parameters_are_compared_even_where_the_methods_are_refused():
    faults = refused(route("a", "/a/{x}") + route("b", "/a/{y}", 'methods = ["x"]'))
    assert [(fault.line, fault.key) for fault in faults] == [(7, "route[1].path"), (9, "route[1].methods")]


@pytest.mark.parametrize("drain", ["60s", "61s"])
def test_a_drain_as_long_as_the_longest_timeout_is_enough(drain):
    parse(f'[server]\ndrain = "{drain}"\n' + route("a", "", 'timeout = "60s"'))


def test_a_drain_shorter_than_the_longest_timeout_is_refused():
    text = '[server]\ndrain = "59999ms"\n' + route("a") + route("b", "", 'timeout = "60s"')
    fault = the_fault(text)
    assert (fault.key, fault.line) == ("server.drain", 2)
    assert fault.reason == "must be at least the longest timeout, 1m of route[1] (is 59999ms)"


def test_a_default_drain_that_is_too_short_points_at_the_timeout():
    fault = the_fault(route("a", "", 'timeout = "60s"'))
    assert (fault.key, fault.line) == ("server.drain", 5)
    assert fault.reason.endswith("(is 35s by default)")


def test_a_long_job_does_not_lengthen_the_drain():
    parse(route("a", "", 'job_timeout = "24h"'))


@pytest.mark.parametrize("key", ["max_body", "max_reply"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_bodies_leave_64_kib_of_a_frame_to_its_headers(key, more):
    frame = 8 << 20
    text = f"[broker]\nmax_frame = {frame}\n" + route("a", "", f"{key} = {frame - 65_536 + more}")
    if more <= 0:
        parse(text)
        return
    fault = the_fault(text)
    assert (fault.key, fault.line) == (f"route[0].{key}", 7)
    assert fault.reason.startswith("must be at most broker.max_frame less 64KiB, 8128KiB (is ")


def test_a_default_body_that_does_not_fit_is_refused_at_the_route():
    faults = refused('[broker]\nmax_frame = "1MiB"\n' + route("a"))
    assert [(fault.key, fault.line) for fault in faults] == [("route[0].max_body", 3), ("route[0].max_reply", 3)]
    assert faults[0].reason.endswith("(is 1MiB by default)")


@pytest.mark.parametrize("bind", ["127.0.0.1:80", "127.9.9.9:80", "localhost:80", "[::1]:80", "[::ffff:127.0.0.1]:80"])
def test_loopback_may_be_bound_without_authentication(bind):
    parse(f'[server]\nbind = ["{bind}"]\n')


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "example.com:80", "localhost.example:80"]
)
def test_anything_else_may_not_be_bound_without_authentication(bind):
    fault = the_fault(f'[server]\nbind = [\n  "127.0.0.1:80",\n  "{bind}",\n]\n')
    assert (fault.key, fault.line) == ("server.bind[1]", 4)
    assert fault.reason.startswith(f'"{bind}" is not loopback')
    assert "allow_anonymous" in fault.reason


def test_anything_may_be_bound_when_anonymous_calls_are_allowed():
    parse('[server]\nbind = ["0.0.0.0:80"]\nallow_anonymous = true\n')


def test_http2_is_refused_on_uvicorn_and_taken_on_the_others():
    fault = the_fault('[server]\nimplementation = "uvicorn"\nhttp2 = true\n')
    assert (fault.key, fault.line) == ("server.http2", 3)
    for implementation in ("auto", "hypercorn"):
        parse(f'[server]\nimplementation = "{implementation}"\nhttp2 = true\n')


EVERYTHING = """\
[server]
bind = ["0.0.0.0:8080", "nowhere"]
max_hold = 5
drain = "5s"
body_timeout = "-1s"
[broker]
login = "bridge"
passcode_file = "missing"
urls = ["tcp://127.0.0.1:61616"]
[[route]]
name = "a"
path = "/a/{x}"
queue = "a>"
[[route]]
name = "a"
path = "/a/{y}"
queue = "b"
timeout = "1"
max_body = "5MiB"
[[route]]
name = "c"
path = "/jobs/c"
stream = true
"""


def test_all_faults_are_told_at_once_in_the_order_of_their_lines():
    faults = refused(EVERYTHING, environ={"MQBRIDGE_SERVER__MAX_HELT": "1", "MQBRIDGE_SERVER__HTTP2": "2"})
    assert [(fault.line, fault.key) for fault in faults] == [
        (None, "MQBRIDGE_SERVER__HTTP2"),
        (None, "MQBRIDGE_SERVER__MAX_HELT"),
        (2, "server.bind[1]"),
        (2, "server.bind[0]"),
        (3, "server.max_hold"),
        (4, "server.drain"),
        (5, "server.body_timeout"),
        (8, "broker.passcode_file"),
        (9, "broker.urls[0]"),
        (13, "route[0].queue"),
        (15, "route[1].name"),
        (16, "route[1].path"),
        (18, "route[1].timeout"),
        (19, "route[1].max_body"),
        (20, "route[2].queue"),
        (22, "route[2].path"),
    ]


def test_the_error_lists_one_fault_a_line_with_its_place(tmp_path):
    path = tmp_path / "bridge.toml"
    path.write_text("[server]\nmax_hold = 5\n" + route("a", "", 'queue_ = "x"'))
    with pytest.raises(SettingsError) as caught:
        load(path, {"MQBRIDGE_SERVER__MAX_HELD": "no"})
    assert caught.value.source == str(path)
    assert str(caught.value).splitlines() == [
        'environment: MQBRIDGE_SERVER__MAX_HELD: must be a whole number (is "no")',
        f'{path}:2: server.max_hold: is not a key of this version; did you mean "max_held"?',
        f'{path}:7: route[0].queue_: is not a key of this version; did you mean "queue"?',
    ]


FOLLOW_ON = [
    # a refused value, in whose default's place another check would find fault
    ('[server]\ndrain = "x"\n' + route("a", "", 'timeout = "60s"'), ["server.drain"]),
    ('[server]\ndrain = "10s"\n' + route("a", "", 'timeout = "x"'), ["route[0].timeout"]),
    ('[server]\nbind = ["0.0.0.0:80"]\nallow_anonymous = "yes"\n', ["server.allow_anonymous"]),
    ('[server]\nhttp2 = true\nimplementation = "uvicor"\n', ["server.implementation"]),
    ('[broker]\nmax_frame = "x"\n' + route("a", "", 'max_body = "8MiB"'), ["broker.max_frame"]),
    (
        '[broker]\nmax_frame = "128KiB"\n' + route("a", "", 'max_body = "x"', 'max_reply = "1B"'),
        ["route[0].max_body"],
    ),
    ('[broker]\nlogin = "b"\npasscode_file = "missing"\n', ["broker.passcode_file"]),
    ('[broker]\nlogin = "b"\npasscode_file = 5\n', ["broker.passcode_file"]),
    (route("a", "/x") + route("b", "/x", 'methods = ["x"]'), ["route[1].methods"]),
    (
        "".join(f'[[route]]\npath = "/{name}"\nqueue = "q"\n' for name in "bc"),
        ["route[0].name", "route[1].name"],
    ),
    (
        "".join(f'[[route]]\nname = "{name}"\nqueue = "q"\n' for name in "bc"),
        ["route[0].path", "route[1].path"],
    ),
    ('[server]\nbind = ["x", "y"]\n', ["server.bind[0]", "server.bind[1]"]),
    ("server = 5\n" + route("a", "", 'timeout = "60s"'), ["server"]),
]


@pytest.mark.parametrize(("text", "keys"), FOLLOW_ON)
def test_no_fault_follows_from_another(text, keys):
    assert [fault.key for fault in refused(text)] == keys


def test_a_fault_writes_its_place_as_far_as_it_is_known():
    assert str(Fault("route[1].queue", 12, "is wrong", "bridge.toml")) == "bridge.toml:12: route[1].queue: is wrong"
    assert str(Fault("route[1].queue", None, "is wrong", "bridge.toml")) == "bridge.toml: route[1].queue: is wrong"
    assert str(Fault("", 3, "is not TOML", "bridge.toml")) == "bridge.toml:3: is not TOML"
    assert str(Fault("server", None, "is wrong")) == "server: is wrong"
