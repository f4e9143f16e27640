"""The tutorial and the how-tos are run as they are written, with the brokers, bridges and workers that they start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, all_pages

TIME = 300  # seconds for a page
RUN_BY_SESSION = {"console", "python"}
PAGES = [
    page
    for page in all_pages()
    if any(block.language in RUN_BY_SESSION for block in page.runnable) and page.path.name != "CONTRIBUTING.md"
]


def namespaces() -> list[str]:
    """The command that gives a page a network and processes of its own, so that its addresses are free to take."""
    own = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--pid", "--fork", "--mount-proc"]
    tried = (
        subprocess.run([*own, "true"], capture_output=True, text=True, check=False) if shutil.which(own[0]) else None
    )
    if tried is not None and tried.returncode == 0:
        return own
    said = tried.stderr.strip() if tried else "it is not installed"
    why = (
        f"pages are run in namespaces of their own, which `unshare` cannot make here: {said}; root can, or whoever may"
    )
    if os.environ.get("CI"):
        raise RuntimeError(why)
    return pytest.skip(why)


@pytest.mark.broker
@pytest.mark.timeout(TIME + 30)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page, tmp_path, broker):
    """``broker`` is not used: it sees to it that there are jars and a Java, or says why there are none."""
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "COLUMNS": "160",
        **{name: os.environ[name] for name in ("JAVA_HOME", "XDG_CACHE_HOME") if name in os.environ},
    }
    done = subprocess.run(
        [*namespaces(), sys.executable, "-m", "tests.docs.session", str(folder), str(page.path)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIME,
        check=False,
    )
    transcript = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        pytest.fail(transcript, pytrace=False)
