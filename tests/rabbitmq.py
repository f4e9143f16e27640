"""A real RabbitMQ for tests: Debian's package, run by hand as a child process on free ports of loopback.

Nothing of the system's own RabbitMQ is touched: the node has a name, a folder, a cookie and a port mapper (epmd) of
its own, and ends with the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from activemq import Credentials
from activemq.embedded.shipped import RABBITMQ_PLUGINS, rabbitmq_hash
from activemq.errors import ArtifactError, RemoteProtocolError
from activemq.protocol import State, Stomp
from tests.databases import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_WITHIN: Final = 120.0  # seconds; 7 on an idle machine, and four times that on one that is busy
_SCRIPTS: Final = Path("/usr/lib/rabbitmq/bin")
_USER: Final = "rabbitmq"  # who it runs as if we are root; the package makes it
Rights = tuple[str, str, str]  # configure, write and read

# All but `secret.`, which tests may not use.
RIGHTS: Final[Rights] = (r"^(?!secret\.).*$",) * 3


class RabbitMq:
    """A node of its own. ``stomp_port`` and ``amqp_port`` are what clients connect to, as ``login``/``passcode``.

    ``rights``: configure, write and read of that login; ``other_logins``: those of others, by name, who have the same
    passcode; ``vhost``: the virtual host of all; ``plugins``: what is switched on; ``settings``: further lines of
    rabbitmq.conf; ``files``: given what is known before its start, its files as they are to be, in which ``login`` has
    our passcode.
    """

    kind = "rabbitmq"

    def __init__(
        self,
        *,
        rights: Rights = RIGHTS,
        other_logins: Mapping[str, Rights] | None = None,
        vhost: str = "/",
        plugins: Sequence[str] = RABBITMQ_PLUGINS,
        settings: Sequence[str] = (),
        login: str = "mqbridge",
        files: Callable[[RabbitMq], Mapping[str, str]] | None = None,
    ) -> None:
        self.stomp_port, self.amqp_port, self._dist_port, self._epmd_port = (free_port() for _ in range(4))
        self.login = login
        self.passcode = secrets.token_hex(16)
        self.vhost = vhost
        self._rights = {self.login: rights, **(other_logins or {})}
        self._plugins = plugins
        self._settings = settings
        self._files = files or RabbitMq._usual_files
        self._node = f"mqbridge-test-{secrets.token_hex(4)}@localhost"
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def stomp_url(self) -> str:
        return f"stomp://127.0.0.1:{self.stomp_port}"

    @property
    def amqp_url(self) -> str:
        """For AMQP libraries; holds the passcode."""
        return f"amqp://{self.login}:{self.passcode}@127.0.0.1:{self.amqp_port}/"

    @property
    def pid(self) -> int:
        """Of the process that the node runs in: a child of the script that starts it."""
        return int((self.folder / "pid").read_text())

    @property
    def folder(self) -> Path:
        """Its own; made at its first start."""
        assert self._folder is not None
        return self._folder

    async def start(self) -> None:
        """Start it, also again after :meth:`stop` or :meth:`kill`; return once STOMP clients can log in.

        Raises ArtifactError if it is not installed.
        """
        if not (_SCRIPTS / "rabbitmq-server").exists():
            advice = "apt-get install rabbitmq-server, or scripts/test as root does it"
            raise ArtifactError("rabbitmq-server", f"cannot be fetched by the tests: {advice}")
        await asyncio.to_thread(self._start)

    async def stop(self) -> None:
        """End it in order: it writes down what it has."""
        await asyncio.to_thread(self._end, signal.SIGTERM)

    async def kill(self) -> None:
        """End it with SIGKILL, the starting script and the node in one: they are a session of their own."""
        await asyncio.to_thread(self._end, signal.SIGKILL)

    async def close(self) -> None:
        """End it, and all that is left of it."""
        await self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        if self._folder is None:  # not below a folder of pytest's: these are closed to the user that it runs as
            self._folder = Path(tempfile.mkdtemp(prefix="mqbridge-test-rabbitmq-"))
            self._make()
        if self._mapper is None:  # else the node starts one, as a daemon that nobody would end
            self._mapper = self._run("epmd")
        self._process = self._run(str(_SCRIPTS / "rabbitmq-server"))
        end = time.monotonic() + START_WITHIN
        while not self._answers():
            assert self._process.poll() is None, f"RabbitMQ ended:\n{self.output()}"
            assert time.monotonic() < end, f"RabbitMQ did not start in {START_WITHIN:g} s:\n{self.output()}"
            time.sleep(0.1)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait(START_WITHIN)
            self._process = None

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this node and return what it says. It takes a second or two."""
        done = subprocess.run(
            self._as_user([str(_SCRIPTS / "rabbitmqctl"), "--quiet", *arguments]),
            capture_output=True,
            check=False,
            env=self._environment(),
            cwd=self.folder,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.stdout.decode()

    def output(self) -> str:
        """The end of what it printed."""
        return (self.folder / "output").read_text()[-3_000:]

    def _run(self, program: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as log:
            return subprocess.Popen(
                self._as_user([program]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,
            )

    def _make(self) -> None:
        for name, text in self._files(self).items():
            self._write(name, text)
        for folder in ("mnesia", "home"):
            (self.folder / folder).mkdir()
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, _USER)

    def _usual_files(self) -> Mapping[str, str]:
        settings = [
            f"stomp.listeners.tcp.1 = 127.0.0.1:{self.stomp_port}",
            f"load_definitions = {self.folder / 'definitions.json'}",
            *self._settings,
        ]
        return {
            "rabbitmq.conf": "\n".join(settings) + "\n",
            "enabled_plugins": f"[{','.join(self._plugins)}].\n",
            "definitions.json": json.dumps(self._definitions()),
        }

    def _definitions(self) -> object:
        """The logins with their rights; no `guest`."""
        names = ("configure", "write", "read")
        return {
            "vhosts": [{"name": self.vhost}],
            "users": [
                {"name": login, "password_hash": rabbitmq_hash(self.passcode), "tags": ""} for login in self._rights
            ],
            "permissions": [
                {"user": login, "vhost": self.vhost, **dict(zip(names, rights, strict=True))}
                for login, rights in self._rights.items()
            ],
        }

    def _write(self, name: str, text: str) -> None:
        if name == "rabbitmq.conf":
            text += "log.console = true\nlog.console.level = warning\nlog.file = false\n"
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": os.devnull,
        }

    def _as_user(self, command: list[str]) -> list[str]:
        # With the end of a test run that is killed they get a SIGTERM: nobody else would end them.
        start = ["setpriv", "--pdeathsig", "TERM"]
        if os.geteuid() == 0:
            start += [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
        return [*start, *command]

    def _answers(self) -> bool:
        """Say whether it lets our login in: its ports are open before its users are there."""
        stomp = Stomp(Credentials(self.login, self.passcode, self.vhost), heartbeat=0)
        try:
            with socket.create_connection(("127.0.0.1", self.stomp_port), timeout=2.0) as sock:
                stomp.connect(0.0)
                sock.sendall(stomp.data_to_send(0.0))
                while stomp.state is State.CONNECTING:
                    data = sock.recv(65_536)
                    if not data:
                        return False
                    stomp.receive_data(data, 0.0)
        except (OSError, RemoteProtocolError):
            return False
        return stomp.state is State.CONNECTED
