"""Overrides from variables that the caller passes in."""

import pytest

from bridge.settings import BrokerUrl, Fault, SettingsError, parse


def refused(environ: dict[str, str], text: str = "") -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text, source="bridge.toml", environ=environ)
    return caught.value.faults


def test_a_variable_overrides_the_file():
    text = "[server]\nmax_held = 7\nhttp2 = true\n"
    server = parse(text, environ={"MQBRIDGE_SERVER__MAX_HELD": "5"}).server
    assert (server.max_held, server.http2) == (5, True)


def test_a_variable_sets_what_the_file_leaves_out():
    environ = {
        "MQBRIDGE_SERVER__BIND": '["127.0.0.1:0", "[::1]:0"]',
        "MQBRIDGE_SERVER__HTTP2": "true",
        "MQBRIDGE_SERVER__DRAIN": "1h",
        "MQBRIDGE_SERVER__IMPLEMENTATION": '"hypercorn"',
        "MQBRIDGE_BROKER__URLS": '["stomp://other:61613"]',
        "MQBRIDGE_BROKER__MAX_FRAME": "8388608",
        "MQBRIDGE_BROKER__KIND": "classic",
    }
    settings = parse("", environ=environ)
    assert settings.server.bind == ("127.0.0.1:0", "[::1]:0")
    assert (settings.server.http2, settings.server.drain, settings.server.implementation) == (True, 3600.0, "hypercorn")
    assert settings.broker.urls == (BrokerUrl("other", 61613, tls=False),)
    assert (settings.broker.max_frame, settings.broker.kind) == (8_388_608, "classic")


@pytest.mark.parametrize(
    ("value", "login"), [("12345", "12345"), ("true", "true"), ('"quoted"', "quoted"), ("a b", "a b")]
)
def test_a_key_that_holds_text_gets_text(value, login):
    environ = {"MQBRIDGE_BROKER__LOGIN": value, "MQBRIDGE_BROKER__PASSCODE": "x"}
    assert parse("", environ=environ).broker.login == login


@pytest.mark.parametrize("passcode", ["12345", "true", '"quoted"', "a = b # c", " spaced ", "[1]", "'", "ü"])
def test_a_passcode_is_taken_literally(passcode):
    environ = {"MQBRIDGE_BROKER__LOGIN": "bridge", "MQBRIDGE_BROKER__PASSCODE": passcode}
    assert parse("", environ=environ).broker.passcode.get_secret_value() == passcode


def test_a_value_that_would_begin_another_key_is_only_text():
    (fault,) = refused({"MQBRIDGE_SERVER__MAX_HELD": "5\nhttp2 = true"})
    assert (fault.key, fault.line) == ("MQBRIDGE_SERVER__MAX_HELD", None)
    assert fault.reason == 'must be a whole number (is "5\\nhttp2 = true")'


@pytest.mark.parametrize("value", ["", "[" * 5000, "1" * 5000, "\0"])
def test_a_value_that_is_no_toml_is_only_text(value):
    (fault,) = refused({"MQBRIDGE_SERVER__MAX_HELD": value})
    assert fault.reason.startswith("must be a whole number")
    assert len(fault.reason) < 150


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MQBRIDGE_SERVER__MAX_HELD", "0", "must be 1 or more (is 0)"),
        ("MQBRIDGE_SERVER__DRAIN", "10", 'must be a duration with its unit, such as "10s" (is 10)'),
        ("MQBRIDGE_SERVER__BIND", "127.0.0.1:1", 'must be an array, such as ["127.0.0.1:1"] (is "127.0.0.1:1")'),
        ("MQBRIDGE_SERVER__HTTP2", "True", 'must be true or false (is "True")'),
        ("MQBRIDGE_BROKER__URLS", '["tcp://a:1"]', 'must begin with stomp:// or stomp+ssl:// (is "tcp://a:1")'),
    ],
)
def test_a_bad_value_is_told_by_the_name_of_its_variable(name, value, reason):
    (fault,) = refused({name: value}, "[server]\nmax_held = 7\n")
    assert fault == Fault(name, None, reason, "environment")


def test_a_cross_check_names_the_variable_too():
    text = '[server]\ndrain = "35s"\n[[route]]\nname = "a"\npath = "/a"\nqueue = "a"\n'
    (fault,) = refused({"MQBRIDGE_SERVER__DRAIN": "1s"}, text)
    assert fault.key == "MQBRIDGE_SERVER__DRAIN"


def test_a_bad_value_in_the_file_does_no_harm_when_it_is_overridden():
    assert parse("[server]\nmax_held = 0\n", environ={"MQBRIDGE_SERVER__MAX_HELD": "5"}).server.max_held == 5


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("MQBRIDGE_SERVER__MAX_HELT", 'did you mean "MQBRIDGE_SERVER__MAX_HELD"?'),
        ("MQBRIDGE_SERVRE__MAX_HELD", 'did you mean "MQBRIDGE_SERVER__MAX_HELD"?'),
        ("MQBRIDGE_X__Y", "names no key of this version"),
        ("MQBRIDGE_SERVER__", "names no key of this version"),
        ("MQBRIDGE___", "names no key of this version"),
        ("MQBRIDGE_Server__Max_Held", "write MQBRIDGE_SERVER__MAX_HELD"),
        ("MQBRIDGE_ROUTE__TIMEOUT", "routes and callers cannot be set from the environment"),
        ("MQBRIDGE_CALLER__NAME", "routes and callers cannot be set from the environment"),
        ("MQBRIDGE_BROKER__PASSCOD", 'did you mean "MQBRIDGE_BROKER__PASSCODE"?'),
    ],
)
def test_a_variable_that_names_no_key_is_refused_without_its_value(name, sentence):
    (fault,) = refused({name: "s3cret"})
    assert (fault.key, fault.line, fault.source) == (name, None, "environment")
    assert sentence in fault.reason
    assert "s3cret" not in str(fault)


def test_variables_of_others_are_left_alone():
    others = {"HOME": "/", "MQBRIDGE_CONFIG": "x", "MQBRIDGE_SERVICE_HOST": "10.0.0.1", "XMQBRIDGE_A__B": "1"}
    assert parse("", environ=others) == parse("")


def test_one_underscore_too_few_is_noted():
    notes = parse("", environ={"MQBRIDGE_SERVER_MAX_HELD": "5"}).notes
    assert (
        "MQBRIDGE_SERVER_MAX_HELD is not read; the variable is MQBRIDGE_SERVER__MAX_HELD, with two underscores" in notes
    )


def test_a_section_that_is_no_table_is_refused_and_not_overridden():
    (fault,) = refused({"MQBRIDGE_SERVER__MAX_HELD": "5"}, "server = 5\n")
    assert fault.key == "server"
