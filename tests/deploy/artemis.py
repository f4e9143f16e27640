"""deploy/artemis/broker.xml: the embedded broker's own, for a container."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from activemq.embedded.configuration import Configuration
from activemq.embedded.rendering import render

FILE: Final = Path(__file__).parents[2] / "deploy/artemis/broker.xml"
_HEAD: Final = """\
<!-- ActiveMQ Artemis for compose.artemis.yaml; scripts/lock-deploy writes it from activemq/embedded/artemis-broker.xml.
     Workers may use the queues demo.> and nothing else; logins are in users.properties and roles.properties. -->
"""


def text() -> str:
    """Return what the file should hold."""
    configuration = Configuration(61613, 61616, (), worker_queues=("demo.>",), address="0.0.0.0")
    _, _, body = render("artemis", configuration)["etc/broker.xml"].partition("-->\n")
    return _HEAD + body.replace("<name>embedded</name>", "<name>bridge</name>")


if __name__ == "__main__":
    FILE.write_text(text())
