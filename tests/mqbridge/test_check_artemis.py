"""`mqbridge check` at an ActiveMQ Artemis that nobody has set up for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from activemq.embedded.configuration import Configuration
from activemq.embedded.rendering import render
from mqbridge.commands.check import check

CONFIG = """
[broker]
urls = ["{url}"]
login = "{login}"
passcode_file = "passcode"
[store]
url = "sqlite:///jobs.db"
[[route]]
name = "hello"
path = "/hello"
queue = "hello"
"""


ANYCAST = "anycastPrefix=/queue/,queue://,temp-queue://"
MULTICAST = "multicastPrefix=/topic/,topic://,temp-topic://"


def with_prefixes(*prefixes: str) -> Callable[[str, Configuration], dict[str, str]]:
    """The embedded broker's configuration, its acceptor with these prefixes only."""

    def rendered(kind: str, configuration: Configuration) -> dict[str, str]:
        ours = f";{ANYCAST};{MULTICAST}"
        files = render(kind, configuration)
        assert any(ours in text for text in files.values())
        return {name: text.replace(ours, "".join(f";{prefix}" for prefix in prefixes)) for name, text in files.items()}

    return rendered


async def checked(own_broker, folder: Path, *prefixes: str) -> int:
    with patch("activemq.embedded.launcher.render", with_prefixes(*prefixes)):
        broker = await own_broker(kind="artemis")
    file = folder / "passcode"
    file.write_text(broker.passcode)
    file.chmod(0o600)
    config = folder / "bridge.toml"
    config.write_text(CONFIG.format(url=broker.stomp_url, login=broker.login))
    return await check(config, as_json=False)


async def test_check_says_that_no_reply_would_arrive_and_what_the_acceptor_lacks(own_broker, tmp_path: Path, capsys):
    assert await checked(own_broker, tmp_path) == 1  # as the acceptor is in a configuration that comes with Artemis
    said = capsys.readouterr().out
    assert "✗ replies: bridge.reply.check." in said
    assert "does not arrive" in said
    assert ANYCAST in said
    assert MULTICAST in said


async def test_check_of_a_broker_that_is_set_up_has_nothing_to_log(own_broker, tmp_path: Path, capsys, caplog):
    """Its reply destination acknowledges by itself; an ACK would be refused."""
    assert await checked(own_broker, tmp_path, ANYCAST, MULTICAST) == 0
    assert "✓ replies to jobs" in capsys.readouterr().out
    assert not [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_check_says_that_no_job_would_be_done_without_the_prefix_of_a_jms_queue(
    own_broker, tmp_path: Path, capsys
):
    """Where only our own names for queues and topics are known, held calls work."""
    assert await checked(own_broker, tmp_path, "anycastPrefix=/queue/", "multicastPrefix=/topic/") == 1
    said = capsys.readouterr().out
    assert "✓ replies: they arrive" in said
    assert "✗ replies to jobs: queue://bridge.replies.check: it does not arrive" in said
    assert ANYCAST in said
