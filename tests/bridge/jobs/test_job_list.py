"""`/-/api/jobs`: what the operator sees of jobs."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import pytest_asyncio

from bridge.settings import Admin, Route
from tests.bridge.harness import NO_STORE, running, settings_for
from tests.bridge.jobs.world import TIME, a_world, key
from tests.bridge.test_status import DIGEST, KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker, queue):
    async with a_world(broker, queue, admin=Admin(key_sha256=DIGEST)) as made:
        yield made


async def get(world, target, *, as_admin=True, bridge=None):
    headers = (("Authorization", f"Bearer {KEY}"),) if as_admin else ()
    return await (bridge or world.bridge).call(f"/-/api/jobs{target}", None, method="GET", headers=headers)


async def page(world, query=""):
    response = await get(world, query)
    assert (response.status, response.get("cache-control")) == (200, "no-store"), response
    return json.loads(response.body)


async def test_jobs_are_listed_newest_first_and_page_by_page(world):
    made = [(await world.accepted("/always")).rpartition("/")[2] for _ in range(5)]
    found, query = [], "?limit=2&route=always"
    while True:
        part = await page(world, query)
        found += [job["id"] for job in part["jobs"]]
        if part["next"] is None:
            break
        query = f"?limit=2&route=always&before={part['next']}"
    assert sorted(found[:5]) == sorted(made)
    (job,) = (await page(world, "?limit=1&route=always"))["jobs"]
    assert list(job) == [
        "id", "route", "caller", "state", "created", "sent", "started", "finished", "deadline", "kept_until",
        "attempts", "keyed",
    ]  # fmt: skip
    assert (job["route"], job["caller"], job["state"], job["keyed"]) == ("always", None, "queued", False)
    assert TIME.fullmatch(job["created"])
    assert TIME.fullmatch(job["deadline"])


async def test_jobs_are_listed_by_their_state(world):
    location, _ = await world.finished()
    job_id = location.rpartition("/")[2]
    assert job_id in [job["id"] for job in (await page(world, "?state=done"))["jobs"]]
    assert job_id not in [job["id"] for job in (await page(world, "?state=queued"))["jobs"]]
    assert (await page(world, "?state=done&route=always"))["jobs"] == []
    assert (await page(world, "?route=nobodys")) == {"jobs": [], "next": None}


async def test_one_job_has_its_timeline_and_nothing_of_what_is_in_it(world):
    calling = world.begin("/parts", b"the secret body", key("its-key"))
    request = await world.request("parts")
    await world.tell(request, "progress", b'"secret progress"', attempt="1", sequence="1")
    await world.worker.reply(request, b"the secret answer", http_status="201", attempt="1", sequence="2")
    await calling
    response = await get(world, f"/{request.get('correlation-id')}")
    job = json.loads(response.body)
    assert (job["state"], job["status"], job["problem"], job["path"], job["keyed"]) == (
        "done", 201, None, "/parts", True,
    )  # fmt: skip
    steps = [(step["what"], step.get("id"), step.get("bytes")) for step in job["timeline"]]
    assert steps == [
        ("created", None, None), ("sent", None, None), ("started", 1, 13), ("progress", 2, 17), ("done", 3, None),
    ]  # fmt: skip
    assert all(TIME.fullmatch(step["at"]) for step in job["timeline"])
    assert b"secret" not in response.body
    assert b"its-key" not in response.body


async def test_a_failed_job_names_its_problem(world):
    location, _ = await world.finished(problem="worker-failed")
    job = json.loads((await get(world, f"/{location.rpartition('/')[2]}")).body)
    assert (job["state"], job["status"], job["problem"]) == ("failed", None, "worker-failed")


@pytest.mark.parametrize("target", ["", "/" + "0" * 32])
async def test_it_needs_the_admin_key(world, target):
    response = await get(world, target, as_admin=False)
    assert (response.status, response.name) == (401, "unauthenticated")


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "A" * 32])
async def test_the_id_of_no_job(world, job_id):
    response = await get(world, f"/{job_id}")
    assert (response.status, response.name) == (404, "no-job")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=-1", "limit=", "limit=\u0661", "state=refused", "state=", "before=1",
     "before=1-x", "before=", "limit=1&limit=2", "states=done", "order=asc"],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused(world, query):
    response = await get(world, "?" + quote(query, safe="=&"))
    assert (response.status, response.name, response.problem["field"]) == (400, "invalid-request", "target")


@pytest.mark.parametrize("limit", [1, 200])
async def test_the_limits_of_the_limit(world, limit):
    assert len((await page(world, f"?limit={limit}"))["jobs"]) <= limit


async def test_without_a_store_it_says_so(world, broker, queue):
    settings = settings_for(broker, [Route(name="a", path="/a", queue=queue("a"))], store=NO_STORE)
    settings = settings.model_copy(update={"admin": Admin(key_sha256=DIGEST)})
    async with running(settings, "uvicorn") as bridge:
        for target in ("", "/" + "0" * 32):
            response = await get(world, target, bridge=bridge)
            assert (response.status, response.name) == (503, "store-unavailable")
