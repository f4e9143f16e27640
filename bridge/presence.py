"""Who listens on each route's queue, as far as this bridge knows. No I/O.

What is known comes from two sources. *Events*: the broker tells of each consumer that comes or goes, with how many
there are then. It makes and sends these from many threads, so that of two at once the older may come last. *Roll
calls*: asked anew, it tells of each consumer that is there. So an event may say that somebody listens and is believed,
for a call that finds nobody then waits, no worse; that nobody listens is believed only after a roll call.
"""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Final

from bridge.backlog import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activemq.brokers import Attendance

UNKNOWN: Final = -1


class Doubt(enum.IntEnum):
    """How soon a roll call is needed for what is known to be right."""

    NONE = 0
    LATER = 1  # a number may be wrong, but not whether there is anybody
    NOW = 2  # perhaps nobody listens


class Queue:
    """A queue that routes lead to: what of it concerns every call.

    ``listeners``: consumers of the queue (a worker of ours has one for each slot), or :data:`UNKNOWN`. ``sure``: of
    a zero, that a roll call has found it so. ``unanswered``: messages of this bridge that have no answer yet.
    ``clock``: seconds, rising.
    """

    __slots__ = ("_absent_since", "_clock", "listeners", "name", "on_join", "pace", "sure", "unanswered")

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._absent_since = 0.0
        self.listeners = UNKNOWN
        self.sure = False
        self.unanswered = 0
        self.pace = Pace(clock)
        self.on_join: list[Callable[[], None]] = []  # called, once, when somebody listens

    def put(self, listeners: int, *, sure: bool = False) -> None:
        """Take note of a number."""
        if listeners == 0 and self.listeners != 0:
            self._absent_since = self._clock()
        self.listeners = listeners
        self.sure = sure
        if listeners > 0 and self.on_join:
            joined, self.on_join = self.on_join, []
            for call in joined:
                call()

    def absence(self) -> float:
        """Return for how long nobody has listened, in seconds; 0 if somebody does, or nobody knows."""
        return self._clock() - self._absent_since if self.listeners == 0 else 0.0

    def __repr__(self) -> str:
        number = "?" if self.listeners == UNKNOWN else str(self.listeners)
        return f"<Queue {self.name}: {number} listen, {self.unanswered} unanswered>"


class Presence:
    """The queues by name, and what the broker says about them.

    ``beacon``: the topic that the bridge itself listens on. A roll call in which the beacon is missing is worth
    nothing: this broker does not tell.
    """

    def __init__(self, names: Iterable[str], beacon: str) -> None:
        self.queues = {name: Queue(name) for name in names}
        self.known = False
        self._beacon = beacon
        self._roll: _Roll | None = None

    def __getitem__(self, name: str) -> Queue:
        return self.queues[name]

    def renew(self, names: Iterable[str]) -> None:
        """Look after these queues from now on; of new ones nothing is known until the next roll call."""
        self.queues = {name: self.queues.get(name) or Queue(name) for name in names}

    def rate(self) -> float:
        """Return the answers per second, of all queues."""
        return sum(queue.pace.rate() for queue in self.queues.values())

    def forget(self) -> None:
        """Know nothing any more: the connection is lost, or nobody knows what it said."""
        self.known = False
        self._roll = None
        for queue in self.queues.values():
            queue.put(UNKNOWN)

    def event(self, attendance: Attendance) -> Doubt:
        """Take the word that somebody came or went; return how soon a roll call is needed."""
        if attendance.is_topic and attendance.certain and not attendance.listeners:
            self.forget()  # what this broker says is worth nothing any more
        if not self.known or attendance.is_topic:
            return Doubt.NONE
        doubt = Doubt.NONE
        for queue in self._covered(attendance):
            doubt = max(doubt, _event(queue, attendance))
        return doubt

    def begin(self) -> None:
        """Begin a roll call; one that has not ended is given up."""
        self._roll = _Roll()

    def heard(self, attendance: Attendance) -> None:
        """Take an answer to the roll call. Events of the same time come with the answers and look like them."""
        roll = self._roll
        if roll is None:
            return
        roll.certain = roll.certain or attendance.certain
        if attendance.is_topic:
            roll.beacon = roll.beacon or attendance.covers(self._beacon)
            roll.worthless = roll.worthless or not attendance.listeners
        else:
            for queue in self._covered(attendance):
                roll.answers.setdefault(queue.name, []).append(attendance)

    def finish(self) -> Doubt:
        """End the roll call: all answers are there. Return whether another is needed, and how soon."""
        roll, self._roll = self._roll, None
        if roll is None:
            return Doubt.NONE
        if not roll.beacon or (roll.certain and roll.worthless):
            self.forget()
            return Doubt.NONE
        self.known = True
        take = _take_certain if roll.certain else _take
        doubts = [take(queue, roll.answers.get(queue.name, [])) for queue in self.queues.values()]
        return max(doubts, default=Doubt.NONE)

    def _covered(self, attendance: Attendance) -> list[Queue]:
        if attendance.exact:
            queue = self.queues.get(attendance.names[0])
            return [] if queue is None else [queue]
        return [queue for queue in self.queues.values() if attendance.covers(queue.name)]


class _Roll:
    """The answers so far.

    ``certain``: they are answers to questions, and no answer says nothing; ``worthless``: one of the answers about the
    beacon is that nobody listens there.
    """

    def __init__(self) -> None:
        self.beacon = False
        self.worthless = False
        self.certain = False
        self.answers: dict[str, list[Attendance]] = {}


def _event(queue: Queue, attendance: Attendance) -> Doubt:
    if attendance.certain:
        before = queue.listeners
        queue.put(attendance.listeners, sure=attendance.listeners == 0)
        # Or somebody came after the answer was given, and the word of it was faster.
        return Doubt.LATER if before > 0 == attendance.listeners else Doubt.NONE
    if not attendance.exact:
        # Somebody with a pattern came or went, it does not say which.
        queue.sure = False
        return Doubt.NOW if queue.listeners == 0 else Doubt.LATER
    queue.put(attendance.listeners)
    return Doubt.LATER if attendance.listeners else Doubt.NOW


def _take_certain(queue: Queue, answers: list[Attendance]) -> Doubt:
    """Take the answers to questions; events of the same time may be older or newer than they."""
    before = queue.listeners
    said = [answer.listeners for answer in answers if answer.certain]
    if not said:
        queue.put(UNKNOWN)  # this login may not know
    elif said[-1] == 0 and any(answer.listeners for answer in answers):
        queue.put(0)
        return Doubt.NOW
    else:
        queue.put(said[-1], sure=said[-1] == 0)
    return Doubt.NONE if queue.listeners == before else Doubt.LATER


def _take(queue: Queue, answers: list[Attendance]) -> Doubt:
    before = queue.listeners
    if not answers:
        queue.put(0, sure=True)
    else:
        own = [answer.listeners for answer in answers if answer.exact]
        if own and len(own) == len(answers) and own[-1] == 0:
            queue.put(0)  # the last one left in the meantime, or is just leaving
            return Doubt.NOW
        queue.put(len(answers))
    return Doubt.NONE if queue.listeners == before else Doubt.LATER
