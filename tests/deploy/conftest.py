"""What the files under deploy/ are held against."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tools import KUBECONFORM, KUSTOMIZE, go_tool

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))  # the first of them may build its tool


@pytest.fixture(scope="session")
def kustomized() -> Callable[[str], str]:
    """What ``kustomize build`` makes of a folder below deploy/kubernetes."""
    program = go_tool(KUSTOMIZE, "kustomize")

    def build(folder: str | Path) -> str:
        done = subprocess.run(
            [program, "build", KUBERNETES / folder], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return build


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubernetes' own schemas, strict, as kubeconform wants them: with references that are files' addresses."""
    import kubernetes_validate

    source = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.33.0-local-strict"
    folder = tmp_path_factory.mktemp("schemas")
    for file in source.iterdir():
        text = file.read_text().replace('"/api/_definitions.json#', f'"{(folder / "_definitions.json").as_uri()}#')
        (folder / file.name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def conform(schemas: Path) -> Callable[[str], str]:
    """Give what kubeconform says of a stream of documents: nothing, if all are valid."""
    program = go_tool(KUBECONFORM, "kubeconform")
    places = (schemas / "{{.ResourceKind}}{{.KindSuffix}}.json", Path(__file__).parent / "{{.ResourceKind}}.json")

    def check(documents: str) -> str:
        options = [part for place in places for part in ("-schema-location", place)]
        done = subprocess.run(
            [program, "-strict", *options], input=documents, capture_output=True, text=True, check=False, timeout=60
        )
        assert bool(done.returncode) == bool(done.stdout), done.stderr
        return done.stdout

    return check
