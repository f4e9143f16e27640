"""What a client is subscribed to: asked for anew on each connection, refused or confirmed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from activemq.errors import ConnectFailedError, ServerError
from activemq.frames import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activemq.brokers import Profile
    from activemq.connection import Channel
    from activemq.frames import Frame

    OnMessage = Callable[[Frame], None]
    OnReceipt = Callable[[str, Exception | None], None]
    OnAnswer = Callable[[ServerError | None], None]
    Answered = Callable[["Subscription", Exception | None], None]

log = logging.getLogger(__name__)

SUBSCRIBE_TIMEOUT: Final = 10.0  # seconds


@dataclass(eq=False, slots=True)
class Subscription:
    """A subscription that is renewed on each connection. ``error`` says why the broker refused it, if it did."""

    id: str
    headers: Callable[[Profile], Mapping[str, str]]
    on_message: OnMessage = field(repr=False)
    error: ServerError | None = None
    on_answer: OnAnswer | None = field(default=None, repr=False)
    sent: int = field(default=0, repr=False)  # the generation of the connection that it was last asked for on
    comes_as: str = field(default="", repr=False)  # the `subscription` of its messages on that connection


class Subscriptions(dict[str, Subscription]):
    """All of them, by their ids, and what of them one connection after the other was asked for.

    ``receipts``: the client's, who is told of which answer.
    """

    def __init__(self, receipts: dict[str, OnReceipt]) -> None:
        super().__init__()
        self.coming: dict[str, Subscription] = {}  # by the `subscription` of their messages
        self._receipts = receipts
        self._asked: dict[str, None] = {}  # receipts of SUBSCRIBEs that have no answer yet, in their order
        self._profile: Profile | None = None
        self._generation = 0
        self._ids = count(1)

    def begin(self, profile: Profile, generation: int) -> None:
        """Begin with a connection: nothing is asked for on it yet."""
        self._profile = profile
        self._generation = generation
        self.coming.clear()
        self._asked.clear()

    def ask(self, connection: Channel, subscription: Subscription, answered: Answered | None = None) -> None:
        """Send SUBSCRIBE. Raises as :meth:`Channel.write`, with nothing sent."""
        answered = answered or self.note
        assert self._profile is not None  # noqa: S101 - for the type checker: there is a connection
        headers = {"id": subscription.id, **subscription.headers(self._profile)}
        subscription.sent, subscription.comes_as = self._generation, headers["id"]
        self.coming[subscription.comes_as] = subscription
        if "destination" not in headers:  # nothing to ask for: what it brings comes by itself
            answered(subscription, None)
            return
        receipt = f"sub-{subscription.id}-{self._generation}"

        def on_answer(_: str, error: Exception | None) -> None:
            self._asked.pop(receipt, None)
            answered(subscription, error)

        connection.write(encode("SUBSCRIBE", {**headers, "receipt": receipt}.items()))
        self._asked[receipt] = None
        self._receipts[receipt] = on_answer

    async def ask_all(self, connection: Channel) -> None:
        """Send all, and wait for the answers; a refusal is one.

        Raises :class:`ConnectFailedError` if they do not come, :class:`ConnectionLostError` or as :meth:`ask`.
        """
        waiting = set(self.values())
        done = asyncio.Event()
        if not waiting:
            return
        failed: list[Exception] = []

        def answered(subscription: Subscription, error: Exception | None) -> None:
            self.note(subscription, error)
            if error is not None and not isinstance(error, ServerError):
                failed.append(error)
            waiting.discard(subscription)
            if not waiting:
                done.set()

        for subscription in tuple(waiting):
            self.ask(connection, subscription, answered)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                await done.wait()
        except TimeoutError:
            raise ConnectFailedError(f"subscriptions were not confirmed within {SUBSCRIBE_TIMEOUT:g} s") from None
        if failed:
            raise failed[0]

    def is_live(self, subscription: Subscription) -> bool:
        """Say whether the present connection was asked for it, and has to be told of its end."""
        asked = subscription.sent == self._generation and subscription.comes_as == subscription.id
        return asked and subscription.error is None and subscription.id in self

    def unsubscribe(self, connection: Channel, subscription: Subscription) -> None:
        """Send UNSUBSCRIBE. Raises as :meth:`Channel.write`, with nothing sent."""
        if self._profile is None or self._profile.names_refused_subscriptions:
            connection.write(encode("UNSUBSCRIBE", [("id", subscription.id)]))
            return
        # Artemis ends a topic's subscription and then says that it could not [2.57]. Without the name of a receipt that
        # would look like the refusal of another subscription.
        receipt = f"unsub-{subscription.id}-{next(self._ids)}"
        connection.write(encode("UNSUBSCRIBE", [("id", subscription.id), ("receipt", receipt)]))
        self._receipts[receipt] = lambda _receipt, _error: None

    def forget(self, subscription: Subscription) -> None:
        """Hear of it no more."""
        subscription.sent = 0
        self.pop(subscription.id, None)
        self.coming.pop(subscription.comes_as, None)

    def receipt_of_refused(self) -> str | None:
        """Return the receipt that an ERROR answers which names none; None if it cannot be a subscription's."""
        if self._profile is None or self._profile.names_refused_subscriptions:
            return None
        return next(iter(self._asked), None)  # it answers them in their order

    def note(self, subscription: Subscription, error: Exception | None) -> None:
        """Take the broker's answer."""
        subscription.error = error if isinstance(error, ServerError) else None
        if subscription.error is not None and self._profile is not None:
            destination = subscription.headers(self._profile).get("destination")
            log.error("the broker refused the subscription to %s: %s", destination, subscription.error.message)
        if subscription.on_answer is not None and (error is None or subscription.error is not None):
            subscription.on_answer(subscription.error)
