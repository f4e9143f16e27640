"""What a store promises of events, on each database."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from bridge.jobs.model import Rules, State, Wanted
from bridge.jobs.notices import Place
from bridge.jobs.results import CANCELLED
from bridge.jobs.sql import migrate
from bridge.jobs.sql.reading import PAGE_BYTES
from bridge.jobs.trail import KEPT, MOST_EARLY, OVERHEAD, SLACK, Notice, Trail
from tests.bridge.jobs.make import DAY, DONE, FAILED, NOW, REFUSED, becomes, new_job
from tests.bridge.jobs.test_trouble import on_connection

ASKED = Rules(1_000, (), ("started", "progress", "chunk"), True)


async def made(store, **job):
    new = new_job(**{"rules": ASKED, **job})
    assert await store.create(new, NOW) is None
    return new.job.id


def notice(kind, sequence=None, data=b"1", attempt=1):
    return Notice(kind, attempt, sequence, data)


async def tell(store, job_id, *args, **options):
    job, place = await store.tell(job_id, notice(*args, **options), NOW)
    return job, place


async def all_events(store, job_id, after=0):
    found = []
    while events := (await store.events(job_id, after)).events:
        found += events
        after = events[-1].number
    return [(event.number, event.kind, event.data) for event in found]


async def test_events_come_back_in_their_order_and_the_job_knows_of_them(store):
    job_id = await made(store)
    await tell(store, job_id, "started", 0, b"")
    await tell(store, job_id, "progress", 1, b'{"percent":50}')
    await tell(store, job_id, "chunk", 2, '"\\u0000ü"'.encode())
    assert await all_events(store, job_id) == [
        (1, "started", b'{"attempt":1}'),
        (2, "progress", b'{"percent":50}'),
        (3, "chunk", '"\\u0000ü"'.encode()),
    ]
    assert [number for number, _, _ in await all_events(store, job_id, 2)] == [3]
    job = await store.get(job_id)
    assert (job.state, job.attempts, job.started_ms, job.progress) == (State.RUNNING, 1, NOW, b'{"percent":50}')
    assert (job.trail.last, job.trail.sequence, job.rules) == (3, 2, ASKED)
    assert await store.heads([job_id, "0" * 32]) == {job_id: (3, False)}


async def test_what_a_worker_says_shows_that_its_message_was_sent(store):
    job_id = await made(store, id="5" * 32)
    await tell(store, job_id, "started", 0, b"")
    assert await store.claim("other", (), NOW + DAY, NOW + DAY, others=True) == []
    assert (await store.get(job_id)).sent_ms == NOW


async def test_of_progress_within_one_transaction_the_last_is_kept(store):
    job_id = await made(store)
    await asyncio.gather(*(store.tell(job_id, notice("progress", at, b"%d" % at), NOW) for at in range(1, 51)))
    found = await all_events(store, job_id)
    assert found[0] == (1, "started", b'{"attempt":1}')
    assert found[-1][2] == b"50"
    assert len(found) < 50
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert (await store.get(job_id)).progress == b"50"


async def test_no_part_is_taken_for_progress(store):
    job_id = await made(store)
    kinds = ["progress", "progress", "chunk", "chunk", "progress", "chunk"]
    await asyncio.gather(*(store.tell(job_id, notice(kind, at, b"%d" % at), NOW) for at, kind in enumerate(kinds, 1)))
    found = [data for _, kind, data in await all_events(store, job_id) if kind == "chunk"]
    assert found == [b"3", b"4", b"6"]


async def test_two_bridges_that_have_a_jobs_words_in_any_order_put_them_right(open_store):
    stores = [await open_store(), await open_store()]
    job_id = await made(stores[0])
    order = list(range(1, 61))
    random.Random(7).shuffle(order)
    for start in range(0, 60, 6):
        told = [stores[at % 2].tell(job_id, notice("chunk", at, b"%d" % at), NOW) for at in order[start : start + 6]]
        assert Place.STALE not in [place for _, place in await asyncio.gather(*told)]
    found = await all_events(stores[1], job_id)
    assert [data for _, _, data in found] == [b'{"attempt":1}', *(b"%d" % at for at in range(1, 61))]
    assert [number for number, _, _ in found] == list(range(1, 62))
    assert (await stores[0].get(job_id)).trail.early == 0


async def test_what_comes_again_is_not_kept_again(store):
    job_id = await made(store)
    await tell(store, job_id, "chunk", 1)
    assert (await tell(store, job_id, "chunk", 1))[1] is Place.STALE
    for _ in range(2):
        assert (await tell(store, job_id, "chunk", 3))[1] is Place.EARLY
    assert [number for number, _, _ in await all_events(store, job_id)] == [1, 2]
    assert await store.stuck(NOW - 1) == []
    assert await store.stuck(NOW) == [job_id]
    assert (await store.pass_over(job_id, NOW + 5))[1] is Place.NEXT
    assert (await store.pass_over(job_id, NOW + 5))[1] is Place.STALE
    assert await store.stuck(NOW + DAY) == []
    assert (await tell(store, job_id, "chunk", 2))[1] is Place.STALE
    assert [number for number, _, _ in await all_events(store, job_id)] == [1, 2, 4]


async def test_the_time_of_a_gap_begins_with_that_gap(store):
    job_id = await made(store)
    for at, sequence in enumerate((3, 5, 1, 2)):
        await store.tell(job_id, notice("chunk", sequence), NOW + at)
    assert (await store.get(job_id)).trail.early == 1
    assert await store.stuck(NOW + 2) == []
    assert await store.stuck(NOW + 3) == [job_id]


async def test_words_of_an_attempt_that_is_over_wait_no_longer(store):
    job_id = await made(store)
    await tell(store, job_id, "chunk", 5, attempt=1)
    await tell(store, job_id, "chunk", 2, b"22", attempt=2)
    await tell(store, job_id, "chunk", 1, b"21", attempt=2)
    found = [data for _, kind, data in await all_events(store, job_id) if kind == "chunk"]
    assert found == [b"21", b"22"]
    assert (await store.get(job_id)).trail.early == 0


async def test_what_waits_for_its_turn_is_bounded(store):
    job_id = await made(store)
    told = [store.tell(job_id, notice("chunk", at, b"%d" % at), NOW) for at in range(2, MOST_EARLY + 2)]
    assert {place for _, place in await asyncio.gather(*told)} == {Place.EARLY}
    assert (await store.get(job_id)).trail.early == MOST_EARLY
    await tell(store, job_id, "chunk", MOST_EARLY + 2)
    assert (await store.get(job_id)).trail.early == 0
    assert len(await all_events(store, job_id)) == MOST_EARLY + 2


async def test_what_waits_at_the_end_was_said_before_it(store):
    job_id = await made(store)
    await tell(store, job_id, "chunk", 3)
    await store.settle(job_id, becomes(DONE), NOW)
    job = await store.get(job_id)
    assert (job.state, job.trail.last, job.trail.early) == (State.DONE, 3, 0)
    assert [number for number, _, _ in await all_events(store, job_id)] == [1, 3]


@pytest.mark.parametrize("settlement", [DONE, FAILED, CANCELLED])
async def test_nothing_is_kept_after_the_end_not_even_within_its_transaction(store, settlement):
    job_id = await made(store)
    told = [
        store.tell(job_id, notice("chunk", data=b"1"), NOW),
        store.settle(job_id, becomes(settlement), NOW),
        store.tell(job_id, notice("chunk", data=b"2"), NOW),
    ]
    await asyncio.gather(*told)
    assert (await told[2])[1] is Place.STALE
    assert [data for _, kind, data in await all_events(store, job_id) if kind == "chunk"] == [b"1"]
    job = await store.get(job_id)
    assert (job.state, job.trail.last, job.attempts) == (settlement.state, 2, 1)


async def test_what_was_not_asked_for_is_not_kept(store):
    job_id = await made(store, rules=Rules(1_000, (), ("started",)))
    assert (await tell(store, job_id, "chunk"))[1] is Place.STALE
    assert (await tell(store, job_id, "started"))[1] is Place.NEXT
    job_id = await made(store, rules=Rules(1_000, ()))
    assert (await tell(store, job_id, "started"))[1] is Place.STALE
    assert (await store.tell("0" * 32, notice("started"), NOW)) == (None, Place.STALE)


async def test_the_latest_mebibyte_is_kept_and_the_rest_thrown_away(store):
    job_id = await made(store)
    data = b"x" * (64 * 1024)
    number = (KEPT + SLACK) // (len(data) + OVERHEAD) + 5
    for at in range(1, number + 1):
        await tell(store, job_id, "chunk" if at < 4 else "progress", at, data)
    page = await store.events(job_id, 0)
    kept = await all_events(store, job_id)
    assert sum(len(one) + OVERHEAD for _, _, one in kept) <= KEPT + SLACK
    assert sum(len(one) + OVERHEAD for _, _, one in kept) >= KEPT
    assert kept[-1][0] == page.job.trail.last == number + 1
    assert page.job.trail.size == sum(len(one) + OVERHEAD for _, _, one in kept)
    assert page.lost_chunk == 4  # `started` was the first; progress that is lost does not count


async def test_a_page_is_bounded(store):
    job_id = await made(store)
    for at in range(1, 9):
        await tell(store, job_id, "chunk", at, b"x" * 60_000)
    page = await store.events(job_id, 0)
    assert sum(event.size for event in page.events) <= PAGE_BYTES
    assert len(await all_events(store, job_id)) == 9
    await tell(store, job_id, "chunk", 9, b"x" * (PAGE_BYTES + 1))
    assert [event.number for event in (await store.events(job_id, 9)).events] == [10]


async def test_events_go_with_the_result(store):
    job_id = await made(store)
    await tell(store, job_id, "progress", 1)
    await store.settle(job_id, becomes(DONE), NOW)
    assert await store.clean(NOW + DAY - 1) == 0
    assert len(await all_events(store, job_id)) == 2
    await store.clean(NOW + DAY)
    assert await all_events(store, job_id) == []
    assert (await store.get(job_id)).progress is None


async def test_a_store_of_the_version_before_is_upgraded_with_its_jobs(open_store, url):
    await on_connection(url, to_first_version)
    await on_connection(url, lambda connection: connection.execute(text(OLD_JOB)))
    store = await open_store()
    job = await store.get("a" * 32)
    assert (job.state, job.route, job.rules) == (State.QUEUED, "echo", Rules(1_000, (("http_header_etag", "etag"),)))
    assert (job.trail, job.progress) == (Trail(), None)
    assert (await tell(store, job.id, "started"))[1] is Place.STALE  # its worker was not asked
    assert (await store.settle(job.id, becomes(DONE), NOW))[1]


async def test_an_upgrade_that_was_cut_off_is_finished(open_store, url):
    """MySQL commits each step of it by itself."""
    await on_connection(url, to_first_version)
    await on_connection(
        url, lambda connection: connection.execute(text("ALTER TABLE jobs ADD lost_chunk INTEGER DEFAULT 0 NOT NULL"))
    )
    store = await open_store()
    job_id = await made(store)
    await tell(store, job_id, "chunk", 1)
    assert len(await all_events(store, job_id)) == 2


async def test_the_making_of_a_store_that_was_cut_off_is_finished(open_store, url):
    await on_connection(
        url,
        lambda connection: connection.execute(
            text("CREATE TABLE meta (name VARCHAR(64) NOT NULL PRIMARY KEY, value VARCHAR(255) NOT NULL)")
        ),
    )
    store = await open_store()
    assert len(store.id) == 16
    assert (await store.get(await made(store))) is not None


OLD_JOB = (
    "INSERT INTO jobs (id, caller, route, state, path, rules, created_ms, deadline_ms, retention_ms, attempts, queue,"
    f" priority, is_text) VALUES ('{'a' * 32}', '.', 'echo', 'queued', '/echo',"
    f" '[1000, [[\"http_header_etag\", \"etag\"]]]', {NOW}, {NOW + DAY}, {DAY}, 0, 'echo', 4, 1)"
)


def to_first_version(connection):
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


# -- for the operator


async def test_jobs_are_listed_newest_first_in_pages(store):
    ids = [await made(store, id=f"{at:032x}", created_ms=NOW + at // 2) for at in range(7)]
    found, before = [], None
    while page := await store.browse(Wanted(limit=3, before=before), NOW):
        assert len(page) <= 3
        found += [job.id for job in page]
        before = (page[-1].created_ms, page[-1].id)
    assert found == ids[::-1]


async def test_jobs_are_listed_by_state_and_route(store):
    one = await made(store, route="a")
    other = await made(store, route="b")
    over = await made(store, route="b")
    refused = await made(store, route="b")
    await store.settle(over, becomes(DONE), NOW)
    await store.settle(refused, becomes(REFUSED), NOW)

    async def ids(now_ms=NOW, **wanted):
        return {job.id for job in await store.browse(Wanted(limit=10, **wanted), now_ms)}

    assert await ids() == {one, other, over}
    assert await ids(route="b") == {other, over}
    assert await ids(state=State.DONE) == {over}
    assert await ids(state=State.QUEUED, route="b") == {other}
    assert await ids(now_ms=NOW + DAY, route="b") == {other}  # the result of the other is gone


async def test_the_timeline_of_a_job_has_its_events_without_their_data(store):
    job_id = await made(store)
    await tell(store, job_id, "started", 0, b"")
    await tell(store, job_id, "chunk", 1, b"12345")
    job, steps = await store.timeline(job_id)
    assert job == await store.get(job_id)
    assert [(step.number, step.kind, step.at_ms, step.size) for step in steps] == [
        (1, "started", NOW, 13),
        (2, "chunk", NOW, 5),
    ]
    assert await store.timeline("0" * 32) is None
