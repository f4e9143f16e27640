"""The held calls' connection to the broker: requests out, replies in, and what its loss means for the calls."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from activemq import RequestEncoder
from activemq.errors import RemoteProtocolError, ServerError
from activemq.message import KINDS
from bridge.exchange import End, Exchange, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activemq import Client, Frame
    from activemq.subscriptions import OnReceipt
    from bridge.exchange import Held
    from bridge.routing import ServedRoute
    from bridge.settings import Route
    from bridge.tracing import CallTrace
    from bridge.withdrawal import Withdrawals

log = logging.getLogger(__name__)

# "ask": what is over within a moment need not tell, so that short jobs cost nothing more.
STARTED_AFTER_MS: Final = "50"
_STARTED: Final[Mapping[str, list[tuple[str, str]]]] = {
    "never": [],
    "ask": [("reply_kinds", "started"), ("started_after_ms", STARTED_AFTER_MS)],
    "always": [("reply_kinds", "started")],
}
_IN_PARTS: Final = (("reply_kinds", "started progress chunk"),)
_ID: Final = re.compile(r"[0-9a-f]{32}")
REPLIES: Final = "replies"  # the temporary destination's name, ours alone: it belongs to our connection


def attempts_told(route: Route) -> list[tuple[str, str]]:
    """Return the properties of a first message that say how often it may be tried."""
    return [
        ("attempt", "1"),
        ("max_attempts", str(route.max_attempts)),
        ("redeliver", "true" if route.redeliver else "false"),
    ]


class Link:
    """Puts request messages on queues and hands replies to the exchange.

    Held calls and their temporary reply destination share one connection: when it dies, so do the replies.
    """

    def __init__(self, client: Client, exchange: Exchange[Frame], withdrawals: Withdrawals) -> None:
        self.client = client
        self._exchange = exchange
        self._withdrawals = withdrawals
        client.subscribe(lambda profile: profile.replies(REPLIES), self._on_reply, name=REPLIES)
        client.listen(lambda: None, self._on_lost)

    def encoder_for(self, route: ServedRoute) -> RequestEncoder:
        """Make the frames' unchanging part for a route; needs a broker to have answered once."""
        profile, settings = self.client.profile, route.settings
        return RequestEncoder(
            destination=profile.queue(settings.queue),
            reply_to=profile.reply_to(REPLIES),
            route=settings.name,
            persistent=settings.persistent,
            media_type_header=profile.media_type_header,
            properties=[
                *attempts_told(settings),
                ("max_reply", str(settings.max_reply)),
                *(() if settings.stream else _STARTED[settings.started]),
            ],
        )

    def publish(
        self,
        route: ServedRoute,
        held: Held[Frame],
        budget: float,
        priority: int,
        properties: Iterable[tuple[str, str]],
        body: bytes,
        *,
        text: bool,
        in_parts: bool = False,
        trace: CallTrace | None = None,
    ) -> None:
        """Send a call's request message; ``budget`` is the time left in seconds.

        ``in_parts``: the caller takes progress and chunks. ``trace``: its spans, whose context goes along.

        Raises, with nothing sent, :class:`NotConnectedError` or :class:`BufferFullError`.
        """
        client = self.client
        encoder = route.encoder
        if encoder is None or route.encoded_for != client.generation:
            encoder = route.encoder = self.encoder_for(route)
            route.encoded_for = client.generation
        if route.settings.stream:
            properties = [*properties, *(_IN_PARTS if in_parts else _STARTED[route.settings.started])]
        on_receipt: OnReceipt = self._on_receipt
        if trace is not None:
            context = trace.sends(client.profile.kind, route.settings.queue, held.correlation_id)
            properties = [*properties, *context]
            on_receipt = trace.handed_on(on_receipt)
        budget_ms = round(budget * 1_000)
        deadline_ms = client.clock.now_ms() + budget_ms
        data = encoder.encode(
            held.correlation_id,
            client.profile.expiry(deadline_ms, budget_ms),
            deadline_ms,
            budget_ms,
            priority,
            properties,
            body,
            text=text,
        )
        client.publish(data, held.correlation_id, on_receipt)

    def forget(self, held: Held[Frame]) -> None:
        """Stop waiting for the receipt of a call that is over."""
        self.client.forget_receipt(held.correlation_id)

    def _on_reply(self, frame: Frame) -> None:
        try:
            correlation_id = frame.get("correlation-id")
        except RemoteProtocolError:  # an undefined escape: nobody's, and no reason to lose what all calls share
            self._exchange.counts.stray_replies += 1
            return
        kind = frame.raw("reply_kind")
        if kind is None or kind == "final":
            self._on_final(correlation_id or "", frame)
        elif kind not in KINDS:
            self._exchange.counts.stray_replies += 1
        else:
            self._on_notice(correlation_id or "", frame)

    def _on_notice(self, correlation_id: str, frame: Frame) -> None:
        if self._exchange.notice(correlation_id, attempt_of(frame) or 1, frame):
            return
        # A worker that missed the first word, since it was not there yet. What cannot be an id of ours is not repeated:
        # it would go into a header, and to all workers.
        if _ID.fullmatch(correlation_id):
            self._withdrawals.withdraw(correlation_id)

    def _on_final(self, correlation_id: str, frame: Frame) -> None:
        begun = self._exchange.attempt_of(correlation_id)
        # A plain worker need not say which attempt it was.
        if begun > 1 and (attempt_of(frame) or begun) < begun:  # of a worker that was given up
            self._exchange.counts.stray_replies += 1
        else:
            self._exchange.reply(correlation_id, frame)

    def withdraw(self, held: Held[Frame]) -> None:
        """Tell workers that a call is over."""
        self._withdrawals.withdraw(held.correlation_id)

    def _on_receipt(self, correlation_id: str, error: Exception | None) -> None:
        if error is None:
            self._exchange.confirm(correlation_id)
        elif isinstance(error, ServerError):
            log.error("the broker refused call %s: %s", correlation_id, error.message)
            self._exchange.end(correlation_id, Refused(error))
        else:
            self._exchange.end(correlation_id, End.BROKER_LOST)

    def _on_lost(self, error: Exception) -> None:
        ended = self._exchange.end_all(End.BROKER_LOST)
        if ended:
            log.warning("%d held calls were told that the broker is gone (%s)", ended, error)


def attempt_of(frame: Frame) -> int | None:
    """Return which attempt a reply is of; None if it does not say, 1 if what it says is no number."""
    value = frame.raw("attempt")
    if value is None:
        return None
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 1
