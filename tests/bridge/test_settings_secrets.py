"""Secrets come from files or the environment, and never show."""

import traceback

import pytest
from pydantic import ValidationError

from bridge.settings import Broker, Fault, SettingsError, parse
from bridge.settings.environment import read
from bridge.settings.secrets import MAX_SECRET_BYTES

SECRET = "s3cret-passcode"
LOGIN = '[broker]\nlogin = "bridge"\npasscode_file = "passcode"\n'


def the_fault(text: str, **options) -> Fault:
    with pytest.raises(SettingsError) as caught:
        parse(text, **options)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_passcode_is_read_from_its_file_without_the_line_break(tmp_path, end):
    (tmp_path / "passcode").write_bytes(f" {SECRET} {end}".encode())
    assert parse(LOGIN, base=tmp_path).broker.passcode.get_secret_value() == f" {SECRET} "


def test_the_environment_goes_before_the_file(tmp_path):
    environ = {"MQBRIDGE_BROKER__PASSCODE": "other"}
    assert parse(LOGIN, base=tmp_path, environ=environ).broker.passcode.get_secret_value() == "other"


def test_the_environment_may_name_the_file(tmp_path):
    (tmp_path / "elsewhere").write_text(SECRET)
    environ = {"MQBRIDGE_BROKER__PASSCODE_FILE": str(tmp_path / "elsewhere")}
    assert parse(LOGIN, environ=environ).broker.passcode.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo", "must hold one line"),
        (b"one\n\n", "must hold one line"),
        (b"a\rb", "must hold one line"),
        (b"a\0b", "without NUL"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * (MAX_SECRET_BYTES + 1), "is it the right file?"),
        (b"x" * MAX_SECRET_BYTES + b"\r\nmore", "is it the right file?"),
        (b"x" * (MAX_SECRET_BYTES + 9), "is it the right file?"),
    ],
)
def test_a_file_that_holds_no_passcode_is_refused_without_its_content(tmp_path, content, sentence):
    (tmp_path / "passcode").write_bytes(content)
    fault = the_fault(LOGIN, base=tmp_path)
    assert (fault.key, fault.line) == ("broker.passcode_file", 3)
    assert sentence in fault.reason
    assert "one" not in fault.reason.replace("one line", "")


@pytest.mark.parametrize("size", [MAX_SECRET_BYTES - 1, MAX_SECRET_BYTES])
def test_a_passcode_may_be_as_long_as_the_limit(tmp_path, size):
    (tmp_path / "passcode").write_bytes(b"x" * size + b"\r\n")
    assert len(parse(LOGIN, base=tmp_path).broker.passcode.get_secret_value()) == size


def test_a_secret_that_cannot_be_read_is_refused_with_the_reason(tmp_path):
    fault = the_fault(LOGIN, base=tmp_path)
    assert (fault.key, fault.line) == ("broker.passcode_file", 3)
    assert fault.reason == f"{tmp_path / 'passcode'} cannot be read: No such file or directory"
    (tmp_path / "passcode").mkdir()
    assert "Is a directory" in the_fault(LOGIN, base=tmp_path).reason


