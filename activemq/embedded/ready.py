"""Is a STOMP broker there, and does it take our login? A single CONNECT, by hand."""

from __future__ import annotations

import asyncio
import contextlib

from activemq.embedded.ports import LOOPBACK

_LARGEST_ANSWER = 64 * 1024
_ANSWER_TIMEOUT = 10.0  # seconds from CONNECT to CONNECTED or ERROR


class RefusedError(Exception):
    """It answered, but not with CONNECTED; the text says what with."""


async def answers(port: int, login: str, passcode: str) -> bool:
    """Whether the broker on that loopback port said CONNECTED; ``False`` where nothing listens or answers yet.

    ``RefusedError`` if something answers otherwise: an ERROR frame, or what is not STOMP.
    """
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=_LARGEST_ANSWER)
    except OSError:
        return False
    try:
        if writer.get_extra_info("sockname") == writer.get_extra_info("peername"):
            return False  # TCP connected us to ourselves
        # STOMP 1.2: CONNECT does not escape its headers, for the sake of older servers
        writer.write(
            f"CONNECT\naccept-version:1.2\nhost:{LOOPBACK}\nheart-beat:0,0\n"
            f"login:{login}\npasscode:{passcode}\n\n\0".encode()
        )
        async with asyncio.timeout(_ANSWER_TIMEOUT):
            answer = await reader.readuntil(b"\0")
        _judge(answer)
        writer.write(b"DISCONNECT\n\n\0")
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False  # it is still starting, or already gone
    except asyncio.LimitOverrunError as error:
        raise RefusedError("something that is not STOMP") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return True


def _judge(answer: bytes) -> None:
    lines = answer.lstrip(b"\r\n").split(b"\n")
    command = lines[0].strip()
    if command == b"CONNECTED":
        return
    said = next((line for line in lines if line.startswith(b"message:")), b"")
    shown = b" ".join((command[:40], said[:200])).decode("utf-8", "replace").strip()
    raise RefusedError(shown or "something that is not STOMP")
