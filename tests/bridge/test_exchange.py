"""The heart: each held call has exactly one outcome, its own, and then nothing of it is kept."""

from __future__ import annotations

import asyncio

import pytest

from activemq.errors import ServerError
from bridge.exchange import WATCH_AFTER, End, Exchange, Refused
from bridge.wheel import Wheel

NOW = 1_000.0


@pytest.fixture
def exchange():
    wheel = Wheel()
    wheel.advance(NOW)
    exchange = Exchange(wheel)
    yield exchange
    assert len(exchange) == 0
    assert len(exchange.wheel) == 0


def opened(exchange, *, deadline=NOW + 30, confirm_by=NOW + 5, watch=None):
    return exchange.open(exchange.new_id(), NOW, deadline, confirm_by, watch)


# -- ids


async def test_ids_are_32_lower_case_hex_digits_and_all_different(exchange):
    ids = [exchange.new_id() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)


async def test_ids_do_not_overlap(exchange):
    ids = [exchange.new_id() for _ in range(200)]
    halves = [one[at : at + 16] for one in ids for at in (0, 16)]
    assert len(set(halves)) == len(halves)


# -- one outcome


async def test_a_reply_is_the_outcome_of_its_own_call(exchange):
    first, second = opened(exchange), opened(exchange)
    assert exchange.reply(second.correlation_id, "for the second")
    assert exchange.reply(first.correlation_id, "for the first")
    assert (await first.outcome, await second.outcome) == ("for the first", "for the second")
    exchange.close(first)
    exchange.close(second)
    assert exchange.counts.answered == 2


OUTCOMES = {
    "reply": lambda exchange, held: exchange.reply(held.correlation_id, "late"),
    "end": lambda exchange, held: exchange.end(held.correlation_id, End.BROKER_LOST),
    "end_all": lambda exchange, held: exchange.end_all(End.BROKER_LOST),
    "refused": lambda exchange, held: exchange.end(held.correlation_id, Refused(ServerError("no"))),
    "caller": lambda exchange, held: held.end(End.CALLER_GONE),
    "deadline": lambda exchange, held: held.due(held.deadline),
}


@pytest.mark.parametrize("second", OUTCOMES)
@pytest.mark.parametrize("first", OUTCOMES)
async def test_the_first_outcome_stays(exchange, first, second):
    held = opened(exchange)
    OUTCOMES[first](exchange, held)
    outcome = held.outcome.result()
    OUTCOMES[second](exchange, held)
    assert held.outcome.result() is outcome
    exchange.close(held)


async def test_a_thousand_replies_to_one_id_are_one_answer_and_999_strays(exchange):
    held = opened(exchange)
    taken = [exchange.reply(held.correlation_id, number) for number in range(1_000)]
    assert taken == [True] + [False] * 999
    assert await held.outcome == 0
    assert (exchange.counts.answered, exchange.counts.stray_replies) == (1, 999)
    exchange.close(held)


@pytest.mark.parametrize("correlation_id", ["", "0" * 32, "not an id", "\0"])
async def test_a_reply_to_an_unknown_id_is_counted_and_dropped(exchange, correlation_id):
    held = opened(exchange)
    assert not exchange.reply(correlation_id, "whose?")
    assert not held.outcome.done()
    assert exchange.counts.stray_replies == 1
    exchange.close(held)


async def test_an_id_is_used_up_when_its_call_is_closed(exchange):
    held = opened(exchange)
    exchange.close(held)
    assert not exchange.reply(held.correlation_id, "late")
    assert not held.outcome.done()
    assert exchange.counts.stray_replies == 1


async def test_an_id_in_another_spelling_is_another_id(exchange):
    held = exchange.open("ab" * 16, NOW, NOW + 30, NOW + 5)
    assert not exchange.reply("AB" * 16, "x")
    assert not exchange.reply("ab" * 16 + " ", "x")
    assert not held.outcome.done()
    exchange.close(held)


async def test_all_calls_can_be_ended_at_once(exchange):
    calls = [opened(exchange) for _ in range(100)]
    exchange.reply(calls[0].correlation_id, "in time")
    assert exchange.end_all(End.BROKER_LOST) == 99
    assert exchange.end_all(End.BROKER_LOST) == 0
    assert calls[0].outcome.result() == "in time"
    assert {held.outcome.result() for held in calls[1:]} == {End.BROKER_LOST}
    for held in calls:
        exchange.close(held)


async def test_ending_or_confirming_an_unknown_call_does_nothing(exchange):
    exchange.end("0" * 32, End.BROKER_LOST)
    exchange.confirm("0" * 32)
    assert exchange.counts.ended == 0


async def test_closing_twice_does_no_harm_and_other_calls_stay(exchange):
    held, other = opened(exchange), opened(exchange)
    exchange.close(held)
    exchange.close(held)
    assert len(exchange) == 1
    exchange.close(other)


async def test_a_cancelled_waiter_can_be_ended_and_closed(exchange):
    held = opened(exchange)
    held.outcome.cancel()
    assert not exchange.reply(held.correlation_id, "x")
    assert exchange.end_all(End.BROKER_LOST) == 0
    exchange.close(held)


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_every_call_that_is_opened_is_counted_as_answered_or_ended(exchange, outcome):
    held = opened(exchange)
    OUTCOMES[outcome](exchange, held)
    exchange.close(held)
    counts = exchange.counts
    assert (counts.opened, counts.answered + counts.ended, counts.stray_replies) == (1, 1, 0)


# -- time


async def test_a_call_ends_at_its_deadline_and_not_before(exchange):
    held = opened(exchange, deadline=NOW + 1, confirm_by=NOW + 60)
    for step in range(20):
        exchange.wheel.advance(NOW + step * 0.05)
        assert not held.outcome.done()
    exchange.wheel.advance(NOW + 1.05)
    assert held.outcome.result() is End.DEADLINE
    exchange.close(held)


async def test_a_deadline_before_the_first_look_is_kept(exchange):
    held = opened(exchange, deadline=NOW + WATCH_AFTER / 2)
    exchange.wheel.advance(NOW + WATCH_AFTER / 2 + 0.05)
    assert held.outcome.result() is End.DEADLINE
    exchange.close(held)


async def test_without_the_brokers_receipt_it_ends_when_the_time_for_that_is_over(exchange):
    held = opened(exchange, confirm_by=NOW + 5)
    exchange.wheel.advance(NOW + 0.2)
    exchange.wheel.advance(NOW + 4.9)
    assert not held.outcome.done()
    exchange.wheel.advance(NOW + 5.1)
    assert held.outcome.result() is End.UNCONFIRMED
    exchange.close(held)


@pytest.mark.parametrize("confirmed_at", [NOW + 0.01, NOW + 3])
async def test_with_the_receipt_it_goes_on_to_its_deadline(exchange, confirmed_at):
    held = opened(exchange, deadline=NOW + 30, confirm_by=NOW + 5)
    exchange.wheel.advance(confirmed_at)
    exchange.confirm(held.correlation_id)
    for now in (NOW + 4, NOW + 5.1, NOW + 29.9):
        exchange.wheel.advance(now)
        assert not held.outcome.done()
    exchange.wheel.advance(NOW + 30.1)
    assert held.outcome.result() is End.DEADLINE
    exchange.close(held)


@pytest.mark.parametrize(("now", "outcome"), [(NOW + 5, End.UNCONFIRMED), (NOW + 30, End.DEADLINE)])
async def test_a_time_is_over_when_it_has_come(exchange, now, outcome):
    held = opened(exchange, deadline=NOW + 30, confirm_by=NOW + 5 if outcome is End.UNCONFIRMED else NOW + 60)
    for at in (now - 0.001, now):
        assert not held.outcome.done()
        exchange.wheel.drop(held)  # as the wheel does before it tells
        held.due(at)
    assert held.outcome.result() is outcome
    exchange.close(held)


async def test_if_both_times_are_over_it_is_the_deadline(exchange):
    held = opened(exchange, deadline=NOW + 1, confirm_by=NOW + 1)
    exchange.wheel.advance(NOW + 2)
    assert held.outcome.result() is End.DEADLINE
    exchange.close(held)


async def test_the_caller_is_watched_once_and_only_if_the_call_is_not_over_soon(exchange):
    watched = []
    quick, slow = opened(exchange, watch=watched.append), opened(exchange, watch=watched.append)
    exchange.reply(quick.correlation_id, "at once")
    exchange.close(quick)
    for step in range(100):
        exchange.wheel.advance(NOW + step * 0.1)
    assert watched == [slow]
    exchange.close(slow)


async def test_nothing_of_thousands_of_calls_is_kept(exchange):
    calls = [opened(exchange, deadline=NOW + 1 + number % 50) for number in range(5_000)]
    assert (len(exchange), len(exchange.wheel)) == (5_000, 5_000)
    for held in calls[::2]:
        exchange.reply(held.correlation_id, held.correlation_id)
    exchange.wheel.advance(NOW + 60)
    assert all(held.outcome.result() == held.correlation_id for held in calls[::2])
    assert all(held.outcome.result() is End.DEADLINE for held in calls[1::2])
    for held in calls:
        exchange.close(held)


async def test_calls_in_tasks_that_are_cancelled_leave_nothing(exchange):
    async def call():
        held = opened(exchange)
        try:
            await held.outcome
        finally:
            exchange.close(held)

    tasks = [asyncio.create_task(call()) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(exchange) == 100
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(exchange) == 0