def test_a_secret_without_permission_is_refused(tmp_path, monkeypatch):
    def forbidden(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")  # the tests may run as root, whom no mode stops

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    assert the_fault(LOGIN, base=tmp_path).reason.endswith("cannot be read: Permission denied")


def test_a_passcode_in_the_configuration_is_refused_without_showing_it():
    fault = the_fault(
        f'[broker]\nlogin = "bridge"\npasscode = "{SECRET}"\n', environ={"MQBRIDGE_BROKER__PASSCODE": "x"}
    )
    assert (fault.key, fault.line) == ("broker.passcode", 3)
    assert "broker.passcode_file" in fault.reason
    assert "MQBRIDGE_BROKER__PASSCODE" in fault.reason
    assert SECRET not in str(fault)


@pytest.mark.parametrize(
    "url", [f"mysql+asyncmy://me:{SECRET}@host/db", f"postgresql+asyncpg://host/db?user=me&password={SECRET}"]
)
def test_a_store_with_a_password_comes_from_the_environment_only(url):
    fault = the_fault(f'[store]\nurl = "{url}"\n')
    assert (fault.key, fault.line) == ("store.url", 2)
    assert "MQBRIDGE_STORE__URL" in fault.reason
    assert SECRET not in str(fault)
    settings = parse("", environ={"MQBRIDGE_STORE__URL": url})
    assert settings.store.url.get_secret_value() == url


@pytest.mark.parametrize("passcode", ["a\nb", "a\rb", "a\0b"])
def test_a_passcode_that_a_connect_frame_cannot_carry_is_refused(passcode):
    environ = {"MQBRIDGE_BROKER__LOGIN": "b", "MQBRIDGE_BROKER__PASSCODE": passcode}
    fault = the_fault("", environ=environ)
    assert (fault.key, fault.reason) == ("MQBRIDGE_BROKER__PASSCODE", "must be one line, without NUL")


def test_a_login_needs_a_passcode_and_a_passcode_a_login():
    fault = the_fault('[broker]\nlogin = "bridge"\n')
    assert (fault.key, fault.line) == ("broker.login", 2)
    assert "needs a passcode" in fault.reason
    fault = the_fault("", environ={"MQBRIDGE_BROKER__PASSCODE": SECRET})
    assert (fault.key, fault.reason) == ("broker.login", "is required when there is a passcode")


def test_nothing_that_is_printed_shows_a_secret(tmp_path):
    (tmp_path / "passcode").write_text(SECRET)
    environ = {"MQBRIDGE_STORE__URL": f"mysql+asyncmy://me:{SECRET}@host/db"}
    settings = parse(LOGIN, base=tmp_path, environ=environ)
    for part in (settings, settings.broker, settings.store, settings.broker.passcode, read(environ)):
        for text in (repr(part), str(part), f"{part}"):
            assert SECRET not in text
    assert SECRET not in repr(settings.model_dump())
    assert SECRET not in "".join(settings.notes)


@pytest.mark.parametrize(("section", "key"), [("store", "url"), ("admin", "key_sha256")])
def test_a_secret_of_the_wrong_kind_is_not_shown_either(section, key):
    assert the_fault(f"[{section}]\n{key} = 271828\n").reason == "must be a string"


def test_an_error_in_code_does_not_show_a_secret():
    with pytest.raises(ValidationError) as caught:
        Broker(passcode=f"{SECRET}\n")
    assert SECRET not in str(caught.value)


SHOWN_NOWHERE = [
    (f'[broker]\npasscode = "{SECRET}"\n', {}),
    (f'[broker]\nurls = ["stomp://me:{SECRET}@host:1"]\n', {}),
    (f'[broker]\nurls = ["stomp://me:pa/{SECRET}@host:1"]\n', {}),
    (f'[broker]\nurls = "stomp://me:{SECRET}@host:1"\n', {}),
    (f'[broker]\nurls = ["tcp://me:{SECRET}@host:1"]\n', {}),
    (f'[broker]\nurls = ["me:{SECRET}@host:1"]\n', {}),
    (f'[server]\npublic_url = "https://me:{SECRET}@[host"\n', {}),
    (f'[server]\nbind = ["me:{SECRET}@host:1"]\n', {}),
    (f'[store]\nurl = "oracle://me:{SECRET}@host"\n', {}),
    (f'[store]\nurl = ["{SECRET}"]\n', {}),
    (f'[admin]\nkey_sha256 = "{SECRET}"\n', {}),
    (f'[admin]\nkey = "{SECRET}"\n', {}),
    ("", {"MQBRIDGE_BROKER__PASSCODE": SECRET}),
    ("", {"MQBRIDGE_BROKER__PASSCODE": f"{SECRET}\n", "MQBRIDGE_BROKER__LOGIN": "b"}),
    ("", {"MQBRIDGE_BROKER__PASSCOD": SECRET}),
    ("", {"MQBRIDGE_STORE__URL": f"oracle://me:{SECRET}@host"}),
    ("", {"MQBRIDGE_BROKER__URLS": f"stomp://me:{SECRET}@host:1"}),
    ("[server]\nmax_held = 0\n", {"MQBRIDGE_BROKER__PASSCODE": SECRET, "MQBRIDGE_BROKER__LOGIN": "b"}),
]


@pytest.mark.parametrize(("text", "environ"), SHOWN_NOWHERE)
def test_no_error_shows_a_secret(text, environ):
    with pytest.raises(SettingsError) as caught:
        parse(text, environ=environ)
    error = caught.value
    assert error.__context__ is None  # pydantic's error would hold the values
    trace = "".join(traceback.format_exception(error))
    for shown in (str(error), repr(error), repr(error.faults), trace.replace(text, "")):
        assert SECRET not in shown
