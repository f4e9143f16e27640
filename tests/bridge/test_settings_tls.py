"""Certificate files are loaded at start, so that a pair that does not match is found then."""

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from bridge.settings import Fault, SettingsError, parse

PAIR = '[server]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n'


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def folder(tmp_path, authority):
    issued = authority.issue_cert("localhost")
    (tmp_path / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    return tmp_path


def the_fault(text: str, folder) -> Fault:
    with pytest.raises(SettingsError) as caught:
        parse(text, base=folder)
    (fault,) = caught.value.faults
    return fault


def test_a_pair_that_matches_is_taken(folder):
    server = parse(PAIR, base=folder).server
    assert (server.tls_certificate, server.tls_key) == (folder / "cert.pem", folder / "key.pem")


def test_an_empty_path_is_none():
    server = parse('[server]\ntls_certificate = ""\ntls_key = ""\nclient_ca = ""\n').server
    assert (server.tls_certificate, server.tls_key, server.client_ca) == (None, None, None)


def test_a_key_of_another_certificate_is_refused(folder, authority):
    (folder / "key.pem").write_bytes(authority.issue_cert("other.example").private_key_pem.bytes())
    fault = the_fault(PAIR, folder)
    assert (fault.key, fault.line) == ("server.tls_key", 3)
    assert fault.reason == f"{folder / 'key.pem'} is not the key of {folder / 'cert.pem'}"


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize(
    ("file", "key", "what"),
    [("cert.pem", "server.tls_certificate", "certificate"), ("key.pem", "server.tls_key", "private key")],
)
def test_a_file_that_is_no_pem_of_its_kind_is_refused(folder, file, key, what, content):
    (folder / file).write_text(content)
    fault = the_fault(PAIR, folder)
    assert fault.key == key
    assert fault.reason == f"{folder / file} holds no {what} in PEM form"


@pytest.mark.parametrize(("file", "key"), [("cert.pem", "server.tls_certificate"), ("key.pem", "server.tls_key")])
def test_a_file_that_cannot_be_read_is_refused(folder, file, key):
    (folder / file).unlink()
    fault = the_fault(PAIR, folder)
    assert fault.key == key
    assert fault.reason == f"{folder / file} cannot be read: No such file or directory"


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(folder):
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    (folder / "key.pem").write_bytes(encrypted)
    fault = the_fault(PAIR, folder)
    assert fault.key == "server.tls_key"
    assert "is encrypted; give a key without a password" in fault.reason


def test_a_pair_that_openssl_finds_too_weak_is_refused(folder, authority):
    key = rsa.generate_private_key(65_537, 1_024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    issued = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    fault = the_fault(PAIR, folder)
    assert fault.key == "server.tls_certificate"
    assert "is refused by OpenSSL: ee key too small" in fault.reason


@pytest.mark.parametrize(("key", "other"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")])
def test_one_of_the_pair_alone_is_refused(folder, key, other):
    fault = the_fault(f'[server]\n{key} = "cert.pem"\n', folder)
    assert (fault.key, fault.line) == (f"server.{key}", 2)
    assert fault.reason == f"needs server.{other} beside it"


def test_the_brokers_authority_is_loaded(folder):
    text = '[broker]\nurls = ["stomp://a:1", "stomp+ssl://b:2"]\ntls_ca = "ca.pem"\n'
    assert parse(text, base=folder).broker.tls_ca == folder / "ca.pem"
    (folder / "ca.pem").write_text("garbage")
    assert the_fault(text, folder).reason == f"{folder / 'ca.pem'} holds no certificate in PEM form"
    (folder / "ca.pem").unlink()
    assert the_fault(text, folder).key == "broker.tls_ca"


def test_an_authority_that_no_url_uses_is_refused(folder):
    fault = the_fault('[broker]\ntls_ca = "ca.pem"\n', folder)
    assert (fault.key, fault.line) == ("broker.tls_ca", 2)
    assert "stomp+ssl://" in fault.reason


BROKER_PAIR = '[broker]\nurls = ["stomp+ssl://b:2"]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n'


def test_our_certificate_for_the_broker_is_loaded(folder):
    broker = parse(BROKER_PAIR, base=folder).broker
    assert (broker.tls_certificate, broker.tls_key) == (folder / "cert.pem", folder / "key.pem")
    (folder / "key.pem").write_text("garbage")
    assert the_fault(BROKER_PAIR, folder).key == "broker.tls_key"


@pytest.mark.parametrize(("key", "other"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")])
def test_one_of_the_pair_for_the_broker_alone_is_refused(folder, key, other):
    fault = the_fault(f'[broker]\nurls = ["stomp+ssl://b:2"]\n{key} = "cert.pem"\n', folder)
    assert (fault.key, fault.reason) == (f"broker.{key}", f"needs broker.{other} beside it")


def test_a_certificate_for_a_broker_without_tls_is_refused(folder):
    fault = the_fault(BROKER_PAIR.replace("stomp+ssl", "stomp"), folder)
    assert fault.key == "broker.tls_certificate"
    assert "has no use" in fault.reason
