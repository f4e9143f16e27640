"""Where the bridges are, and which of them is to be left alone for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Address:
    """One bridge, or a balancer in front of some. ``not_before``: seconds of the monotonic clock (Retry-After)."""

    base: httpx.URL
    not_before: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``http://HOST:PORT`` or ``https://HOST/prefix``. Raises ValueError that names what is wrong."""
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise ValueError(f"{text!r} is no URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"{text!r} must be http://HOST:PORT or https://HOST:PORT")
        if url.userinfo:
            raise ValueError("a bridge's address holds no user and no password: use auth=BearerKey(…)")
        if url.query or url.fragment:
            raise ValueError(f"{text!r}: a bridge's address has no query and no fragment")
        return cls(url.copy_with(raw_path=url.raw_path.rstrip(b"/") or b"/"))

    def at(self, url: httpx.URL) -> httpx.URL:
        """Return the same path and query here."""
        prefix = self.base.raw_path.rstrip(b"/")
        return self.base.copy_with(raw_path=prefix + url.raw_path)


class Addresses:
    """All of them; shared by the requests of a client, which begin with the one that answered last."""

    def __init__(self, urls: str | Iterable[str]) -> None:
        """Read them. Raises ValueError for none at all or one that is wrong."""
        self.all = [Address.parse(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self.all:
            raise ValueError("give at least one address of a bridge")
        self._first = 0

    def in_order(self) -> list[Address]:
        """Return all, the one that answered last first."""
        return self.all[self._first :] + self.all[: self._first]

    def prefer(self, address: Address) -> None:
        """Begin with this one from now on."""
        self._first = self.all.index(address)

    def avoid(self, address: Address) -> None:
        """Begin with the next one from now on, if it was this one."""
        if self.all[self._first] is address:
            self._first = (self._first + 1) % len(self.all)
