"""What is known of who listens: each rule by itself, and all of them against a broker that mixes up its words."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from activemq.brokers import Attendance
from bridge.presence import UNKNOWN, Doubt, Presence, Queue

BEACON = Attendance(("beacon",), 1, True)


def plain(name="q", listeners=1):
    return Attendance((name,), listeners)


@pytest.fixture
def presence():
    return Presence(["q", "other"], "beacon")


def roll(presence, *answers, beacon=True):
    presence.begin()
    for answer in ((BEACON,) if beacon else ()) + answers:
        presence.heard(answer)
    return presence.finish()


def test_at_first_nothing_is_known(presence):
    assert not presence.known
    assert [queue.listeners for queue in presence.queues.values()] == [UNKNOWN, UNKNOWN]


def test_silence_in_a_roll_call_is_a_zero_to_be_sure_of(presence):
    assert roll(presence) is Doubt.LATER  # it is news, so a second one has to say the same
    assert (presence["q"].listeners, presence["q"].sure) == (0, True)
    assert roll(presence) is Doubt.NONE


def test_each_answer_is_a_listener(presence):
    roll(presence, plain(), plain(), plain("foreign"))
    assert (presence["q"].listeners, presence["other"].listeners) == (2, 0)


@pytest.mark.parametrize("names", [("q.>",), ("*",), ("a", "q")])
def test_a_pattern_that_covers_the_queue_is_a_listener_whatever_its_number(presence, names):
    roll(presence, Attendance(names, 0))
    assert presence["q"].listeners == 1


def test_a_roll_call_without_the_beacon_says_nothing(presence):
    roll(presence)
    assert roll(presence, plain(), beacon=False) is Doubt.NONE
    assert not presence.known
    assert presence["q"].listeners == UNKNOWN


def test_another_topic_is_no_beacon(presence):
    presence.begin()
    presence.heard(Attendance(("beacon.other",), 1, True))
    presence.finish()
    assert not presence.known


def test_a_roll_call_that_ends_with_a_zero_has_to_be_repeated(presence):
    assert roll(presence, plain(), plain(listeners=0)) is Doubt.NOW
    assert (presence["q"].listeners, presence["q"].sure) == (0, False)


def test_a_zero_beside_a_pattern_is_none(presence):
    roll(presence, plain(listeners=0), Attendance(("q.>",), 0))
    assert presence["q"].listeners > 0


def test_an_event_before_the_first_roll_call_says_nothing(presence):
    assert presence.event(plain()) is Doubt.NONE
    assert presence["q"].listeners == UNKNOWN


def test_somebody_who_comes_is_believed_at_once(presence):
    roll(presence)
    assert presence.event(plain(listeners=3)) is Doubt.LATER
    assert presence["q"].listeners == 3


def test_that_the_last_one_left_is_not_believed_without_a_roll_call(presence):
    roll(presence, plain())
    assert presence.event(plain(listeners=0)) is Doubt.NOW
    assert (presence["q"].listeners, presence["q"].sure) == (0, False)
    roll(presence)
    assert presence["q"].sure


@pytest.mark.parametrize(("before", "doubt"), [((), Doubt.NOW), ((plain(),), Doubt.LATER)])
def test_a_pattern_that_comes_or_goes_puts_a_zero_in_doubt(presence, before, doubt):
    roll(presence, *before)
    assert presence.event(Attendance(("q", "z"), 0)) is doubt
    assert not presence["q"].sure


def test_events_of_topics_and_of_other_queues_change_nothing(presence):
    roll(presence)
    assert presence.event(Attendance(("q",), 1, True)) is Doubt.NONE
    assert presence.event(plain("foreign")) is Doubt.NONE
    assert (presence["q"].listeners, presence["q"].sure) == (0, True)


def test_a_roll_call_begun_anew_does_not_count_the_first_ones_answers(presence):
    presence.begin()
    presence.heard(plain())
    roll(presence)
    assert presence["q"].listeners == 0


def test_answers_without_a_roll_call_are_dropped(presence):
    presence.heard(plain())
    assert presence.finish() is Doubt.NONE
    assert not presence.known


def test_those_who_wait_for_a_worker_are_told_once(presence):
    told = []
    roll(presence)
    presence["q"].on_join.append(lambda: told.append("q"))
    presence.event(plain(listeners=0))
    assert told == []
    presence.event(plain())
    presence.event(plain(listeners=2))
    assert told == ["q"]


def test_how_long_nobody_has_listened_is_counted_from_the_last():
    now = 100.0
    queue = Queue("q", lambda: now)
    assert queue.absence() == 0.0
    queue.put(0)
    now = 107.0
    queue.put(0, sure=True)
    assert queue.absence() == 7.0
    queue.put(1)
    assert queue.absence() == 0.0
    queue.put(UNKNOWN)
    assert queue.absence() == 0.0


def test_the_rate_is_of_all_queues(presence):
    for queue in presence.queues.values():
        queue.pace.note()
    assert presence.rate() == 2.0


def test_a_queue_shows_what_is_known_of_it(presence):
    assert repr(presence["q"]) == "<Queue q: ? listen, 0 unanswered>"
    roll(presence, plain())
    assert repr(presence["q"]) == "<Queue q: 1 listen, 0 unanswered>"


# -- all together


PATTERNS = {"q": ("q",), "other": ("other",), "q.>": ("q.>",), "both": ("q", "other")}
KEYS = st.sampled_from(["q", "q", "q", "other", "q.>", "both"])


class Mixed(RuleBasedStateMachine):
    """A broker as Classic is, by its source: the number in an event is taken, and the event sent, by the thread of the
    consumer's connection, so events of different consumers overtake each other. One connection's messages stay in
    order. A consumer is confirmed after its event was sent."""

    consumers = Bundle("consumers")

    def __init__(self):
        super().__init__()
        self.presence = Presence(["q", "other"], "beacon")
        self.alive: dict[int, str] = {}  # consumer → what it subscribed to
        self.confirmed: set[int] = set()
        self.unsent: list[tuple[int, Attendance]] = []  # events that are made and not sent
        self.stream: list[tuple[object, Attendance | None]] = []  # on its way to us: subscription, word
        self.subscriptions: list[object] = []  # ours, at the broker
        self.heeded: object | None = None
        self.pending: object | None = None
        self.doubt = Doubt.NONE
        self.numbers = 0

    # the broker

    def count(self, key: str) -> int:
        names = PATTERNS[key]
        reads = [queue for queue in ("q", "other") if Attendance(names, 0).covers(queue)]
        return sum(Attendance(PATTERNS[alive], 0).covers(queue) for alive in self.alive.values() for queue in reads)

    def send(self, index: int) -> None:
        consumer, event = self.unsent.pop(index)
        self.stream += [(subscription, event) for subscription in self.subscriptions]
        if consumer in self.alive:
            self.confirmed.add(consumer)

    @rule(target=consumers, key=KEYS)
    def join(self, key):
        self.numbers += 1
        self.alive[self.numbers] = key
        self.unsent.append((self.numbers, Attendance(PATTERNS[key], self.count(key))))
        return self.numbers

    @rule(consumer=consumes(consumers))
    def leave(self, consumer):
        if any(one == consumer for one, _ in self.unsent):  # its own connection's words stay in order
            self.send(next(at for at, (one, _) in enumerate(self.unsent) if one == consumer))
        key = self.alive.pop(consumer)
        self.confirmed.discard(consumer)
        self.unsent.append((consumer, Attendance(PATTERNS[key], self.count(key))))

    @rule(which=st.integers(0, 3))
    def some_event_is_sent(self, which):
        if self.unsent:
            self.send(which % len(self.unsent))

    # us, as bridge.lookout does it

    @rule()
    def call_roll(self):
        if self.pending is not None:
            self.subscriptions.remove(self.pending)
        self.pending = object()
        self.doubt = Doubt.NONE
        self.presence.begin()
        self.subscriptions.append(self.pending)
        answers = [Attendance(PATTERNS[key], self.count(key)) for key in self.alive.values()]
        self.stream += [(self.pending, answer) for answer in (BEACON, *answers)]
        self.stream.append((self.pending, None))

    @rule(number=st.integers(1, 5))
    def some_words_arrive(self, number):
        for _ in range(min(number, len(self.stream))):
            subscription, word = self.stream.pop(0)
            if word is not None and subscription is self.heeded:
                self.doubt = max(self.doubt, self.presence.event(word))
            elif word is not None and subscription is self.pending:
                self.presence.heard(word)
            elif word is None and subscription is self.pending:
                if self.heeded is not None:
                    self.subscriptions.remove(self.heeded)
                self.heeded, self.pending = self.pending, None
                self.doubt = max(self.doubt, self.presence.finish())

    @initialize()
    def all_is_known(self):
        self.call_roll()
        self.some_words_arrive(len(self.stream))

    @rule(rarely=st.integers(0, 9))
    def the_connection_is_lost(self, rarely):
        if rarely:
            return
        self.stream.clear()
        self.subscriptions.clear()
        self.heeded = self.pending = None
        self.doubt = Doubt.NONE
        self.presence.forget()

    # what has to hold

    @rule()
    def no_worker_is_overlooked(self):
        """What a call does that finds nobody: it lets all arrive that was said before."""
        self.some_words_arrive(len(self.stream))
        for queue in self.presence.queues.values():
            if queue.listeners == 0 and queue.sure:
                overlooked = [c for c in self.confirmed if Attendance(PATTERNS[self.alive[c]], 0).covers(queue.name)]
                assert not overlooked

    @rule()
    def in_the_end_all_is_right(self):
        while self.unsent:
            self.send(random.randrange(len(self.unsent)))
        self.some_words_arrive(len(self.stream))
        if self.heeded is None:
            self.call_roll()
            self.some_words_arrive(len(self.stream))
        for _ in range(4):
            if self.doubt is not Doubt.NONE:
                self.call_roll()
                self.some_words_arrive(len(self.stream))
        assert self.doubt is Doubt.NONE
        for queue in self.presence.queues.values():
            there = [key for key in self.alive.values() if Attendance(PATTERNS[key], 0).covers(queue.name)]
            assert queue.listeners == len(there), queue
            assert queue.sure is (not there)

    @invariant()
    def a_zero_is_sure_or_in_doubt(self):
        for queue in self.presence.queues.values():
            if queue.listeners == 0 and not queue.sure:
                assert self.doubt is Doubt.NOW or self.pending is not None


Mixed.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestMixed = Mixed.TestCase


@pytest.mark.parametrize("seed", range(20))
def test_on_long_random_walks(seed):
    """Hypothesis finds short ways to a fault; some need a long one that looks like nothing in particular."""
    chance = random.Random(seed)
    broker = Mixed()
    broker.all_is_known()
    for _ in range(3_000):
        step = chance.random()
        if step < 0.2:
            broker.join(chance.choice(["q", "q", "q", "other", "q.>", "both"]))
        elif step < 0.45 and broker.alive:
            broker.leave(chance.choice(list(broker.alive)))
        elif step < 0.7:
            broker.some_event_is_sent(chance.randrange(4))
        elif step < 0.85:
            broker.some_words_arrive(chance.randint(1, 5))
        elif step < 0.9 or (broker.doubt is not Doubt.NONE and broker.pending is None):
            broker.call_roll()
        elif step < 0.95:
            broker.no_worker_is_overlooked()
        elif step < 0.97:
            broker.in_the_end_all_is_right()
        else:
            broker.the_connection_is_lost(0)
        broker.a_zero_is_sure_or_in_doubt()
