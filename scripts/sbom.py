# ruff: noqa: INP001 - a program, run by scripts/sbom
"""Write deploy/sbom.cdx.json: what the container image installs, and the jars of the embedded brokers (CycloneDX 1.6).

Of the lock and of the lists of SHA-256, and of nothing else: the same locks make the same file, on any machine.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from activemq.embedded.artifacts import DISTRIBUTIONS, load_lock  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ROOT / "deploy" / "requirements.lock"
TARGET = ROOT / "deploy" / "sbom.cdx.json"
_PIN = re.compile(r"^([a-zA-Z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))?(?: \\)?$", re.MULTILINE)
_OURS = uuid.UUID("7a1f6f0e-6a53-4b0e-9a0b-3a3a9c1f7b52")  # a namespace of our own


def packages() -> Iterator[Component]:
    """Yield the Python packages of the image; one that is for some machines only says for which."""
    for name, version, marker in _PIN.findall(LOCK.read_text()):
        url = PackageURL("pypi", name=name, version=version)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=url,
            bom_ref=str(url),
            properties=[Property(name="mqbridge:marker", value=marker)] if marker else (),
        )


def jars() -> Iterator[Component]:
    """Yield the jars of the embedded brokers, each once, with the SHA-256 that it is held to before every start."""
    found: dict[str, Component] = {}
    for broker in DISTRIBUTIONS.values():
        lock = load_lock(broker)
        for jar in broker.coordinates:
            url = PackageURL("maven", namespace=jar.group, name=jar.name, version=jar.version)
            found[str(url)] = Component(
                type=ComponentType.LIBRARY,
                group=jar.group,
                name=jar.name,
                version=jar.version,
                purl=url,
                bom_ref=str(url),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=lock[jar.file_name])],
            )
    yield from found.values()


def text() -> str:
    """Return the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
        supplier=OrganizationalEntity(name=project["name"]),
    )
    bom = Bom(components=[*packages(), *jars()])
    bom.metadata.component = ours
    bom.register_dependency(ours, bom.components)
    made: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del made["metadata"]["timestamp"]
    del made["serialNumber"]
    made["serialNumber"] = f"urn:uuid:{uuid.uuid5(_OURS, json.dumps(made, sort_keys=True))}"
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Return the exit code: 0, or 1 if what is there is not that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is another one")
    made = text()
    same = TARGET.exists() and TARGET.read_text() == made
    if parser.parse_args().check:
        print(f"{TARGET.relative_to(ROOT)}: {'as it should be' if same else 'differs; run scripts/sbom'}")
        return int(not same)
    TARGET.write_text(made)
    print(f"{TARGET.relative_to(ROOT)}: {'unchanged' if same else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
