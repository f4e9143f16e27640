"""`mqbridge dlq` against a bridge with a real broker: what it prints, and what it leaves."""

from __future__ import annotations

import asyncio
import io
import json
import queue as queue_of_lines
import secrets

import pytest

from bridge.deadletters.letter import LetterId
from mqbridge.asking import RefusedError
from mqbridge.commands.dlq import Desk
from mqbridge.console import CommandError
from mqbridge.letters import printable
from mqbridge.progress import Progress
from tests.bridge.harness import NO_STORE, ToldWorker
from tests.bridge.letters import KEY, a_desk


@pytest.fixture
def queue():
    return f"test.{secrets.token_hex(6)}"


@pytest.fixture
async def world(broker, queue):
    async with a_desk(broker, queue) as world:
        yield world


def url_of(world):
    return f"http://127.0.0.1:{world.bridge.port}"


async def run(world, command, *arguments, key=KEY, **options):
    """Run one command as the command line does."""

    def running():
        with Desk(url_of(world), key) as desk:
            return getattr(desk, command)(*arguments, **options)

    return await asyncio.to_thread(running)


async def ids(world, queue=None):
    return [letter["id"] for letter in await world.letters(queue)]


# -- list


async def test_list_shows_what_holds_anything_and_what_is_in_it(world, capsys):
    await world.park(b"12345", content_type="text/x-thing")
    assert await run(world, "overview", [], 50, as_json=False) == 0
    out = capsys.readouterr().out
    (letter,) = await ids(world)
    assert letter in out.split()
    assert world.dead not in out
    shelf = next(line for line in out.splitlines() if line.startswith(world.poison) and "echo" in line)
    assert shelf.split() == [world.poison, "poison", "echo", "1"]
    row = next(line for line in out.splitlines() if letter in line)
    assert ("text/x-thing" in row, " 3 " in row, row.split()[-1]) == (True, True, "5")


async def test_list_of_nothing_says_so(world, capsys):
    assert await run(world, "overview", [world.poison], 50, as_json=False) == 0
    assert capsys.readouterr().out.splitlines()[-1].strip() == "nothing"


@pytest.mark.parametrize(("limit", "shown", "more"), [(2, 2, True), (3, 3, False), (4, 3, False)])
async def test_list_says_when_there_are_more(world, capsys, limit, shown, more):
    for _ in range(3):
        await world.park()
    assert await run(world, "overview", [world.poison], limit, as_json=False) == 0
    out = capsys.readouterr().out
    assert out.count(f"{world.poison}~") == shown
    assert ("and more" in out) is more


