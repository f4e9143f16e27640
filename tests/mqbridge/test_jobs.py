"""`mqbridge jobs`, at a real bridge with real workers: a caller's own, and all of them for the operator."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.mqbridge.inprocess import demo, run

ADMIN = "admin-key-of-the-operator"
SHOP = "mqb_key-of-the-shop"
SETTINGS = (
    f'[admin]\nkey_sha256 = "{hashlib.sha256(ADMIN.encode()).hexdigest()}"\n'
    f'[[caller]]\nname = "shop"\nkey_sha256 = "{hashlib.sha256(SHOP.encode()).hexdigest()}"\n'
    'routes = ["texts", "batches", "flaky"]\n'
)
ID = "8c1f0d4e2b7a4c55a0e6b1c2d3e4f506"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("MQBRIDGE_KEY", "MQBRIDGE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(tmp_path):
    """Options: the caller's, and the operator's."""
    for name, key in (("shop", SHOP), ("admin", ADMIN)):
        (tmp_path / name).write_text(key + "\n")
    return ["--key-file", tmp_path / "shop"], ["--admin-key-file", tmp_path / "admin"]


async def make(served, keys, path="/batches/2", *options):
    ran = await served.run("send", "--async", "--detach", path, "--json", *keys[0], *options)
    assert ran.code == 0, ran
    return json.loads(ran.out)["id"]


async def test_a_caller_sees_his_job_from_start_to_end(broker, tmp_path, keys):
    async with demo(broker, tmp_path, SETTINGS) as served:
        job_id = await make(served, keys)
        followed = await served.run("jobs", "follow", job_id, *keys[0])
        assert followed.code == 0
        lines = [line.split()[:2] for line in followed.out.splitlines()]
        assert lines == [["1", "started"], ["2", "progress"], ["3", "progress"], ["4", "done"]]
        rest = await served.run("jobs", "follow", job_id, "--after", 2, "--json", *keys[0])
        assert [json.loads(line)["id"] for line in rest.out.splitlines()] == [3, 4]
        shown = await served.run("jobs", "show", job_id, *keys[0])
        assert "state: done" in shown.out.splitlines()
        assert json.loads((await served.run("jobs", "show", job_id, "--json", *keys[0])).out)["state"] == "done"
        result = await served.run("jobs", "result", job_id, "--output", tmp_path / "result", *keys[0])
        assert (result.code, json.loads((tmp_path / "result").read_text())["items"]) == (0, 2)
        late = await served.run("jobs", "cancel", job_id, *keys[0])
        assert (late.code, "is over already" in late.err, "0 cancelled" in late.err) == (1, True, True)


async def test_the_operator_sees_what_happened_and_to_whose_job(broker, tmp_path, keys, monkeypatch):
    async with demo(broker, tmp_path, SETTINGS) as served:
        first, second = [await make(served, keys, "/batches/1") for _ in range(2)]
        monkeypatch.setenv("MQBRIDGE_ADMIN_KEY", ADMIN)
        followed = await served.run("jobs", "follow", first)
        assert (followed.code, followed.out.splitlines()[-1].split()[-1]) == (0, "done")
        assert [
            json.loads(line)["what"] for line in (await served.run("jobs", "follow", first, "--json")).out.splitlines()
        ][:2] == ["created", "sent"]
        result = await served.run("jobs", "result", second, "--wait", "--json")
        assert (result.code, json.loads(result.out)["status"]) == (0, 200)
        shown = await served.run("jobs", "show", second)
        assert "caller: shop" in shown.out
        listed = json.loads((await served.run("jobs", "list", "--json", "--limit", "1", "--state", "done")).out)
        assert ([job["id"] for job in listed["jobs"]], listed["more"]) == ([second], True)
        table = await served.run("jobs", "list", "--route", "batches")
        assert [line.split()[0] for line in table.out.splitlines()] == ["id", second, first]
        assert (await served.run("jobs", "list", "--route", "nowhere")).out == "no jobs\n"
        both = await served.run("jobs", "list", "--limit", 1)
        assert both.out.splitlines()[-1] == "… and more: --limit says how many are shown"


async def test_a_job_is_cancelled_by_either(broker, tmp_path, keys):
    async with demo(broker, tmp_path, SETTINGS) as served:
        for options in keys:
            job_id = await make(served, keys, "/batches/500")
            early = await served.run("jobs", "result", job_id, *options)
            assert (early.code, "is not over" in early.err, "--wait" in early.err) == (1, True, True)
            cancelled = await served.run("jobs", "cancel", job_id, *options)
            assert (cancelled.code, "mqbridge: 1 cancelled\n" in cancelled.err) == (0, True), cancelled
            result = await served.run("jobs", "result", job_id, *options)
            assert (result.code, "job-cancelled" in result.err) == (1, True), result
            assert (await served.run("jobs", "follow", job_id, *options)).code == 1


async def test_a_job_of_somebody_else_is_none(broker, tmp_path, keys):
    async with demo(broker, tmp_path, SETTINGS) as served:
        for command in ("show", "result", "cancel", "follow"):
            for options in keys:
                ran = await served.run("jobs", command, ID, *options)
                assert (ran.code, "no-job" in ran.err) == (1, True), ran
        unknown = await served.run("jobs", "list", "--state", "sleeping", *keys[1])
        assert (unknown.code, "state must be one of" in unknown.err) == (1, True)


async def test_an_open_bridge_wants_no_key(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        job_id = await make(served, ([], []), "/batches/1")
        assert (await served.run("jobs", "result", job_id, "--wait")).code == 0


@pytest.mark.parametrize("command", ["show", "result", "cancel", "follow"])
@pytest.mark.parametrize("job_id", ["abc", ID.upper(), "../../-/reload", ID + "\n"])
def test_what_is_no_id_is_refused_before_anything_is_asked(command, job_id):
    ran = run("jobs", command, job_id, "--url", "http://127.0.0.1:1")
    assert (ran.code, "is no job" in ran.err.replace("\n", " ")) == (2, True), ran


def test_the_list_is_for_the_operator():
    ran = run("jobs", "list")
    assert (ran.code, "MQBRIDGE_ADMIN_KEY" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"), [(["result", ID, "--output", "x"], "--output"), (["follow", ID, "--after", "1"], "--after")]
)
def test_what_only_a_caller_may_have_is_refused_to_an_operator(keys, options, said):
    ran = run("jobs", *options, *keys[1])
    assert (ran.code, said in ran.err) == (2, True)
