"""The second connection's eye on the workers: keeps :class:`bridge.presence.Presence` right.

A roll call is a subscription, or questions, and then a message to ourselves. The broker hands a connection its messages
in the order in which they came about [Classic 6.3.1], or answers questions in their order [Artemis 2.57]: when our own
message is back all that the broker had to say before has been said. The same message, without a new subscription, makes
sure of a zero: a worker's SUBSCRIBE is confirmed only after the word of it is on its way to us. Where there are
questions they are asked again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from activemq.errors import ActiveMQError
from activemq.frames import encode
from bridge.presence import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from activemq import Client, Frame, Subscription
    from activemq.brokers import Profile
    from bridge.presence import Presence, Queue

log = logging.getLogger(__name__)

BEACON: Final = "bridge.presence"  # the topic that every bridge listens on
ECHO: Final = "presence"  # the temporary destination's name, ours alone

SURE_WITHIN: Final = 1.0  # seconds that a call waits to be sure that nobody listens; else it is sent
TICK: Final = 1.0  # seconds
ROLL_TIMEOUT: Final = 2.0  # seconds; a roll call that takes longer is begun anew
ROLL_EVERY: Final = 30.0  # seconds; even if nothing happened
ROLL_APART: Final = 0.05  # seconds; workers that subscribe anew for each message must not keep the broker busy


class Lookout:
    """Listens on ``side``; ``main``, which the calls take, must lead to the same broker, or nothing is known.

    ``name``: this bridge's own among those of the broker.
    """

    def __init__(self, main: Client, side: Client, presence: Presence, name: str) -> None:
        self._main = main
        self._side = side
        self._presence = presence
        self._name = name
        self._same_broker = False  # a message from main has come to side, since both are connected
        self._rolls: list[_RollCall] = []  # the one that is heeded, and the one that is under way
        self._doubt = Doubt.NONE
        self._last_roll = 0.0  # the loop's time, seconds, as all times here
        self._flown = 0.0
        self._flying: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None
        self._settled: asyncio.Future[None] | None = None  # for those who wait for the end of a roll call
        self._echoes = 0
        self._to_ask: set[str] = set()  # queues that the broker is asked for before the next echo
        # Where there are questions, the same subscriptions go on to bring events, whatever is asked meanwhile.
        self._events: list[Subscription] = []
        self._events_of: Sequence[Mapping[str, str]] = ()  # their headers
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._silent = False  # it was said that this broker does not tell
        self._unanswered = False  # it was said that it does not answer
        side.subscribe(lambda p: {"destination": p.topic(BEACON), "ack": "auto"}, self._on_beacon, name="presence")
        side.subscribe(lambda p: p.replies(ECHO), self._on_echo, name="presence-echo")
        for client in (main, side):
            client.listen(self._on_connected, self._on_lost)

    def start(self) -> None:
        """Begin to look at the time, on the running loop."""
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def stop(self) -> None:
        """Look no more."""
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        self._timer = self._soon = None

    def renew(self, queues: Iterable[str]) -> None:
        """Look after these queues from now on."""
        # At once, in the same turn: a roll call that had begun without a new queue would find it empty.
        self._presence.renew(queues)
        if self._same_broker:
            self._call_roll()
        else:
            self._on_connected()

    # -- what calls ask

    async def nobody(self, queue: Queue) -> bool:
        """Make sure that at this moment nobody listens: no worker that was confirmed before is overlooked.

        Takes a round trip to the broker, one for all who ask at a time. False as well if it is not to be had.
        """
        try:
            async with asyncio.timeout(SURE_WITHIN):
                while queue.listeners == 0:
                    if not queue.sure:
                        await asyncio.shield(self._end_of_roll())
                        continue
                    await asyncio.shield(self._barrier(queue.name))
                    if queue.listeners == 0 and queue.sure:
                        return True
        except TimeoutError:
            if not self._unanswered:  # once, not for each call
                self._unanswered = True
                log.warning("the broker does not answer: cannot tell whether anybody listens on %s", queue.name)
        return False

    async def first_worker(self, queue: Queue, timeout: float) -> bool:
        """Wait until somebody listens, for at most ``timeout`` seconds; False if nobody came."""
        if queue.listeners > 0:
            return True
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def join() -> None:
            if not joined.done():
                joined.set_result(None)

        queue.on_join.append(join)
        try:
            async with asyncio.timeout(timeout):
                await joined
        except TimeoutError:
            return False
        finally:
            with suppress(ValueError):  # it was called
                queue.on_join.remove(join)
        return True

    # -- the connections

    def _on_connected(self) -> None:
        if not (self._main.connected and self._side.connected and self._presence.queues):
            return
        if self._side.profile.tells_who_listens:
            self._prove_same_broker()
        elif not self._silent:
            self._silent = True
            kind = self._side.profile.kind
            log.info("%s does not tell who listens on its queues: a call without a worker waits for its deadline", kind)

    def _on_lost(self, _: Exception) -> None:
        self._same_broker = False
        self._presence.forget()
        self._doubt = Doubt.NONE
        for roll in self._rolls:
            roll.leave()
        self._rolls.clear()
        for waiting in (self._flying, self._next):
            _resolve(waiting)
        self._flying = self._next = None
        self._to_ask.clear()
        self._hear_events(())
        self._roll_ended()

    def _prove_same_broker(self) -> None:
        """Send a message from one connection to the other: of several brokers each may have found another."""
        headers = [("destination", self._main.profile.topic(BEACON)), ("correlation-id", self._pair())]
        with suppress(ActiveMQError):  # the next tick tries again
            self._main.send(encode("SEND", headers))

    def _pair(self) -> str:
        return f"{self._name}-{self._main.generation}-{self._side.generation}"

    def _on_beacon(self, frame: Frame) -> None:
        # Other bridges' come here too.
        if frame.get("correlation-id") == self._pair() and not self._same_broker and self._main.connected:
            self._same_broker = True
            self._call_roll()

    # -- roll calls

    def _call_roll(self) -> None:
        while self._rolls and not self._rolls[-1].finished:
            self._rolls.pop().leave()
        loop = asyncio.get_running_loop()
        self._last_roll = loop.time()
        self._doubt = Doubt.NONE
        self._presence.begin()
        queues = list(self._presence.queues)
        profile = self._side.profile
        subscriptions = profile.roll_call(queues, BEACON)
        if profile.questions(queues, BEACON, ""):
            self._hear_events(subscriptions)
            subscriptions = ()
        roll = _RollCall(self._side, subscriptions, self._on_attendance)
        self._rolls.append(roll)
        self._ask(queues)
        self._barrier().add_done_callback(lambda _: self._finish(roll))

    def _hear_events(self, wanted: Sequence[Mapping[str, str]]) -> None:
        if wanted == self._events_of:
            return
        for subscription in self._events:
            with suppress(ActiveMQError):
                self._side.unsubscribe(subscription)
        self._events = [self._side.subscribe(_constant(headers), self._on_event) for headers in wanted]
        self._events_of = wanted

    def _on_event(self, frame: Frame) -> None:
        """Take an answer, or the word that somebody came or went where there are answers."""
        attendance = self._side.profile.attendance(frame)
        if attendance is None or not self._rolls:
            return
        if not self._rolls[-1].finished:
            self._presence.heard(attendance)
        self._need(self._presence.event(attendance))

    def _on_attendance(self, roll: _RollCall, frame: Frame) -> None:
        attendance = self._side.profile.attendance(frame)
        if attendance is None or roll not in self._rolls:
            return
        if roll is self._rolls[0] and roll.finished:
            self._need(self._presence.event(attendance))
        else:
            self._presence.heard(attendance)

    def _finish(self, roll: _RollCall) -> None:
        if not self._rolls or roll is not self._rolls[-1] or roll.finished:
            return
        roll.finished = True
        while self._rolls[0] is not roll:
            self._rolls.pop(0).leave()
        was_known = self._presence.known
        doubt = self._presence.finish()
        if not self._presence.known and not self._silent:
            self._silent = True
            log.warning(
                "the broker does not tell who listens on its queues, so a call without a worker waits for its "
                "deadline; %s",
                self._side.profile.presence_needs,
            )
        elif self._presence.known and not was_known:
            self._silent = False
            log.info("the broker tells who listens; queues: %d", len(self._presence.queues))
        self._need(doubt)
        self._roll_ended()

    def _need(self, doubt: Doubt) -> None:
        self._doubt = max(self._doubt, doubt)
        if self._doubt is Doubt.NOW and self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.call_at(max(self._last_roll + ROLL_APART, loop.time()), self._roll_now)

    def _roll_now(self) -> None:
        self._soon = None
        # One that is under way may finish, however often somebody leaves; what is in doubt then is asked anew.
        if self._same_broker and self._rolls[-1].finished:
            self._call_roll()

    def _end_of_roll(self) -> asyncio.Future[None]:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        return self._settled

    def _roll_ended(self) -> None:
        _resolve(self._settled)
        self._settled = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK, self._tick)
        if not self._same_broker:
            self._on_connected()
            return
        age = loop.time() - self._last_roll
        if self._flying is not None and loop.time() - self._flown > ROLL_TIMEOUT:
            self._send_echo()  # the last was lost, or the broker is slow: a later one says no less
        if age > ROLL_EVERY or self._doubt or (age > ROLL_TIMEOUT and not self._rolls[-1].finished):
            self._call_roll()

    def _ask(self, queues: Sequence[str]) -> None:
        profile = self._side.profile
        for question in profile.questions(queues, BEACON, profile.reply_to(ECHO)):
            with suppress(ActiveMQError):  # it is closing, and _on_lost comes next
                self._side.send(encode("SEND", question.headers.items(), question.body))

    # -- messages to ourselves

    def _barrier(self, *queues: str) -> asyncio.Future[None]:
        """Return what is done when all that the broker said before now is here, or the connection is lost.

        Of ``queues`` also what it says when it is asked, if it is one that wants to be asked.
        """
        self._to_ask.update(queues)
        if self._flying is None:
            self._flying = asyncio.get_running_loop().create_future()
            self._send_echo()
            return self._flying
        # The one that flies may have left before what the caller wants to be sure of.
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def _send_echo(self) -> None:
        if self._to_ask:
            self._ask(sorted(self._to_ask))
            self._to_ask.clear()
        self._echoes += 1
        self._flown = asyncio.get_running_loop().time()
        headers = [
            ("destination", self._side.profile.reply_to(ECHO)),
            ("correlation-id", str(self._echoes)),
            ("priority", "0"),  # Artemis answers with that, and a higher one would be faster than the answers
        ]
        with suppress(ActiveMQError):  # it is closing, and _on_lost comes next
            self._side.send(encode("SEND", headers))

    def _on_echo(self, frame: Frame) -> None:
        if frame.get("correlation-id") != str(self._echoes):
            self._on_event(frame)
            return
        self._unanswered = False
        flown, self._flying, self._next = self._flying, self._next, None
        if self._flying is not None:
            self._send_echo()
        _resolve(flown)


class _RollCall:
    """The subscriptions of one roll call; they go on to bring events when it has ended."""

    def __init__(
        self,
        side: Client,
        subscriptions: Sequence[Mapping[str, str]],
        on_attendance: Callable[[_RollCall, Frame], None],
    ) -> None:
        self.finished = False
        self._side = side
        self._subscriptions: list[Subscription] = [
            side.subscribe(_constant(headers), lambda frame: on_attendance(self, frame)) for headers in subscriptions
        ]

    def leave(self) -> None:
        for subscription in self._subscriptions:
            with suppress(ActiveMQError):
                self._side.unsubscribe(subscription)


def _constant(headers: Mapping[str, str]) -> Callable[[Profile], Mapping[str, str]]:
    return lambda _: headers


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
