"""One call at a time, by hand."""

from __future__ import annotations

import asyncio


async def post(port: int, path: str, body: bytes = b"x") -> int:
    """POST a text and return the status; 0 if there was no answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        answer = await reader.read()
    except OSError:
        return 0
    finally:
        writer.close()
    return int(answer[9:12]) if answer else 0
