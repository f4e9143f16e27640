"""`mqbridge send`, at a real bridge with real workers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sys

import httpx
import pytest

from mqbridge.calling import show
from mqbridge.outgoing import outgoing
from tests.databases import free_port
from tests.mqbridge.inprocess import demo, run

KEY = "mqb_key-of-the-shop"
CALLERS = (
    f'[[caller]]\nname = "shop"\nkey_sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\n'
    'routes = ["texts", "batches"]\n'
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("MQBRIDGE_KEY", "MQBRIDGE_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


async def test_the_answers_body_is_printed_and_nothing_else(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "/texts", "one two three")
        assert (ran.code, ran.err) == (0, "")
        assert json.loads(ran.out)["words"] == 3
        assert ran.out.endswith("}")  # byte for byte


async def test_body_and_type_come_from_where_they_are_said_to(broker, tmp_path):
    (tmp_path / "text.txt").write_text("from a file")
    async with demo(broker, tmp_path) as served:
        for options, stdin, words in (
            (["--file", tmp_path / "text.txt"], b"", 3),
            (["--file", "-", "--type", "text/plain"], b"from a pipe it is", 5),
            (["-f", "-", "-H", "content-type: text/plain"], b"two words", 2),
            (['{"text": "as JSON"}'], b"", 2),
        ):
            ran = await served.run("send", "/texts", *options, stdin=stdin)
            assert (ran.code, json.loads(ran.out)["words"]) == (0, words), ran


async def test_an_answer_can_be_saved_and_shown_whole(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        saved = await served.run("send", "/texts", "a b", "--output", tmp_path / "answer")
        assert (saved.code, saved.raw) == (0, b"")
        assert json.loads((tmp_path / "answer").read_bytes())["words"] == 2
        whole = await served.run("send", "/texts", "a b", "--json", "--include")
        document = json.loads(whole.out)
        assert (document["status"], json.loads(document["body"])["words"]) == (200, 2)
        assert document["headers"]["correlation-id"] in whole.err
        assert whole.err.startswith("mqbridge: 200 OK\n")
        lost = await served.run("send", "/texts", "a b", "--output", "/dev/null/answer")
        assert (lost.code, "/dev/null/answer" in lost.err) == (1, True)


async def test_a_problem_is_exit_code_1_with_what_to_do_next(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "/flaky", "x")
        assert (ran.code, json.loads(ran.out)["status"]) == (1, 502)
        assert "502 worker-failed: " in ran.err
        assert "its log has the trace" in ran.err


async def test_a_whole_url_needs_no_option(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        found = await asyncio.to_thread(run, "send", f"{served.url}/texts?a=%2f", "one")
        assert (found.code, json.loads(found.out)["words"]) == (0, 1)


async def test_the_next_address_is_asked_when_one_is_away(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "/texts", "one", "--url", f"http://127.0.0.1:{free_port()}")
        assert (ran.code, json.loads(ran.out)["words"]) == (0, 1)


async def test_a_job_is_followed_to_its_result(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "--async", "/batches/2")
        assert (ran.code, json.loads(ran.out)["items"]) == (0, 2)
        assert ran.err.startswith("mqbridge: job ")
        failed = await served.run("send", "--async", "/flaky", "x")
        assert (failed.code, "worker-failed" in failed.err) == (1, True)


async def test_a_job_can_be_left_alone(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "--async", "--detach", "/batches/1", "--json")
        job = json.loads(ran.out)
        assert (ran.code, job["route"]) == (0, "batches")
        result = await served.run("jobs", "result", job["id"], "--wait")
        assert json.loads(result.out)["items"] == 1


async def test_the_same_key_is_the_same_work(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        answers = [await served.run("send", "/batches/1", "-k", "order-1") for _ in range(2)]
        assert answers[0].raw == answers[1].raw
        fresh = [await served.run("send", "/batches/1", "-k", "new", "--json") for _ in range(2)]
        assert len({json.loads(one.out)["headers"]["correlation-id"] for one in fresh}) == 2


async def test_who_does_not_wait_is_told_where_the_job_is(broker, tmp_path):
    async with demo(broker, tmp_path) as served:
        ran = await served.run("send", "/batches/8", "--wait", "1", "-k", "new")
        assert ran.code == 1
        assert "the job goes on: mqbridge jobs follow " in ran.err
        job_id = ran.err.split()[-1]
        assert (await served.run("jobs", "cancel", job_id)).code == 0


async def test_a_callers_key_comes_from_a_file_or_the_environment(broker, tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    async with demo(broker, tmp_path, CALLERS) as served:
        without = await served.run("send", "/texts", "x")
        assert without.code == 1
        assert "401 unauthenticated" in without.err
        assert "--key-file" in without.err
        assert (await served.run("send", "/texts", "x", "--key-file", file)).code == 0
        monkeypatch.setenv("MQBRIDGE_KEY", KEY)
        assert (await served.run("send", "/texts", "x")).code == 0
        job = await served.run("send", "--async", "/batches/1")
        assert job.code == 0
        for ran in (without, job):
            assert KEY not in ran.err + ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["words"], "must be a path"),
        (["/words", "x", "--file", "y"], "either BODY or --file"),
        (["/words", "--file", "nowhere"], "nowhere"),
        (["/words", "--header", "no colon"], "NAME: VALUE"),
        (["/words", "--header", "a: b\r\nc: d"], "NAME: VALUE"),
        (["/words", "--method", "GET IT"], "no HTTP method"),
        (["/words", "--detach"], "--async"),
        (["/words", "--async", "--wait", "3"], "--wait"),
        (["/words", "--url", "ftp://x"], "ftp://x"),
        (["/words", "--url", "http://u:secret@x"], "holds no user"),
        (["/words", "--key-file", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_command_line_is_refused_with_code_2(arguments, said):
    ran = run("send", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert "secret" not in ran.err


def test_a_bridge_that_is_away_is_exit_code_1_with_what_to_look_at():
    ran = run("send", "/words", "--url", f"http://127.0.0.1:{free_port()}")
    assert (ran.code, "is it running, and is --url right?" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("body", "looks_like"),
    [
        ("text", "text/plain; charset=utf-8"),
        ('{"a": 1}', "application/json"),
        ("[1]", "application/json"),
        ("{not json", "text/plain; charset=utf-8"),
        ("5", "text/plain; charset=utf-8"),
    ],
)
def test_what_a_body_looks_like(body, looks_like):
    assert outgoing(["http://a"], "/r", "post", [], body, None, None).headers == {"Content-Type": looks_like}


def test_without_a_body_there_is_no_type():
    request = outgoing(["http://a"], "/r", "get", ["X-A: b"], None, None, None)
    assert (request.method, request.headers, request.body) == ("GET", {"X-A": "b"}, b"")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("body", "shown", "said"),
    [
        (b"a\x1b[31mb\n", "a\\x1b[31mb\n", ""),
        (b"no end", "no end\n", ""),
        (b"\xff\x00", "", "2 bytes, image/x: --output"),
    ],
)
def test_nothing_of_an_answer_reaches_a_terminal_as_a_command(monkeypatch, capsys, body, shown, said):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    response = httpx.Response(200, content=body, headers={"content-type": "image/x"})
    assert show(response, output=None, include=False, as_json=False) == 0
    assert terminal.getvalue() == shown
    assert said in capsys.readouterr().err


def test_a_body_that_is_not_text_is_base64_in_json(capsys):
    show(httpx.Response(200, content=b"\xff"), output=None, include=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["body_base64"] == base64.b64encode(b"\xff").decode()
