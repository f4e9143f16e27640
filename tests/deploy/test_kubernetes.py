"""deploy/kubernetes: valid by Kubernetes' own schemas, and consistent with itself and with what it deploys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bridge.settings import parse
from tests.deploy.conftest import KUBERNETES, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

OVERLAYS = ("base", "keda-classic", "keda-artemis", "keda-rabbitmq")
SECRETS = {
    "MQBRIDGE_BROKER__PASSCODE": "x",
    "MQBRIDGE_STORE__URL": "mysql+asyncmy://bridge:x@mysql/bridge",
    "MQBRIDGE_ADMIN__KEY_SHA256": "0" * 64,
}


@pytest.fixture(scope="module")
def built(kustomized: Callable[[str], str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The base's objects, by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(kustomized("base"))}


def container_of(built: dict[tuple[str, str], dict[str, Any]], name: str) -> dict[str, Any]:
    (container,) = built["Deployment", name]["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_kustomize_builds_is_valid(kustomized: Callable[[str], str], conform: Callable[[str], str], overlay: str):
    assert conform(kustomized(overlay)) == ""


@pytest.mark.parametrize(
    ("overlay", "before", "after"),
    [
        ("base", "terminationGracePeriodSeconds", "terminationGracePeriod"),
        ("base", "minAvailable|maxUnavailable: 1\n", "maxUnavailable: [1]\n"),
        ("keda-classic", "destinationName", "queueName"),
        ("keda-artemis", 'queueLength: "8"', "queueLength: 8"),
        ("keda-rabbitmq", "scaleTargetRef", "scaleTarget"),
    ],
)
def test_a_mistake_is_seen(kustomized, conform, overlay: str, before: str, after: str):
    documents, number = re.subn(before, after, kustomized(overlay))

    assert number
    assert conform(documents) != ""


def test_every_folder_is_tested():
    assert {folder.name for folder in KUBERNETES.iterdir()} == set(OVERLAYS)


def test_the_bridges_settings_are_ones_that_it_takes():
    settings = parse((KUBERNETES / "base/bridge.toml").read_text(), environ=SECRETS)

    assert settings.server.drain >= max(route.timeout for route in settings.routes)


def test_every_variable_of_the_bridge_is_one_of_its_settings_and_comes_from_the_secret(built):
    env = container_of(built, "mqbridge-bridge")["env"]

    assert {one["name"] for one in env} == set(SECRETS)
    assert {one["valueFrom"]["secretKeyRef"]["name"] for one in env} == {"mqbridge"}


def test_a_bridge_is_not_killed_before_its_drain_is_over(built):
    pod = built["Deployment", "mqbridge-bridge"]["spec"]["template"]["spec"]
    drain = parse((KUBERNETES / "base/bridge.toml").read_text(), environ=SECRETS).server.drain
    pause = container_of(built, "mqbridge-bridge")["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] >= pause + drain


@pytest.mark.parametrize("name", ["mqbridge-bridge", "mqbridge-worker"])
def test_a_rolling_update_never_has_fewer_than_before(built, name: str):
    assert built["Deployment", name]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "readinessProbe" in container_of(built, name)


@pytest.mark.parametrize("name", ["mqbridge-bridge", "mqbridge-worker"])
def test_nothing_runs_as_root_or_can_write_its_image(built, name: str):
    pod = built["Deployment", name]["spec"]["template"]["spec"]
    context = container_of(built, name)["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_every_selector_finds_its_pods(built):
    pods = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for (kind, name), one in built.items()
        if kind == "Deployment"
    }
    for (kind, name), one in built.items():
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector)
        found = [pod for pod, labels in pods.items() if wanted.items() <= labels.items()]
        assert found == [name if name in pods else "mqbridge-bridge"], (kind, name)


@pytest.mark.parametrize("name", ["mqbridge-bridge", "mqbridge-worker"])
def test_the_probes_ask_what_the_image_answers(built, name: str):
    dockerfile = (ROOT / "Dockerfile").read_text()
    container = container_of(built, name)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "exec" in container[probe]:
            assert container[probe]["exec"]["command"][3] == "/opt/mqbridge/health.py"
            assert container[probe]["exec"]["command"][-1] == "/tmp/mqbridge-health"
            assert "COPY deploy/health.py /opt/mqbridge/health.py" in dockerfile
        else:
            assert container[probe]["httpGet"]["path"] in ("/-/live", "/-/ready")


@pytest.mark.parametrize("overlay", OVERLAYS[1:])
def test_what_is_scaled_is_the_worker_never_to_zero_and_by_nobody_else(kustomized: Callable[[str], str], overlay: str):
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(kustomized(overlay))}
    scaler = objects["ScaledObject", "mqbridge-worker"]["spec"]
    target = objects["Deployment", scaler["scaleTargetRef"]["name"]]["spec"]

    assert target["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"
    assert "replicas" not in target
    assert scaler["minReplicaCount"] >= 1
    assert ("TriggerAuthentication", scaler["triggers"][0]["authenticationRef"]["name"]) in objects


def test_the_how_to_names_what_is_there(built):
    text = (ROOT / "docs/kubernetes.md").read_text()
    keys = {
        one["valueFrom"]["secretKeyRef"]["key"]
        for name in ("mqbridge-bridge", "mqbridge-worker")
        for one in container_of(built, name)["env"]
        if "valueFrom" in one
    }

    assert [key for key in keys if f"--from-literal={key}=" not in text] == []
    assert [overlay for overlay in OVERLAYS if f"deploy/kubernetes/{overlay}" not in text] == []
