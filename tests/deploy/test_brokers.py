"""The brokers' configurations in deploy/ are those that the templates of the embedded broker make, and they run."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from activemq.embedded.configuration import Role
from activemq.embedded.ready import RefusedError, answers
from activemq.embedded.shipped import rabbitmq_rights, shipped

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FOLDERS = {"classic": DEPLOY, "artemis": DEPLOY / "artemis", "rabbitmq": DEPLOY / "rabbitmq"}


@pytest.mark.parametrize("kind", FOLDERS)
def test_what_lies_there_is_what_the_templates_make(kind: str) -> None:
    """Else scripts/render-brokers was forgotten."""
    for name, text in shipped(kind, ["demo.>"]).items():
        assert (FOLDERS[kind] / name).read_text() == text, name


def test_no_passcode_lies_there() -> None:
    assert not (DEPLOY / "artemis/users.properties").exists()
    users = json.loads((DEPLOY / "rabbitmq/definitions.json").read_text())["users"]
    assert {user["password_hash"] for user in users} == {""}
    assert set(re.findall(r'password="([^"]*)"', (DEPLOY / "activemq.xml").read_text())) == {
        "${BRIDGE_PASSCODE}",
        "${WORKER_PASSCODE}",
        "${ADMIN_PASSCODE:#{T(java.util.UUID).randomUUID().toString()}}",
    }


@pytest.mark.parametrize(("login", "role"), [("bridge", Role.BRIDGE), ("worker", Role.WORKER)])
def test_the_documented_rights_on_rabbitmq_are_those_of_the_definitions(login: str, role: Role) -> None:
    text = (ROOT / "docs/brokers.md").read_text()
    (line,) = re.findall(rf"^\$ rabbitmqctl set_permissions {login} (.*)$", text, re.MULTILINE)
    assert tuple(re.findall(r"'(.*?)'", line)) == rabbitmq_rights(role, ["orders"])


def test_compose_hands_the_passcodes_on_by_the_environment() -> None:
    environment = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["broker"]["environment"]
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "activemq.xml").read_text()))
    assert {name for name in asked if name.endswith("PASSCODE")} <= set(environment)


async def test_classics_runs_and_without_a_passcode_nobody_is_the_administrator(
    own_broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it lies there, with what the environment says."""
    environment = {"BRIDGE_PASSCODE": secrets.token_hex(8), "WORKER_PASSCODE": secrets.token_hex(8)}
    for name, value in {**environment, "BROKER_ADDRESS": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)

    def files(_kind: str, configuration: Any) -> dict[str, str]:
        monkeypatch.setenv("STOMP_PORT", str(configuration.stomp_port))
        monkeypatch.setenv("OPENWIRE_PORT", str(configuration.openwire_port))
        return {"activemq.xml": (DEPLOY / "activemq.xml").read_text()}

    monkeypatch.setattr("activemq.embedded.launcher.render", files)
    broker = await own_broker(kind="classic", login="bridge", passcode=environment["BRIDGE_PASSCODE"])

    assert await _comes_in(broker, "worker", environment["WORKER_PASSCODE"])
    for guess in ("", "admin", "${ADMIN_PASSCODE}", "#{T(java.util.UUID).randomUUID().toString()}"):
        assert not await _comes_in(broker, "admin", guess)


async def _comes_in(broker: Any, login: str, passcode: str) -> bool:
    try:
        return await answers(broker.stomp_port, login, passcode)
    except RefusedError:
        return False
