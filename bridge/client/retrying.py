"""Whether a request may be sent again, where and when. Pure: no I/O, no clock; times are seconds of a monotonic clock.

Sent again is what has certainly not run; what may have run only if a second time does no harm: with an
Idempotency-Key, or on the bridge's own pages. The rules are those of docs/http.md, "Errors" and "Idempotency-Key".
"""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING, Final

import httpx

from bridge.client.errors import parse_problem

if TYPE_CHECKING:
    from bridge.client.addresses import Addresses

FIRST_PAUSE: Final = 0.1  # seconds, after a round through all addresses
LONGEST_PAUSE: Final = 5.0
_OPEN: Final = frozenset({"queued", "running"})
# What is so for all bridges of a broker and a store; and a caller's limit is not to be got round.
_EVERYWHERE: Final = frozenset({"caller-limit", "keys-unavailable", "no-worker", "queue-full", "store-unavailable"})
_LATER: Final = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
_GATEWAY: Final = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT})
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNKNOWN: Final = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.WriteTimeout)
_OWN_PAGE: Final = re.compile(rb"/(?:jobs/|-/|problems/|openapi\.json$|docs$)")
_JOB: Final = re.compile(rb"/jobs/[0-9a-f]{32}")


def may_repeat(request: httpx.Request) -> bool:
    """Say whether to send it twice does no harm: it has a key, or only asks the bridge itself, or cancels a job."""
    if "idempotency-key" in request.headers:
        return True
    path = request.url.raw_path.partition(b"?")[0]
    if request.method in ("GET", "HEAD"):
        return bool(_OWN_PAGE.match(path))
    return request.method == "DELETE" and bool(_JOB.fullmatch(path))


def is_interesting(status: int) -> bool:
    """Say whether an answer of this status may be one to send the request again after; its body is to be read then."""
    return status in _LATER or status in _GATEWAY


class Attempts:
    """One request: which address is next, and after what pause."""

    def __init__(self, addresses: Addresses, *, repeatable: bool, until: float, max_pause: float | None = None) -> None:
        """``until``: when the deadline is over; ``max_pause``: seconds, no longer one is made."""
        self._addresses = addresses
        self._repeatable = repeatable
        self._until = until
        self._max_pause = math.inf if max_pause is None else max_pause
        self._left = addresses.in_order()  # of this round
        self._rounds = 0
        self._not_before = 0.0
        self.address = self._left[0]

    def begin(self, now: float) -> float | None:
        """Choose the first address; return the pause before it. None: its Retry-After is behind the deadline."""
        return self._choose(now)

    def answered(self, status: int, headers: httpx.Headers, body: bytes, now: float) -> float | None:
        """Return the pause before the next attempt, at :attr:`address`; None: this is the answer."""
        problem = parse_problem(headers.get("content-type", ""), body)
        if not self._again(status, headers, problem):
            if _is_of_gateway(status, headers):
                self._addresses.avoid(self.address)  # there may be no bridge behind it any more
            else:
                self._addresses.prefer(self.address)
            return None
        later = now + _retry_after(headers)
        name = "" if problem is None else problem["name"]
        if name in _EVERYWHERE:
            self._not_before = max(self._not_before, later)
        else:
            self.address.not_before = max(self.address.not_before, later)
        return self._choose(now)

    def failed(self, error: httpx.TransportError, now: float) -> float | None:
        """Return the pause before the next attempt, at :attr:`address`; None: raise the error."""
        self._addresses.avoid(self.address)
        if not isinstance(error, _NOT_SENT) and not (self._repeatable and isinstance(error, _UNKNOWN)):
            return None
        return self._choose(now)

    def _again(self, status: int, headers: httpx.Headers, problem: dict[str, object] | None) -> bool:
        if "job-state" in headers and headers["job-state"] not in _OPEN:
            return False  # recorded: it would be the same again
        if problem is None:
            return self._repeatable and _is_of_gateway(status, headers)
        if status in _LATER and problem.get("ran") == "no":
            return True
        lost = status == httpx.codes.SERVICE_UNAVAILABLE or problem["name"] == "broker-lost"
        return self._repeatable and lost

    def _choose(self, now: float) -> float | None:
        """Choose the address that may be asked soonest, of those that were not asked in this round."""
        if not self._left:
            self._rounds += 1
            pause = min(FIRST_PAUSE * 2.0 ** (self._rounds - 1), LONGEST_PAUSE)
            # Those who failed together should not come back together.
            self._not_before = max(self._not_before, now + pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            self._left = self._addresses.in_order()
        self.address = min(self._left, key=lambda address: max(address.not_before, now))
        self._left.remove(self.address)
        at = max(now, self._not_before, self.address.not_before)
        return None if at >= self._until or at - now > self._max_pause else at - now

    def __repr__(self) -> str:
        return f"<Attempts at {self.address.base}, round {self._rounds + 1}>"


def _is_of_gateway(status: int, headers: httpx.Headers) -> bool:
    """Say whether a balancer in front of the bridge answered; what a bridge does has a Correlation-Id."""
    return status in _GATEWAY and "correlation-id" not in headers


def _retry_after(headers: httpx.Headers) -> float:
    """Return seconds. A date, which a bridge never gives, counts as one second (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "0")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 7 else 1.0
