"""A broker that takes nobody without a certificate: bridge and worker show theirs, and a call is answered."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from activemq.embedded.rendering import render
from activemq.errors import ArtifactError
from activemq.servers import tls_context
from activemq.testing.background import BackgroundLoop
from tests.brokers import KINDS as MAKERS
from tests.brokers import skip_or_fail
from tests.databases import free_port

from .conftest import Start

STORE_PASSWORD: Final = "only of this folder"  # Java's stores want one
HANDLER: Final = """
from consumers import Reply, Worker

worker = Worker()


@worker.handler("orders")
def answer(request):
    return Reply(body=request.body[::-1])
"""


class Secured:
    """A real Classic with a port that asks for certificates, and the files of those who may come."""

    def __init__(self, broker: Any, port: int, folder: Path) -> None:
        self.broker = broker
        self.url = f"stomp+ssl://localhost:{port}"
        self.port = port
        self.folder = folder

    def toml(self, *keys: str) -> str:
        lines = [f'tls_{key} = "{self.folder / f"{key}.pem"}"' for key in keys]
        return "\n".join(
            [
                '[server]\nbind = ["127.0.0.1:0"]',
                f'[broker]\nurls = ["{self.url}"]\nlogin = "{self.broker.login}"',
                f'passcode_file = "{self.folder / "passcode"}"',
                *lines,
                '[[route]]\nname = "orders"\npath = "/orders"\nqueue = "orders"\n',
            ]
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    port = free_port()
    _write_certificates(folder)
    background = BackgroundLoop()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("activemq.embedded.launcher.render", _with_tls(folder, port))
        broker = MAKERS["classic"](data_dir=folder / "data")
        try:
            background.run(broker.start())
            (folder / "passcode").write_text(broker.passcode)
            yield Secured(broker, port, folder)
        except ArtifactError as error:
            skip_or_fail(error)
        finally:
            background.run(broker.close())
            background.close()


def _write_certificates(folder: Path) -> None:
    authority, of_nobody = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, issuer in (("", authority), ("foreign-", of_nobody)):
        own = issuer.issue_cert("bridge.example", common_name="bridge")
        own.cert_chain_pems[0].write_to_path(folder / f"{name}certificate.pem")
        own.private_key_pem.write_to_path(folder / f"{name}key.pem")
    server = authority.issue_cert("localhost", "127.0.0.1")
    stored = pkcs12.serialize_key_and_certificates(
        b"broker",
        serialization.load_pem_private_key(server.private_key_pem.bytes(), None),  # type: ignore[arg-type] # it is RSA or EC
        x509.load_pem_x509_certificate(server.cert_chain_pems[0].bytes()),
        None,
        serialization.BestAvailableEncryption(STORE_PASSWORD.encode()),
    )
    (folder / "broker.p12").write_bytes(stored)
    trusted = pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(authority.cert_pem.bytes()), b"authority")],
        serialization.BestAvailableEncryption(STORE_PASSWORD.encode()),
    )
    (folder / "trusted.p12").write_bytes(trusted)


def _with_tls(folder: Path, port: int) -> Any:
    stores = (
        f'<sslContext><sslContext keyStore="{(folder / "broker.p12").as_uri()}" keyStoreType="PKCS12" '
        f'keyStorePassword="{STORE_PASSWORD}" trustStore="{(folder / "trusted.p12").as_uri()}" '
        f'trustStoreType="PKCS12" trustStorePassword="{STORE_PASSWORD}"/></sslContext>'
    )
    connector = (
        f'<transportConnector name="stomp+ssl" uri="stomp+ssl://127.0.0.1:{port}?transport.needClientAuth=true'
        '&amp;transport.tcpNoDelay=true"/>'
    )

    def files(kind: str, configuration: Any) -> dict[str, str]:
        text = render(kind, configuration)["activemq.xml"]
        assert text.count("</plugins>") == text.count("<transportConnectors>") == 1
        text = text.replace("</plugins>", f"</plugins>\n{stores}")
        return {"activemq.xml": text.replace("<transportConnectors>", f"<transportConnectors>\n{connector}")}

    return files


def test_a_call_is_answered_over_connections_on_which_both_sides_show_certificates(
    secured: Secured, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "handlers.py").write_text(HANDLER)
    (tmp_path / "bridge.toml").write_text(secured.toml("ca", "certificate", "key"))
    login = ["--login", secured.broker.login, "--passcode-file", secured.folder / "passcode"]
    files = [f"--tls-{key}={secured.folder / f'{key}.pem'}" for key in ("ca", "certificate", "key")]
    start("work", "handlers:worker", "--broker", secured.url, *login, *files).wait_for("worker ready")
    url = start("serve", "-c", "bridge.toml").wait_for("ready on ").split()[-1]
    response = httpx.post(f"{url}/orders", content=b"live", timeout=30)
    assert (response.status_code, response.content) == (200, b"evil")


@pytest.mark.parametrize("whose", ["nobody's", "another authority's"])
async def test_the_broker_turns_away_who_shows_none_of_its_authority(secured: Secured, whose: str) -> None:
    """So that the test above says something."""
    folder = secured.folder
    own = (None, None) if whose == "nobody's" else (folder / "foreign-certificate.pem", folder / "foreign-key.pem")
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await logged_in(secured.port, tls_context(folder / "ca.pem", *own))


async def logged_in(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    try:
        writer.write(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        await reader.readuntil(b"\0")
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-ca", "ca.pem"], "no --broker begins with stomp+ssl://"),
        (["--broker", "stomp+ssl://localhost:1", "--tls-certificate", "certificate.pem"], "go together"),
        (["--broker", "stomp+ssl://localhost:1", "--tls-ca", "passcode"], "passcode) cannot be used"),
        (["--broker", "stomp+ssl://localhost:1", "--tls-ca", "missing.pem"], "No such file"),
    ],
)
def test_files_that_cannot_be_used_are_refused(secured: Secured, start: Start, options: list[str], said: str) -> None:
    command = start("work", "handlers:worker", *options, cwd=secured.folder)
    assert command.exit_code() == 2
    assert said in command.output
