"""Prometheus itself, and promtool, for tests: Debian's package."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

import httpx
import pytest

from tests.databases import free_port

START_WITHIN: Final = 60.0  # seconds, on a saturated machine


def program(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``; in CI a failure if it is not there, else a skip."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed: apt-get install prometheus, or scripts/test as root does it"
        if os.environ.get("CI"):
            raise RuntimeError(message)
        pytest.skip(message)
    return found


def promtool(*arguments: str | Path, given: str = "") -> str:
    """Run it; return what it says. A failure if it is not content."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """Scrapes one target several times a second."""

    def __init__(self, folder: Path, target: str, key: str) -> None:
        self._folder = folder
        self._target = target
        self._key = key
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}/api/v1", timeout=30.0)

    async def __aenter__(self) -> Self:
        (self._folder / "key").write_text(self._key)
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(
            "global: {scrape_interval: 250ms, scrape_timeout: 250ms}\n"
            "scrape_configs:\n"
            "- job_name: mqbridge\n"
            "  metrics_path: /-/metrics\n"
            "  authorization: {credentials_file: key}\n"
            f"  static_configs: [{{targets: ['{self._target}']}}]\n"
        )
        log = self._folder / "prometheus.log"
        with log.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--enable-feature=exemplar-storage",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + START_WITHIN
        while not await self._answers():
            assert self._process.returncode is None, log.read_text()[-2_000:]
            assert time.monotonic() < end, f"it did not start in {START_WITHIN:g} s"
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def _answers(self) -> bool:
        try:
            return (await self._http.get("/status/buildinfo")).is_success
        except httpx.TransportError:
            return False

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each result, now."""
        answer = (await self._http.post("/query", data={"query": expression})).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(result["metric"], float(result["value"][1])) for result in data["result"]]

    async def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """The exemplars of the last minutes."""
        now = time.time()
        answer = await self._http.get(
            "/query_exemplars", params={"query": expression, "start": now - 300, "end": now + 60}
        )
        return [exemplar for series in answer.json()["data"] for exemplar in series["exemplars"]]
