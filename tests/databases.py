"""Real databases for tests, each a child process of the test run on a free port of loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import pytest

START_WITHIN: Final = 60.0  # seconds, on a saturated machine
_POSTGRES_FOLDERS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *map(str, _POSTGRES_FOLDERS)]
)


class Server(ABC):
    """A database server. ``url_of(name)`` is what a bridge would have in store.url for one of its databases."""

    package: str
    programs: tuple[str, ...]
    user: str  # who it runs as if we are root, which it refuses to

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(8)
        self.folder = Path(tempfile.mkdtemp(prefix="mqbridge-test-db-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        missing = [name for name in self.programs if shutil.which(name, path=_PATH) is None]
        if missing:
            message = f"{missing[0]} is not installed: apt-get install {self.package}, or scripts/test as root does it"
            if os.environ.get("CI"):
                raise RuntimeError(message)
            pytest.skip(message)
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, also again after :meth:`kill`, and return once it can be connected to."""
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self._as_user(self._command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        end = time.monotonic() + START_WITHIN
        while not self._answers():
            assert self._process.poll() is None, f"it ended:\n{(self.folder / 'log').read_text()[-2_000:]}"
            assert time.monotonic() < end, f"it did not start in {START_WITHIN:g} s"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it with SIGKILL, all of its processes."""
        if self._process is not None:
            if self._process.poll() is None:
                self._signal_all(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Have it hang: its connections stay open, and nothing comes."""
        assert self._process is not None
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal it and its children: PostgreSQL's have sessions of their own."""
        assert self._process is not None
        parent = self._process.pid
        if (
            number != signal.SIGCONT
        ):  # else it makes new ones meanwhile: a connection's, or in the place of one that died
            os.kill(parent, signal.SIGSTOP)
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    os.kill(int(status.parent.name), number)
        os.kill(parent, number)

    @abstractmethod
    def url_of(self, database: str) -> str:
        """What a bridge would have in store.url for that database."""

    def create_statements(self, database: str) -> str:
        return f"CREATE DATABASE {database}"

    @abstractmethod
    def _make(self) -> None:
        """Make the files of a server that has never run."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line that runs it."""

    def _run(self, *command: str) -> None:
        done = subprocess.run(self._as_user(list(command)), capture_output=True, check=False, cwd=self.folder)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    def _as_user(self, command: list[str]) -> list[str]:
        program = shutil.which(command[0], path=_PATH) or command[0]
        if os.geteuid() != 0:
            return [program, *command[1:]]
        identity = f"--reuid={self.user}", f"--regid={_group(self.user)}", "--clear-groups"
        return ["setpriv", *identity, program, *command[1:]]

    def _answers(self) -> bool:
        with socket.socket() as sock:
            sock.settimeout(1.0)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


class PostgreSql(Server):
    package = "postgresql"
    programs = ("initdb", "postgres")
    user = "postgres"

    def url_of(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def _make(self) -> None:
        passwords = self.folder / "password"
        passwords.write_text(self.password)
        passwords.chmod(0o644)
        options = "-A", "scram-sha-256", f"--pwfile={passwords}", "-U", "postgres", "-E", "UTF8", "--no-sync"
        self._run("initdb", "-D", str(self.folder / "data"), *options)

    def _command(self) -> list[str]:
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=")
        settings = [part for option in options for part in ("-c", option)]
        return ["postgres", "-D", str(self.folder / "data"), *settings]


class MariaDb(Server):
    package = "mariadb-server"
    programs = ("mariadb-install-db", "mariadbd")
    user = "nobody"

    def url_of(self, database: str) -> str:
        return f"mysql+asyncmy://bridge:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_statements(self, database: str) -> str:
        return f"CREATE DATABASE {database} CHARACTER SET utf8mb4"

    def _make(self) -> None:
        init = self.folder / "init.sql"
        init.write_text(
            f"CREATE USER IF NOT EXISTS 'bridge'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO 'bridge'@'127.0.0.1';\nCREATE DATABASE IF NOT EXISTS postgres;\n"
        )
        init.chmod(0o644)
        options = "--auth-root-authentication-method=normal", "--skip-test-db"
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", *options)

    def _command(self) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            f"--init-file={self.folder / 'init.sql'}",
        ]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _group(user: str) -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
