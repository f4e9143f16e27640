"""Callers and tokens in the settings: each can be known by something, and by nothing that is another's."""

from __future__ import annotations

import pytest
import trustme

from bridge.settings import Caller, Fault, Jwt, SettingsError, parse

ROUTE = '[[route]]\nname = "words"\npath = "/words"\nqueue = "words"\n'
KEY, OTHER_KEY = "0" * 64, "1" * 64
CALLER = f'[[caller]]\nname = "shop"\nkey_sha256 = "{KEY}"\nroutes = ["words"]\n'
JWT = '[jwt]\nissuer = "i"\naudience = "a"\njwks_url = "https://i.example/keys"\n'


def refused(text: str, **options) -> dict[str, Fault]:
    with pytest.raises(SettingsError) as caught:
        parse(text, **options)
    return {fault.key: fault for fault in caught.value.faults}


def test_a_caller_has_its_defaults_and_shows_no_hash():
    (caller,) = parse(ROUTE + CALLER).callers
    assert (caller.max_held, caller.rate, caller.certificate_subject, caller.jwt) == (200, "50/s", "", False)
    assert KEY not in repr(caller)
    assert repr(Caller(name="a", key_sha256=OTHER_KEY)).count(OTHER_KEY) == 0


def test_tokens_have_their_defaults():
    jwt = parse(ROUTE + JWT).jwt
    assert jwt == Jwt(issuer="i", audience="a", jwks_url="https://i.example/keys")
    assert (jwt.algorithms, jwt.claim, jwt.routes) == (("RS256", "ES256", "EdDSA"), "sub", ())
    assert (jwt.max_held, jwt.rate) == (200, "50/s")


@pytest.mark.parametrize("asks", [CALLER, JWT])
def test_a_bridge_that_asks_who_calls_may_listen_anywhere(asks):
    assert parse(f'{ROUTE}{asks}[server]\nbind = ["0.0.0.0:80"]\n').server.bind == ("0.0.0.0:80",)


def test_a_caller_that_can_be_known_by_nothing_is_refused():
    fault = refused(ROUTE + '[[caller]]\nname = "shop"\n')["caller[0]"]
    assert fault.reason == "can be known by nothing: key_sha256, certificate_subject or jwt = true"


def test_two_callers_of_one_key_are_refused():
    second = CALLER.replace("shop", "other")
    assert refused(ROUTE + CALLER + second)["caller[1].key_sha256"].reason == "is that of caller[0] too"


def test_the_key_of_the_operator_is_no_callers():
    text = f'[admin]\nkey_sha256 = "{KEY}"\n'
    assert refused(ROUTE + CALLER + text)["caller[0].key_sha256"].reason == "is that of [admin] too"


def test_two_names_of_one_certificate_are_refused_in_any_order(tmp_path):
    subject = '[[caller]]\nname = "{}"\ncertificate_subject = "{}"\n'
    text = subject.format("one", "CN=shop,O=Example") + subject.format("two", "O=Example,CN=shop")
    assert "caller[1].certificate_subject" in refused(ROUTE + text)


@pytest.mark.parametrize("subject", ["shop", "CN=", "CN", "=x", "CN=a,,"])
def test_a_subject_that_is_no_name_is_refused(subject):
    fault = refused(f'{ROUTE}[[caller]]\nname = "shop"\ncertificate_subject = "{subject}"\n')
    assert "CN=shop,O=Example" in fault["caller[0].certificate_subject"].reason


def test_a_caller_by_token_needs_tokens():
    assert "needs a table [jwt]" in refused(ROUTE + '[[caller]]\nname = "shop"\njwt = true\n')["caller[0].jwt"].reason
    assert parse(ROUTE + '[[caller]]\nname = "shop"\njwt = true\nroutes = ["words"]\n' + JWT).notes == ()


@pytest.mark.parametrize("table", [CALLER, JWT])
def test_a_route_that_there_is_not_is_refused(table):
    text = table.replace('routes = ["words"]\n', "") + 'routes = ["none"]\n'
    (key,) = refused(ROUTE + text)
    assert key in ("caller[0].routes", "jwt.routes")


@pytest.mark.parametrize("algorithm", ["HS256", "none", "rs256"])
def test_only_asymmetric_algorithms_are_taken(algorithm):
    assert "jwt.algorithms[0]" in refused(f'{JWT}algorithms = ["{algorithm}"]\n')


@pytest.mark.parametrize(
    "url", ["http://i.example/keys", "ftp://i.example", "/keys", "https://", "https://a:b@i.example"]
)
def test_keys_come_over_https_or_from_this_machine(url):
    assert "jwt.jwks_url" in refused(JWT.replace("https://i.example/keys", url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "http://localhost/keys", "http://[::1]:9/keys"])
def test_keys_of_this_machine_may_come_in_clear_text(url):
    assert parse(ROUTE + JWT.replace("https://i.example/keys", url)).jwt.jwks_url == url


@pytest.mark.parametrize("length", [0, 121])
def test_an_issuer_is_bounded(length):
    assert "jwt.issuer" in refused(ROUTE + JWT.replace('"i"', f'"{"i" * length}"'))


# -- certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "no.pem").write_text("nothing")
    return folder


BY_CERTIFICATE = '[[caller]]\nname = "shop"\ncertificate_subject = "CN=shop"\nroutes = ["words"]\n'
TLS = '[server]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\nclient_ca = "ca.pem"\n'


def test_client_certificates_are_taken(files):
    settings = parse(ROUTE + BY_CERTIFICATE + TLS, base=files)
    assert settings.server.client_ca == files / "ca.pem"
    assert settings.notes == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (BY_CERTIFICATE, "caller[0].certificate_subject"),
        (BY_CERTIFICATE + '[server]\nclient_ca = "ca.pem"\n', "server.client_ca"),
        (BY_CERTIFICATE + TLS.replace("ca.pem", "none.pem"), "server.client_ca"),
        (BY_CERTIFICATE + TLS.replace("ca.pem", "no.pem"), "server.client_ca"),
        (BY_CERTIFICATE + TLS + 'implementation = "uvicorn"\n', "server.client_ca"),
        (CALLER + TLS, "server.client_ca"),
    ],
    ids=["no authority", "no TLS", "no file", "no certificate", "uvicorn", "nobody has one"],
)
def test_what_could_not_work_is_refused(files, text, key):
    assert set(refused(ROUTE + text, base=files)) == {key}


# -- what is taken and still not meant


def test_a_caller_without_routes_is_noted():
    assert parse(ROUTE + CALLER.replace('routes = ["words"]\n', "")).notes == (
        'caller[0], "shop", may call nothing: it has no routes',
    )


def test_anonymous_callers_beside_others_are_noted():
    notes = parse(ROUTE + CALLER + "[server]\nallow_anonymous = true\n").notes
    assert notes == ("server.allow_anonymous does nothing: there are callers, and whoever calls must be one",)


def test_a_bridge_without_routes_is_noted():
    assert parse("").notes == ("there is no [[route]]: every call is answered 404 no-route",)
