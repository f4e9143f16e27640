"""What this version does not do: refused where silence would be a lie, noted where it does nothing."""

import pytest

from bridge.settings import Caller, Fault, Jwt, SettingsError, parse

ROUTE = '[[route]]\nname = "words"\npath = "/words"\nqueue = "words"\n'
CALLER = f'[[caller]]\nname = "shop"\nkey_sha256 = "{"0" * 64}"\nroutes = ["words"]\n'
JWT = '[jwt]\nissuer = "i"\naudience = "a"\njwks_url = "https://i.example/keys"\n'


def refused(text: str, **options) -> tuple[Fault, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text, **options)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (ROUTE + CALLER, "caller[0]", 5),
        (JWT, "jwt", 1),
        ('[server]\nclient_ca = "ca.pem"\n', "server.client_ca", 2),
    ],
)
def test_what_would_be_a_lie_is_refused(text, key, line):
    (fault,) = refused(text)
    assert (fault.key, fault.line) == (key, line)
    assert fault.reason.startswith("not built in this version: ")


@pytest.mark.parametrize(("asks", "key"), [(ROUTE + CALLER, "caller[0]"), (JWT, "jwt")])
def test_an_open_bind_is_no_fault_of_a_bridge_that_asks_who_calls(asks, key):
    (fault,) = refused(f'{asks}[server]\nbind = ["0.0.0.0:80"]\n')
    assert fault.key == key


def test_a_jwt_table_from_the_environment_is_refused_too():
    keys = [fault.key for fault in refused("", environ={"MQBRIDGE_JWT__ISSUER": "x"})]
    assert "jwt" in keys


def test_what_is_wrong_in_a_part_that_is_not_built_is_told_as_well():
    keys = {fault.key for fault in refused("[jwt]\nissuer = 5\n[[caller]]\nroutes = ['none']\n")}
    assert keys == {
        "jwt",
        "jwt.issuer",
        "jwt.audience",
        "jwt.jwks_url",
        "caller[0]",
        "caller[0].name",
        "caller[0].routes",
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[cors]\norigins = ["https://a.example"]\n', "cors.origins"),
    ],
)
def test_a_table_that_does_nothing_yet_is_noted(text, key):
    assert parse(ROUTE + text).notes == (f"{key} does nothing in this version",)


def test_defaults_and_what_this_version_fulfils_are_not_noted():
    text = 'async = "never"\nidempotency = "off"\nstarted = "never"\nworker_wait = "0s"\nmax_attempts = 3\n'
    assert parse(f'{ROUTE}{text}[store]\nretention = "24h"\n').notes == ()


def test_other_brokers_and_a_bridge_without_routes_are_noted():
    assert parse("").notes == ("there is no [[route]]: every call is answered 404 no-route",)
    assert "no profile" in parse(f'[broker]\nkind = "rabbitmq"\n{ROUTE}').notes[0]
    assert not parse(f'[broker]\nkind = "artemis"\n{ROUTE}').notes


def test_callers_and_tokens_are_modelled_already():
    caller = Caller(name="shop", key_sha256="0" * 64, routes=("words",))
    assert (caller.max_held, caller.rate, caller.certificate_subject, caller.jwt) == (200, "50/s", "", False)
    assert "000" not in repr(caller)
    jwt = Jwt(issuer="i", audience="a", jwks_url="https://i.example/keys")
    assert (jwt.algorithms, jwt.claim) == (("RS256", "ES256", "EdDSA"), "sub")


@pytest.mark.parametrize("algorithm", ["HS256", "none", "rs256"])
def test_only_asymmetric_algorithms_are_taken(algorithm):
    keys = [fault.key for fault in refused(f'{JWT}algorithms = ["{algorithm}"]\n')]
    assert "jwt.algorithms[0]" in keys
