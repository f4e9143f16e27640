"""Children that drain when their parent dies, and are told so once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bridge.callers import PATIENCE

CHILD = """
import asyncio, sys
from pathlib import Path
from mqbridge.lifetime import stop_signals

async def main():
    folder = Path(sys.argv[1])
    with stop_signals(same=float(sys.argv[2])) as stop:
        (folder / "ready").touch()
        await stop.wait()
        (folder / "asked").touch()
        while not (folder / "go").exists():  # what runs is finished
            await asyncio.sleep(0.01)
    (folder / "drained").touch()

asyncio.run(main())
"""
PARENT = """
import subprocess, sys, time
from mqbridge.lifetime import drained_with_parent
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], preexec_fn=drained_with_parent())
print(child.pid, flush=True)
sys.exit(child.wait() % 256)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")


def wait_for(file: Path) -> bool:
    end = time.monotonic() + PATIENCE
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return file.exists()


@pytest.fixture
def family(tmp_path):
    """Start a parent whose child is told when it dies; gives both."""
    started = []

    def begin(same):
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, CHILD, tmp_path, str(same)], stdout=subprocess.PIPE, text=True
        )
        started.append(parent)
        child = int(parent.stdout.readline())
        assert wait_for(tmp_path / "ready")
        return parent, child

    yield begin
    (tmp_path / "go").touch()
    for parent in started:
        parent.kill()
        parent.communicate()


@linux
def test_a_parent_that_is_killed_lets_its_child_finish(family, tmp_path):
    parent, _ = family(30.0)
    parent.kill()
    assert wait_for(tmp_path / "asked")
    (tmp_path / "go").touch()
    assert wait_for(tmp_path / "drained")


@linux
def test_what_a_dying_parent_says_once_for_each_thread_counts_once(family, tmp_path):
    parent, child = family(30.0)
    for _ in range(3):
        os.kill(child, signal.SIGTERM)
        assert wait_for(tmp_path / "asked")
    (tmp_path / "go").touch()
    assert parent.wait(PATIENCE) == 0
    assert (tmp_path / "drained").exists()


@linux
def test_a_second_signal_later_means_at_once(family, tmp_path):
    parent, child = family(0.0)
    os.kill(child, signal.SIGTERM)
    assert wait_for(tmp_path / "asked")
    os.kill(child, signal.SIGTERM)
    assert parent.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not (tmp_path / "drained").exists()
