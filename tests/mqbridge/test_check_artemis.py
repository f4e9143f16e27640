"""`mqbridge check` at an ActiveMQ Artemis that nobody has set up for it."""

from __future__ import annotations

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


def without_prefixes(kind: str, configuration: Configuration) -> dict[str, str]:
    """As the acceptor is in a configuration that comes with Artemis."""
    prefixes = f";{ANYCAST};{MULTICAST}"
    files = render(kind, configuration)
    assert any(prefixes in text for text in files.values())
    return {name: text.replace(prefixes, "") for name, text in files.items()}


async def test_check_says_that_no_reply_would_arrive_and_what_the_acceptor_lacks(own_broker, tmp_path: Path, capsys):
    with patch("activemq.embedded.launcher.render", without_prefixes):
        broker = await own_broker(kind="artemis")
    file = tmp_path / "passcode"
    file.write_text(broker.passcode)
    file.chmod(0o600)
    config = tmp_path / "bridge.toml"
    config.write_text(CONFIG.format(url=broker.stomp_url, login=broker.login))
    assert await check(config, as_json=False) == 1
    said = capsys.readouterr().out
    assert "replies: bridge.reply.check." in said
    assert "does not arrive" in said
    assert ANYCAST in said
    assert MULTICAST in said
