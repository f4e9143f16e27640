"""Asking a running bridge for what only its operator may know or do."""

from __future__ import annotations

from typing import Any

import httpx

from mqbridge.console import CommandError

UNREACHABLE = "is it running, and is --url right?"


class RefusedError(CommandError):
    """The bridge answered with a problem; ``name`` is the problem's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def bridge_at(url: str, key: str, timeout: float) -> httpx.Client:
    """Return a client for the bridge with its admin key; ``timeout`` in seconds, for each step of a request.

    No proxy of the environment gets the key.
    """
    return httpx.Client(
        base_url=url,
        headers={"authorization": f"Bearer {key}"},
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
    )


def ask(client: httpx.Client, method: str, path: str, member: str | None = None) -> dict[str, Any]:
    """Return the JSON object that the bridge answers with; empty if it has nothing to say (204).

    ``member``: one that must be in it, so that anything else that listens there is not taken for a bridge. Raises
    :class:`CommandError`, and :class:`RefusedError` for a problem.
    """
    try:
        response = client.request(method, path)
    except httpx.InvalidURL as error:
        raise CommandError(f"--url {client.base_url}: {error}", 2) from error
    except httpx.HTTPError as error:
        raise CommandError(f"{client.base_url} cannot be reached ({error}); {UNREACHABLE}") from error
    if response.status_code == 401:
        raise CommandError(f"{client.base_url} does not know this admin key")
    if response.status_code == 204:
        return {}
    try:
        document = response.json()
    except ValueError:
        document = None
    if isinstance(document, dict) and response.is_success and (member is None or member in document):
        return document
    if isinstance(document, dict) and str(document.get("type", "")).count("/problems/") and not response.is_success:
        name = str(document["type"]).rpartition("/")[2]
        raise RefusedError(name, f"{document.get('detail')} ({response.status_code} {name})")
    raise CommandError(f"{client.base_url} answered {response.status_code}: is it a bridge of this version?")
