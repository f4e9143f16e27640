"""A plain AMQP program as a worker, on RabbitMQ: it needs pika, and nothing of ours.

python amqp_worker.py 127.0.0.1 5672 bridge var/broker/passcode
"""

import json
import signal
import sys
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

QUEUE = "hello"


def hello(name: str) -> dict[str, str]:
    """Do the work."""
    return {"hello": name}


def on_request(channel: BlockingChannel, method: Basic.Deliver, request: BasicProperties, body: bytes) -> None:
    """Take one message, reply, acknowledge."""
    headers = {"http_status": "200"}  # strings: other kinds of numbers may be lost on the way to the bridge
    answer = b""
    try:
        answer = json.dumps(hello(body.decode())).encode()
    except ValueError:
        headers = {"http_status": "422"}
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told, and it does not come again
        print(f"{request.correlation_id}: {error!r}", file=sys.stderr)
        headers = {"problem": "worker-failed"}
    if request.reply_to:
        reply = BasicProperties(
            correlation_id=request.correlation_id,
            content_type="application/json",
            delivery_mode=request.delivery_mode,  # a job's result survives what its request survives
            headers=headers,
        )
        channel.basic_publish("", request.reply_to, answer, reply)  # returns when the broker has it
    channel.basic_ack(method.delivery_tag)


def main(host: str, port: str, login: str, passcode_file: str) -> None:
    """Work until a signal."""
    who = pika.PlainCredentials(login, Path(passcode_file).read_text().strip())
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), credentials=who))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)  # the next message goes to a worker that is idle
    channel.queue_declare(QUEUE, durable=True)  # as the bridge declares it
    channel.basic_consume(QUEUE, on_request)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: connection.add_callback_threadsafe(channel.stop_consuming))
    print("ready", flush=True)
    channel.start_consuming()
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
