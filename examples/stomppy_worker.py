"""A program that is on stomp.py already, and becomes a worker.

python stomppy_worker.py 127.0.0.1 61613 bridge var/broker/passcode
"""

import signal
import sys
import threading
from pathlib import Path

import stomp

from consumers.adapters.stomppy import WorkerListener


def hello(name: str) -> dict[str, str]:
    """Take the body as text, answer JSON. Runs in a thread; stomp.py's own threads go on."""
    return {"hello": name}


def main(host: str, port: str, login: str, passcode_file: str) -> None:
    """Work until a signal."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    connection = stomp.Connection([(host, int(port))], heartbeats=(10_000, 10_000), auto_decode=False)
    worker = WorkerListener(connection, "hello", hello, slots=4)
    connection.set_listener("worker", worker)
    connection.connect(login, Path(passcode_file).read_text().strip(), wait=True)
    print("ready", flush=True)
    stop.wait()

    worker.close()  # finishes what runs
    connection.disconnect("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
