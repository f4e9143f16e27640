"""Real load balancers for tests, with the configurations that we ship; each a child process on a port of loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import pytest

from tests.databases import free_port

START_WITHIN: Final = 30.0  # seconds, on a saturated machine
DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy"
_PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


class Balancer:
    """Runs the shipped configuration before two bridges, at the addresses where these are."""

    program: str
    package: str
    file: str

    def __init__(self, folder: Path, bridges: tuple[str, str]) -> None:
        """``bridges``: HOST:PORT of each."""
        self.port = free_port()
        self._folder = folder
        self._bridges = bridges
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which(self.program, path=_PATH)
        if program is None:
            message = (
                f"{self.program} is not installed: apt-get install {self.package}, or scripts/test as root does it"
            )
            if os.environ.get("CI"):
                raise RuntimeError(message)
            pytest.skip(message)
        log = self._folder / f"{self.program}.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [program, *self.arguments(self.configuration())],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_WITHIN
        while not _answers(self.port):
            assert self._process.poll() is None, log.read_text()[-2_000:]
            assert time.monotonic() < end, f"{self.program} did not start in {START_WITHIN:g} s"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def configuration(self) -> str:
        """The shipped file, with our addresses in it; each replacement has to fit, or the test tests something else."""
        text = (DEPLOY / self.file).read_text()
        for number, address in enumerate(self._bridges, 1):
            assert f"bridge-{number}.internal:8080" in text
            text = text.replace(f"bridge-{number}.internal:8080", address)
        return self.on_our_port(text)

    def on_our_port(self, text: str) -> str:
        raise NotImplementedError

    def arguments(self, configuration: str) -> list[str]:
        raise NotImplementedError


class Nginx(Balancer):
    program = "nginx"
    package = "nginx-light"
    file = "nginx.conf"

    def on_our_port(self, text: str) -> str:
        assert "listen 80;" in text
        return text.replace("listen 80;", f"listen 127.0.0.1:{self.port};")

    def arguments(self, configuration: str) -> list[str]:
        site, main = self._folder / "bridge.conf", self._folder / "nginx-main.conf"
        site.write_text(configuration)
        kinds = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
        places = "".join(f"{kind}_temp_path {self._folder}/{kind};\n" for kind in kinds)
        user = "user root;\n" if os.geteuid() == 0 else ""
        main.write_text(
            f"{user}daemon off;\nworker_processes 1;\npid {self._folder}/nginx.pid;\nerror_log stderr notice;\n"
            f"events {{ worker_connections 2000; }}\nhttp {{\naccess_log off;\n{places}include {site};\n}}\n"
        )
        return ["-p", str(self._folder), "-e", "stderr", "-c", str(main)]


class HaProxy(Balancer):
    program = "haproxy"
    package = "haproxy"
    file = "haproxy.cfg"

    def on_our_port(self, text: str) -> str:
        assert "bind :80\n" in text
        return text.replace("bind :80\n", f"bind 127.0.0.1:{self.port}\n").replace("maxconn 20000", "maxconn 2000")

    def arguments(self, configuration: str) -> list[str]:
        file = self._folder / "haproxy.cfg"
        file.write_text(configuration)
        return ["-db", "-f", str(file)]


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0