async def test_list_as_json_has_all_fields_over_several_pages(world, capsys, monkeypatch):
    monkeypatch.setattr("mqbridge.commands.dlq.PAGE", 2)
    for _ in range(5):
        await world.park()
    assert await run(world, "overview", [], 50, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    letters = [letter for letter in document["letters"] if letter["queue"] == world.poison]
    assert [letter["id"] for letter in letters] == await ids(world)
    assert {shelf["queue"]: shelf["count"] for shelf in document["queues"]}[world.poison] == 5


# -- show


async def test_show_prints_text_as_text_and_nothing_that_a_terminal_obeys(world, capsys):
    await world.park("line 1\nline ✓\x7f", evil="\x1b[31mred\r\nx", content_type="text/\x9b31m")
    (letter,) = await ids(world)
    assert await run(world, "show", letter, None, as_json=False) == 0
    assert await run(world, "overview", [world.poison], 1, as_json=False) == 0
    out = capsys.readouterr().out
    assert "line 1\nline ✓\\x7f" in out
    assert "evil: \\x1b[31mred\\r\\nx" in out
    assert not {"\x1b", "\x7f", "\x9b", "\r"} & set(out)


async def test_show_dumps_the_head_of_what_is_no_text_and_saves_all_of_it(world, capsys, tmp_path):
    body = bytes(range(256)) * 2
    await world.park(body)
    (letter,) = await ids(world)
    file = tmp_path / "body"
    assert await run(world, "show", letter, file, as_json=False) == 0
    out = capsys.readouterr().out
    assert "  000000  00 01 02 03" in out
    assert "  000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO" in out
    assert "… 256 bytes more" in out
    assert file.read_bytes() == body


@pytest.mark.parametrize(("size", "more"), [(255, False), (256, False), (257, True)])
async def test_show_says_what_it_leaves_out(world, capsys, size, more):
    await world.park(b"\0" * size)
    assert await run(world, "show", (await ids(world))[0], None, as_json=False) == 0
    assert ("bytes more" in capsys.readouterr().out) is more


async def test_a_file_that_cannot_be_written_is_said(world, tmp_path):
    await world.park()
    with pytest.raises(CommandError, match="--body-to"):
        await run(world, "show", (await ids(world))[0], tmp_path / "no" / "folder", as_json=False)


async def test_show_as_json_is_what_the_bridge_says(world, capsys):
    await world.park("x")
    (letter,) = await ids(world)
    assert await run(world, "show", letter, None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == await world.json(f"/{letter}")


@pytest.mark.parametrize("letter", ["ID:none", "'; DROP", "../../status", "?x", "a b", "é"])
@pytest.mark.parametrize("command", ["show", "replay", "drop"])
async def test_an_unknown_id_is_said_and_harms_nothing(world, capsys, letter, command):
    await world.park()
    letter = str(LetterId(world.poison, letter))
    if command == "show":
        with pytest.raises(RefusedError, match="404 no-dead-letter"):
            await run(world, "show", letter, None, as_json=False)
    else:
        options = {"yes": True} if command == "drop" else {"as_json": False}
        assert await run(world, command, [letter], [], **options) == 1
        assert "404 no-dead-letter" in capsys.readouterr().err
    assert len(await ids(world)) == 1


async def test_another_key_is_said(world):
    with pytest.raises(CommandError, match="does not know this admin key"):
        await run(world, "overview", [], 1, as_json=False, key="another")


async def test_a_queue_that_holds_no_dead_letters_is_said(world):
    with pytest.raises(RefusedError, match="holds no dead letters"):
        await run(world, "overview", [world.queue], 1, as_json=False)


# -- replay


async def test_replay_prints_where_each_job_is(world, broker, capsys):
    await world.park(b"1")
    await world.park(b"2")
    first, second = await ids(world)
    assert await run(world, "replay", [first, second, first], [], as_json=False) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert [row[0] for row in rows] == [first, second]
    assert captured.err.splitlines()[-1] == "mqbridge: 2 replayed"
    async with ToldWorker(broker, world.queue) as worker:
        for _ in range(2):
            request = await worker.request(world.queue)
            await worker.reply(request, b"done")
        for _, link in rows:
            waited = (("Prefer", "wait=15"),)
            result = await world.bridge.call(f"{link}/result", None, method="GET", headers=waited)
            assert result.body == b"done"
    assert await ids(world) == []


async def test_replay_of_all_leaves_what_cannot_be_replayed_and_says_so(world, capsys):
    await world.park(type="former")
    for n in range(5):
        await world.park(str(n))
    await world.park(type="former")
    kept = [(await ids(world))[0], (await ids(world))[-1]]
    assert await run(world, "replay", [], [world.poison], as_json=True) == 1
    captured = capsys.readouterr()
    assert len([json.loads(line) for line in captured.out.splitlines()]) == 5
    assert captured.err.splitlines()[-1] == "mqbridge: 5 replayed, 2 left as they were"
    assert captured.err.count("409 not-replayable") == 2
    assert await ids(world) == kept


@pytest.mark.parametrize("number", [2, 3, 4, 7])
async def test_all_means_all_over_several_pages(world, capsys, monkeypatch, number):
    monkeypatch.setattr("mqbridge.commands.dlq.PAGE", 3)
    for n in range(number):
        await world.park(str(n), **({"type": "former"} if n == 1 else {}))
    assert await run(world, "replay", [], [world.poison], as_json=False) == 1
    assert len(await ids(world)) == 1
    assert await run(world, "drop", [], [world.poison], yes=True) == 0
    assert await ids(world) == []


async def test_all_means_also_what_the_broker_does_not_show_at_first(world, capsys):
    """Classic shows a browser the first 400."""
    for _ in range(430):
        await world.park("x")
    assert await world.count(world.poison) == 400
    assert await run(world, "drop", [], [world.poison], yes=True) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "mqbridge: 430 dropped"
    assert await ids(world) == []


async def test_all_means_what_was_there_when_it_began(world, capsys, monkeypatch):
    """Else a message that dies at once would be replayed for ever."""
    for _ in range(3):
        await world.park()
    from mqbridge.commands import dlq

    loop, real = asyncio.get_running_loop(), dlq.ask

    def dies_again(client, method, path, member=None):
        done = real(client, method, path, member)
        if method == "POST":
            asyncio.run_coroutine_threadsafe(world.park(b"again"), loop).result(20)
        return done

    monkeypatch.setattr(dlq, "ask", dies_again)
    assert await run(world, "replay", [], [world.poison], as_json=False) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "mqbridge: 3 replayed"
    assert len(await ids(world)) == 3


async def test_somebody_else_at_the_same_queue_does_not_end_it(world, capsys, monkeypatch):
    monkeypatch.setattr("mqbridge.commands.dlq.PAGE", 1)
    await world.park(type="former")
    await world.park()
    first, _ = await ids(world)
    from mqbridge.commands import dlq

    real, once = dlq.ask, []

    def another_drops_it(client, method, path, member=None):
        if "after=" in path and not once:
            once.append(real(client, "DELETE", f"/-/api/dlq/{first}"))
        return real(client, method, path, member)

    monkeypatch.setattr(dlq, "ask", another_drops_it)
    assert await run(world, "replay", [], [world.poison], as_json=False) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "mqbridge: 1 replayed, 1 left as they were"
    assert await ids(world) == []


async def test_a_store_that_is_away_ends_it_at_once(broker, queue, capsys):
    async with a_desk(broker, queue, store=NO_STORE) as world:
        await world.park()
        await world.park()
        with pytest.raises(RefusedError, match="503 store-unavailable"):
            await run(world, "replay", [], [world.poison], as_json=False)
        assert capsys.readouterr().err.splitlines()[-1] == "mqbridge: 0 replayed"
        assert len(await ids(world)) == 2


# -- drop


async def test_drop_asks_nobody_where_nobody_is(world, monkeypatch):
    await world.park()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(CommandError, match="--yes") as caught:
        await run(world, "drop", await ids(world), [], yes=False)
    assert caught.value.code == 2
    assert len(await ids(world)) == 1


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("nonsense\nn\n", 1)])
async def test_drop_asks_who_is_at_a_terminal(world, monkeypatch, answer, left, capsys):
    await world.park()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    if left:
        with pytest.raises(CommandError, match="nothing was dropped"):
            await run(world, "drop", await ids(world), [], yes=False)
    else:
        assert await run(world, "drop", await ids(world), [], yes=False) == 0
    assert "Drop 1 dead letter for good?" in capsys.readouterr().err
    assert len(await ids(world)) == left


# -- small things


def test_progress_is_said_only_of_what_takes_long(monkeypatch, capsys):
    with Progress("waiting"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("mqbridge.progress.FIRST_AFTER", 0.001)
    said: queue_of_lines.Queue[str] = queue_of_lines.Queue()
    monkeypatch.setattr("mqbridge.progress.say", said.put)
    with Progress("waiting") as progress:
        progress.now = "1 of 2"
        while said.get(timeout=20) != "waiting … 1 of 2":  # the first may have come before there was anything to say
            pass


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ✓", "plain ✓"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202eabc", "\\u202eabc"),
        ("\x00", "\\x00"),
    ],
)
def test_what_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown
