"""What a store of jobs promises, on each database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bridge.jobs.model import GONE_FOR_MS, REFUSED_FOR_MS, Failure, Reply, Request, Settlement, State
from bridge.jobs.results import CANCELLED, expired
from tests.bridge.jobs.make import DAY, DONE, FAILED, HOUR, NOW, REFUSED, becomes, keyed, new_job

MIB = 1 << 20
EXPIRED = expired(new_job().job)


async def made(store, new=None):
    new = new or new_job()
    assert await store.create(new, NOW) is None
    return new.job.id


# -- creating


async def test_a_job_comes_back_as_it_was_made(store):
    new = keyed(caller="shop", route="a.b", path="/x/%20?", started_ms=None)
    await made(store, new)
    assert await store.get(new.job.id) == new.job


async def test_a_job_that_is_not_there_is_none(store):
    assert await store.get("0" * 32) is None
    assert await store.by_key("", "echo", "0" * 64) is None
    assert await store.settle("0" * 32, becomes(DONE), NOW) == (None, False)


async def test_many_jobs_at_once(store):
    jobs = [new_job() for _ in range(500)]
    assert set(await asyncio.gather(*(store.create(new, NOW) for new in jobs))) == {None}
    assert await store.count() == 500


@pytest.mark.parametrize(
    "name", ["a'b\"c\\", "ü😀", "A", "a ", "x" * 255], ids=["quotes", "not ascii", "A", "space", "long"]
)
async def test_callers_are_told_apart_by_every_letter(store, name):
    await made(store, keyed(caller=name))
    await made(store, keyed(caller="a"))
    found = await store.by_key(name, "echo", keyed().job.key.sha256)
    assert found.caller == name


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3 * MIB])
async def test_bodies_of_any_size_and_bytes(store, size):
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    new = new_job(lease_ms=NOW, request=Request("echo", 9, (("a", "ü\n\0:"),), body, text=True))
    await made(store, new)
    (unsent,) = await store.claim("other", (), NOW + 1, NOW + 2, others=True)
    assert unsent.request == new.request
    answer = Reply(299, (("content-type", "a/ü"), ("etag", '"1"')), body)
    await store.settle(new.job.id, becomes(Settlement(State.DONE, answer)), NOW)
    assert (await store.get(new.job.id)).answer == answer


# -- keys


async def test_a_key_has_one_job_for_each_caller_and_route(store):
    first = keyed()
    await made(store, first)
    assert (await store.create(keyed(), NOW)).id == first.job.id
    for other in (keyed(caller="x"), keyed(route="y"), keyed(key=b"z")):
        await made(store, other)
    assert await store.count() == 4


async def test_two_hundred_with_one_key_at_two_bridges_make_one_job(open_store):
    stores = [await open_store(), await open_store()]
    jobs = [keyed() for _ in range(200)]
    found = await asyncio.gather(*(stores[n % 2].create(new, NOW) for n, new in enumerate(jobs)))
    assert found.count(None) == 1
    winner = jobs[found.index(None)].job.id
    assert {job.id for job in found if job is not None} == {winner}
    assert await stores[0].count() == 1


async def test_jobs_with_and_without_a_key_in_one_batch(store):
    first = keyed(b"one")
    news = [first, new_job(), keyed(b"one"), new_job(), keyed(b"two")]
    found = await asyncio.gather(*(store.create(new, NOW) for new in news))
    assert [job and job.id for job in found] == [None, None, first.job.id, None, None] or found.count(None) == 4


async def test_a_key_is_found_with_the_answer_of_its_job(store):
    new = keyed()
    await made(store, new)
    await store.settle(new.job.id, becomes(DONE), NOW)
    found = await store.create(keyed(), NOW)
    assert (found.id, found.state, found.answer) == (new.job.id, State.DONE, DONE.answer)
    assert found == await store.by_key("", "echo", new.job.key.sha256)


@pytest.mark.parametrize("settlement", [DONE, FAILED, EXPIRED, CANCELLED])
async def test_what_ran_or_may_have_run_keeps_its_key(store, settlement):
    new = keyed()
    await made(store, new)
    await store.settle(new.job.id, becomes(settlement), NOW)
    assert (await store.create(keyed(), NOW)).id == new.job.id


async def test_what_ran_nothing_frees_its_key(store):
    new = keyed()
    await made(store, new)
    await store.settle(new.job.id, becomes(REFUSED), NOW)
    assert await store.create(keyed(), NOW) is None


async def test_a_key_is_free_when_the_retention_is_over_also_before_anybody_cleans(store):
    new = keyed()
    await made(store, new)
    await store.settle(new.job.id, becomes(DONE), NOW)
    assert (await store.create(keyed(), NOW + DAY - 1)).id == new.job.id
    again = keyed()
    assert await store.create(again, NOW + DAY) is None
    assert (await store.create(keyed(), NOW + DAY)).id == again.job.id
    assert (await store.get(new.job.id)).key is None


# -- transitions


@pytest.mark.parametrize("settlement", [DONE, FAILED, EXPIRED, CANCELLED, REFUSED], ids=lambda one: one.state.value)
async def test_the_first_final_state_wins(store, settlement):
    job_id = await made(store)
    job, changed = await store.settle(job_id, becomes(settlement), NOW + 5)
    assert changed
    assert (job.state, job.finished_ms, job.answer) == (settlement.state, NOW + 5, settlement.answer)
    assert await store.get(job_id) == replace(job, sent_ms=NOW + 5)
    for other in (DONE, FAILED, EXPIRED, CANCELLED, REFUSED):
        after, changed = await store.settle(job_id, becomes(other), NOW + 9)
        assert (changed, after.state, after.finished_ms) == (False, settlement.state, NOW + 5)


async def test_of_a_hundred_ends_at_two_bridges_one_wins(open_store):
    one, two = await open_store(), await open_store()
    job_id = await made(one)
    answers = [Settlement(State.DONE, Reply(200, (), b"%d" % n)) for n in range(100)]
    settling = [(one, two)[n % 2].settle(job_id, becomes(answer), NOW) for n, answer in enumerate(answers)]
    outcomes = await asyncio.gather(*settling)
    winners = [job for job, changed in outcomes if changed]
    assert len(winners) == 1
    assert (await one.get(job_id)).answer == winners[0].answer


async def test_running_and_then_done(store):
    job_id = await made(store)
    job, changed = await store.settle(job_id, becomes(Settlement(State.RUNNING, attempt=1)), NOW + 1)
    assert (changed, job.state, job.started_ms, job.attempts, job.finished_ms) == (
        True,
        State.RUNNING,
        NOW + 1,
        1,
        None,
    )
    job, _ = await store.settle(job_id, becomes(Settlement(State.RUNNING, attempt=2)), NOW + 2)
    assert (job.started_ms, job.attempts) == (NOW + 1, 2)
    job, _ = await store.settle(job_id, becomes(DONE), NOW + 3)
    assert (job.state, job.attempts) == (State.DONE, 2)


async def test_a_judge_that_fails_costs_only_its_own_job(store):
    from bridge.jobs.store import StoreUnavailableError

    ids = [await made(store) for _ in range(3)]

    def defective(job):
        raise LookupError("a defect")

    judges = [becomes(DONE), defective, becomes(DONE)]
    outcomes = await asyncio.gather(
        *(store.settle(job_id, judge, NOW) for job_id, judge in zip(ids, judges, strict=True)), return_exceptions=True
    )
    assert isinstance(outcomes[1], StoreUnavailableError)
    assert [outcomes[0][1], outcomes[2][1]] == [True, True]


async def test_only_final_jobs_are_told_and_with_their_answers(store):
    ids = [await made(store) for _ in range(3)]
    await store.settle(ids[0], becomes(DONE), NOW)
    await store.settle(ids[1], becomes(Settlement(State.RUNNING)), NOW)
    (job,) = await store.finals([*ids, "0" * 32])
    assert (job.id, job.answer) == (ids[0], DONE.answer)
    assert await store.finals([]) == []


async def test_failures_come_back_whole(store):
    job_id = await made(store)
    failure = Failure("poisoned", "lost ü", "maybe", {"attempts": 3, "errors": [{"pointer": "/a"}]}, "7")
    await store.settle(job_id, becomes(Settlement(State.FAILED, failure)), NOW)
    assert (await store.get(job_id)).answer == failure


# -- sending


async def test_what_was_not_sent_is_claimed_when_its_lease_is_over(store):
    new = new_job(lease_ms=NOW + 10)
    job_id = await made(store, new)
    assert await store.claim("other", (), NOW + 10, NOW + 50, others=True) == []
    (unsent,) = await store.claim("other", (), NOW + 11, NOW + 50, others=True)
    assert (unsent.job.id, unsent.request) == (job_id, new.request)
    assert await store.claim("third", (), NOW + 50, NOW + 90, others=True) == []
    assert len(await store.claim("third", (), NOW + 51, NOW + 90, others=True)) == 1


async def test_a_bridge_may_be_told_to_take_only_its_own_and_never_what_is_busy(store):
    mine = await made(store, new_job("me", NOW))
    await made(store, new_job("other", NOW))
    busy = await made(store, new_job("me", NOW))
    (unsent,) = await store.claim("me", {busy}, NOW + 1, NOW + 50, others=False)
    assert unsent.job.id == mine


async def test_at_most_a_hundred_are_claimed_at_once(store):
    await asyncio.gather(*(store.create(new_job(lease_ms=NOW), NOW) for _ in range(101)))
    assert len(await store.claim("me", (), NOW + 1, NOW + 50, others=True)) == 100
    assert len(await store.claim("me", (), NOW + 1, NOW + 50, others=True)) == 1


async def test_two_bridges_never_claim_the_same(open_store):
    one, two = await open_store(), await open_store()
    await asyncio.gather(*(one.create(new_job(lease_ms=NOW), NOW) for _ in range(150)))
    claims = await asyncio.gather(
        *(s.claim(n, (), NOW + 1, NOW + 50, others=True) for n, s in (("a", one), ("b", two)) * 2)
    )
    ids = [unsent.job.id for claim in claims for unsent in claim]
    assert len(ids) == len(set(ids)) == 150


@pytest.mark.parametrize("settlement", [DONE, CANCELLED, EXPIRED, REFUSED, Settlement(State.RUNNING)])
async def test_what_is_over_or_known_to_run_is_never_sent_again(store, settlement):
    job_id = await made(store, new_job(lease_ms=NOW))
    await store.settle(job_id, becomes(settlement), NOW)
    assert await store.claim("me", (), NOW + 1, NOW + 50, others=True) == []


async def test_what_was_sent_is_not_claimed_and_the_request_is_dropped(store, database):
    job_id = await made(store, new_job(lease_ms=NOW))
    await store.sent(job_id, NOW + 3)
    await store.sent(job_id, NOW + 9)
    assert (await store.get(job_id)).sent_ms == NOW + 3
    assert await store.claim("me", (), NOW + 1, NOW + 50, others=True) == []


# -- time


async def test_open_jobs_whose_deadline_is_over_are_overdue(store):
    late = await made(store, new_job(deadline_ms=NOW + 10))
    later = await made(store, new_job(deadline_ms=NOW + 5))
    over = await made(store, new_job(deadline_ms=NOW + 1))
    await made(store, new_job(deadline_ms=NOW + 11))
    await store.settle(late, becomes(Settlement(State.RUNNING)), NOW)
    await store.settle(over, becomes(DONE), NOW)
    assert set(await store.overdue(NOW + 10)) == {late, later}


async def test_a_finished_job_loses_its_answer_then_is_forgotten(store):
    new = keyed()
    job_id = await made(store, new)
    await store.settle(job_id, becomes(DONE), NOW)
    assert await store.clean(NOW + DAY - 1) == 0
    assert (await store.get(job_id)).answer is not None
    assert await store.clean(NOW + DAY) == 1
    job = await store.get(job_id)
    assert (job.answer, job.key, job.state) == (None, None, State.DONE)
    assert await store.clean(NOW + DAY) == 0
    assert await store.clean(NOW + DAY + GONE_FOR_MS - 1) == 0
    assert await store.clean(NOW + DAY + GONE_FOR_MS) == 1
    assert await store.get(job_id) is None


async def test_a_job_that_nobody_cleaned_for_long_goes_at_once(store):
    job_id = await made(store)
    await store.settle(job_id, becomes(DONE), NOW)
    assert await store.clean(NOW + 30 * DAY) == 1
    assert await store.get(job_id) is None


async def test_a_refused_job_goes_after_a_moment_and_an_open_one_never(store):
    refused, waiting = await made(store), await made(store)
    await store.settle(refused, becomes(REFUSED), NOW)
    await store.clean(NOW + REFUSED_FOR_MS - 1)
    assert await store.get(refused) is not None
    await store.clean(NOW + 1_000 * DAY)
    assert await store.get(refused) is None
    assert await store.get(waiting) is not None


# -- several bridges, and a bridge again


async def test_what_was_written_is_there_for_another_bridge_and_after_a_restart(open_store):
    first = await open_store()
    job_id = await made(first)
    await first.settle(job_id, becomes(DONE), NOW)
    second = await open_store()
    assert second.id == first.id
    assert len(first.id) == 16
    assert (await second.get(job_id)).answer == DONE.answer


async def test_bridges_that_open_a_new_store_at_once_make_one(open_store):
    stores = await asyncio.gather(*(open_store() for _ in range(3)))
    assert len({store.id for store in stores}) == 1


async def test_two_stores_have_two_ids(open_store, tmp_path):
    assert (await open_store()).id != (await open_store(f"sqlite:///{tmp_path}/other.db")).id


async def test_newcomers_are_greeted_by_those_who_are_there(open_store):
    one, two = await open_store(), await open_store()
    assert set(await one.join("one")) == set()
    assert set(await two.join("two")) == {"one"}
    assert set(await two.greeters("two")) == set()
    await one.greet("one")
    await one.greet("one")
    await two.greet("two")
    assert set(await two.greeters("two")) == {"one"}
    await two.settled_in("two")
    assert set(await one.join("three")) == {"one", "two"}
    await two.greet("two")
    assert set(await one.greeters("three")) == {"two"}
    await one.forget_bridges(["two", "three"])
    assert set(await one.greeters("three")) == set()
    assert set(await one.join("four")) == {"one"}


async def test_a_deadline_in_years_and_a_time_in_the_past_fit(store):
    new = new_job(created_ms=0, deadline_ms=NOW + 20 * 365 * DAY, retention_ms=365 * DAY)
    await made(store, new)
    assert (await store.get(new.job.id)).deadline_ms == NOW + 20 * 365 * DAY
    assert await store.overdue(NOW + HOUR) == []
