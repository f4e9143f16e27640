"""The commands on RabbitMQ, where they show something else."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pika
import pytest

from tests.rabbitmq import RabbitMq

from .conftest import Start

WORKER = """
from consumers import Worker
worker = Worker()
@worker.handler("{queue}")
async def hello(name: str) -> str:
    return "hello " + name
"""


def write(folder: Path, broker: RabbitMq, queue: str, more: str = "") -> None:
    (folder / "hello.py").write_text(WORKER.format(queue=queue))
    (folder / "bridge.toml").write_text(
        f'[server]\nbind = ["127.0.0.1:0"]\n[broker]\nurls = ["{broker.stomp_url}"]\nlogin = "{broker.login}"\n{more}'
        f'[[route]]\nname = "hello"\npath = "/hello"\nqueue = "{queue}"\n'
    )


@pytest.mark.parametrize("kind", ["auto", "rabbitmq"])
def test_check_says_what_it_is_and_what_it_does_not_tell(
    start: Start, rabbitmq: RabbitMq, tmp_path: Path, kind: str
) -> None:
    write(tmp_path, rabbitmq, "cli.rabbit", f'kind = "{kind}"\n')
    command = start("check", "--config", "bridge.toml", environ={"MQBRIDGE_BROKER__PASSCODE": rabbitmq.passcode})
    assert command.exit_code() == 0, command.output
    assert "connected (rabbitmq)" in command.output
    assert "! clocks: the broker does not tell its time" in command.output
    assert "NTP" in command.output
    assert "queue cli.rabbit: the broker does not say who listens" in command.output
    assert rabbitmq.passcode not in command.output


def test_a_worker_says_which_queue_it_may_not_read(start: Start, rabbitmq: RabbitMq, tmp_path: Path) -> None:
    write(tmp_path, rabbitmq, "secret.cli")
    who = ("--broker", rabbitmq.stomp_url, "--login", rabbitmq.login)
    worker = start("work", "hello:worker", *who, environ={"MQBRIDGE_BROKER__PASSCODE": rabbitmq.passcode})
    assert worker.exit_code() == 1, worker.output
    assert "secret.cli" in worker.output
    assert "may this login read the queue" in worker.output
    assert "Traceback" not in worker.output


def test_bridge_and_worker_take_a_queue_that_others_have_declared(
    start: Start, rabbitmq: RabbitMq, tmp_path: Path
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.amqp_url)) as connection:
        connection.channel().queue_declare("cli.quorum", durable=True, arguments={"x-queue-type": "quorum"})
    write(tmp_path, rabbitmq, "cli.quorum", "declare = false\n")
    who = ("--broker", rabbitmq.stomp_url, "--login", rabbitmq.login, "--vhost", "/", "--no-declare")
    environ = {"MQBRIDGE_BROKER__PASSCODE": rabbitmq.passcode}
    worker = start("work", "hello:worker", *who, environ=environ)
    worker.wait_for("worker ready")
    bridge = start("serve", "--config", "bridge.toml", environ=environ)
    url = bridge.wait_for("mqbridge: ready on http://").split()[-1]
    answer = httpx.post(f"{url}/hello", content="Ada", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.text) == (200, "hello Ada")
    for command in (worker, bridge):
        command.signal(signal.SIGTERM)
        assert command.exit_code() == 0, command.output
