"""Files of Debian's packages as a root file system, for images that nothing is pulled for."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

# libstdc++6 is in the official image too: some wheels (greenlet) want it
PACKAGES: Final = ("python3-venv", "ca-certificates", "bash", "coreutils", "findutils", "grep", "libstdc++6", "sed")
# What only maintainer scripts need (they are not run), by how the name begins.
_LEFT_OUT: Final = (
    "cdebconf", "debconf", "dpkg", "gawk", "install-info", "libdebian-installer", "libgdbm", "libmpfr", "libnewt",
    "libperl", "libsigsegv", "libslang", "libtextwrap", "mawk", "original-awk", "perl", "tar",
)  # fmt: skip
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP: Final = Path("/etc/pip.conf")


def make_root(folder: Path) -> Path:
    """Unpack Debian's Python, and what a Dockerfile's RUN needs, below ``folder``; return its root."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            why = f"{tool}: the stand-in for an image that cannot be pulled is made of Debian's packages"
            if os.environ.get("CI"):
                raise RuntimeError(why)
            pytest.skip(why)
    root, packages = folder / "root", folder / "packages"
    packages.mkdir()
    _run("apt-get", "download", "-qq", *_closure(), cwd=packages)
    for package in sorted(packages.iterdir()):
        _run("dpkg-deb", "-x", package, root)
    for unread in ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info"):
        shutil.rmtree(root / unread, ignore_errors=True)
    _finish(root)
    return root


def pack(root: Path) -> bytes:
    """Return the root as a tar, owned by root. ``ADD`` unpacks one with owners kept, which ``COPY`` does not."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(root, arcname=".")
    return stream.getvalue()


def _finish(root: Path) -> None:
    """Do what the maintainer scripts would have done, as far as anything here needs it."""
    for name in ("tmp", "etc", "root", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "bin/sh").symlink_to("bash")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/none\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    # So that pip in the image reaches what pip here reaches.
    certificates = root / _CERTIFICATES.relative_to("/")
    certificates.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_CERTIFICATES, certificates)
    if _PIP.exists():
        shutil.copyfile(_PIP, root / "etc/pip.conf")


def _closure() -> list[str]:
    no = [f"--no-{what}" for what in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    lines = _run("apt-cache", "depends", "--recurse", *no, *PACKAGES).splitlines()
    names = {line.strip() for line in lines if line[:1].isalnum()}
    return sorted(name for name in names if not name.startswith(_LEFT_OUT))


def _run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
    return done.stdout
