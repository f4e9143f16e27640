"""docs/client.md: each block of it runs, against the demo's bridge and workers."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import httpx

import bridge.client
from tests.mqbridge.inprocess import demo

TEXT = (Path(__file__).parents[3] / "docs" / "client.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run(block, port, key_file):
    """Run a block as it is, at another port; return what it prints."""
    code = block.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("/etc/shop/bridge-key", str(key_file))
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "docs/client.md", "exec"), {"__name__": "__main__"})
    return out.getvalue().splitlines()


async def test_each_block_does_what_the_text_says(broker, tmp_path):
    key = tmp_path / "key"
    key.write_text("mqb_key\n")
    async with demo(broker, tmp_path) as served:
        printed = [await asyncio.to_thread(run, block, served.bridge.port, key) for block in BLOCKS]
    call, together, keyed, followed, job, stream, tls = printed
    assert "'words': 4" in call[0]
    assert together == ["[200, 200, 200]"]
    assert keyed == ["200"]
    assert followed == ["200 done"]
    assert [line.split()[1] for line in job[:-2]] == ["started", *["progress"] * (len(job) - 4), "done"]
    assert job[-2:] == ["done 200", "too late to cancel"]
    assert stream[-1].startswith("done ")
    assert tls[0].startswith("BearerKey(")
    assert "mqb_key" not in tls[0]


def test_the_client_loads_nothing_of_the_bridge():
    code = (
        "import sys, bridge.client; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'starlette', 'pydantic', 'sqlalchemy', "
        "'hypercorn', 'uvicorn', 'activemq', 'consumers', 'mqbridge'}), "
        "*[name for name in sys.modules if name.startswith('bridge.') and not name.startswith('bridge.client')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_the_page_names_what_is_exported():
    of_others = {"AsyncJob", "Job", "Event", "EventReader", "aiter_events"}
    assert [name for name in bridge.client.__all__ if name not in of_others and name not in TEXT] == []
    assert issubclass(bridge.client.BridgeClient, httpx.Client)
    assert issubclass(bridge.client.AsyncBridgeClient, httpx.AsyncClient)
