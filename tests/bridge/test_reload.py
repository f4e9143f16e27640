"""Settings read anew: what changes, what waits for a restart, and that no held call notices."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import threading

import pytest
from pydantic import SecretStr

from activemq.testing import FakeBroker
from bridge.reload import Reloaded, Reloader, compare, merge
from bridge.routing import Router, ServedRoute
from bridge.schema import BodySchema
from bridge.settings import Admin, Broker, Fault, Jwt, Route, Server, Settings, SettingsError
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

KEY = "the operator's"
KEY_SHA256 = hashlib.sha256(KEY.encode()).hexdigest()
PATIENT = 20.0  # seconds


def route(name, queue="q", **options):
    options = {"path": f"/{name}", "worker_wait": PATIENT, "timeout": PATIENT, **options}
    return Route(name=name, queue=queue, **options)


def refusal(*reasons):
    return SettingsError(tuple(Fault("route[0].queue", 4, reason, "bridge.toml") for reason in reasons), "bridge.toml")


# -- what differs


def test_routes_are_compared_by_name():
    running_now = Settings(routes=(route("same"), route("changed"), route("removed")))
    read = Settings(routes=(route("changed", timeout=1.0), route("added"), route("same")))
    assert compare(running_now, read) == Reloaded(("added",), ("changed",), ("removed",), ("same",))


def test_a_schema_that_says_something_else_is_a_change():
    one, other = (Settings(routes=(route("a", schema_=BodySchema({"type": kind})),)) for kind in ("null", "object"))
    assert compare(one, other).changed == ("a",)
    assert compare(one, Settings(routes=(route("a", schema_=BodySchema({"type": "null"})),))).unchanged == ("a",)


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (Settings(), ()),
        (Settings(server=Server(bind=("127.0.0.1:9",), max_held=5)), ("server.bind", "server.max_held")),
        (Settings(broker=Broker(passcode=SecretStr("other"))), ("broker.passcode",)),
        (Settings(admin=Admin(key_sha256="0" * 64)), ("admin.key_sha256",)),
        (Settings(jwt=Jwt(issuer="i", audience="a", jwks_url="https://i.example/keys")), ("jwt",)),
    ],
)
def test_what_needs_a_restart_is_named_by_its_key(read, keys):
    assert compare(Settings(), read).restart == keys


def test_what_needs_a_restart_stays_as_it_was():
    merged = merge(Settings(), Settings(server=Server(max_held=5), routes=(route("a"),), notes=("x",)))
    assert (merged.server.max_held, merged.routes, merged.notes) == (10_000, (route("a"),), ("x",))


@pytest.mark.parametrize(
    ("read", "key"),
    [
        (Settings(server=Server(drain=120.0), routes=(route("a", timeout=60.0),)), "server.drain"),
        (Settings(broker=Broker(max_frame=64 << 20), routes=(route("a", max_body=32 << 20),)), "route[0].max_body"),
    ],
)
def test_routes_that_need_the_new_values_of_what_stays_are_refused(read, key):
    with pytest.raises(SettingsError) as caught:
        merge(Settings(), read)
    (fault,) = caught.value.faults
    assert fault.key == key
    assert "running bridge" in str(fault)


def test_it_says_what_it_has_done():
    assert str(Reloaded()) == "no route differs"
    done = Reloaded(("a", "b"), ("c",), (), ("d",), ("server.bind",))
    assert str(done) == "routes: 2 added (a, b), 1 changed (c), left as they were until a restart: server.bind"


# -- the table


def test_a_route_that_is_the_same_stays_the_same_and_a_changed_one_keeps_its_counts():
    before = Router([ServedRoute(route("same")), ServedRoute(route("changed")), ServedRoute(route("removed"))])
    same, changed, _ = before.routes
    queues = {"q": same.queue, "new": ServedRoute(route("x", "new")).queue}
    after = before.renewed([route("changed", "new"), route("same"), route("added")], queues)
    assert after.routes[1] is same
    assert after.routes[0].counts is changed.counts
    assert (after.routes[0].queue, after.routes[2].queue) == (queues["new"], queues["q"])
    assert after.routes[2].counts.held == 0
    assert before.routes[1] is changed


# -- one at a time


class Disk:
    """Settings that change between two looks; a look takes until the test lets it."""

    def __init__(self, *versions):
        self.versions = list(versions)
        self.go = threading.Event()
        self.looks = 0

    def load(self):
        self.looks += 1
        self.go.wait(PATIENT)
        version = self.versions.pop(0)
        if isinstance(version, Exception):
            raise version
        return version


class Live:
    """What runs."""

    def __init__(self, disk):
        self.settings = Settings()
        self.applied = []
        self.reloader = Reloader(disk.load, lambda: self.settings, self.apply)

    def apply(self, settings):
        self.settings = settings
        self.applied.append([each.name for each in settings.routes])


def version(*names):
    return Settings(routes=tuple(map(route, names)))


async def test_several_who_ask_while_one_is_under_way_share_the_next():
    disk = Disk(version("a"), version("b"), version("never"))
    live = Live(disk)
    first = asyncio.create_task(live.reloader.reload())
    await until(lambda: disk.looks == 1)
    others = [asyncio.create_task(live.reloader.reload()) for _ in range(10)]
    await asyncio.sleep(0)
    disk.go.set()
    assert (await first).added == ("a",)
    results = await asyncio.gather(*others)
    assert all(result is results[0] for result in results)
    assert live.applied == [["a"], ["b"]]


async def test_one_who_does_not_wait_any_longer_stops_nothing():
    disk = Disk(version("a"))
    live = Live(disk)
    impatient, patient = (asyncio.create_task(live.reloader.reload()) for _ in range(2))
    await until(lambda: disk.looks == 1)
    impatient.cancel()
    disk.go.set()
    await patient
    assert live.applied == [["a"]]


async def test_a_refusal_changes_nothing_and_is_in_the_log_and_the_next_may_do(caplog):
    disk = Disk(refusal("is odd", "is even"), version("a"))
    disk.go.set()
    live = Live(disk)
    with pytest.raises(SettingsError):
        await live.reloader.reload()
    assert live.applied == []
    assert "bridge.toml:4: route[0].queue: is even" in caplog.text
    await live.reloader.reload_and_log()
    assert live.applied == [["a"]]


async def test_what_is_left_for_a_restart_and_what_does_nothing_is_in_the_log(caplog):
    disk = Disk(Settings(server=Server(max_held=5), notes=("a note",)))
    disk.go.set()
    await Live(disk).reloader.reload_and_log()
    assert "a note" in caplog.text
    assert "until a restart: server.max_held" in caplog.text


# -- while calls are held


OLD = (route("stays"), route("changes", "q", timeout=15.0), route("goes", "going"))
NEW = (route("stays"), route("changes", "q", timeout=5.0, path="/changed"), route("comes", "coming"))


@pytest.fixture
async def setting(implementation):
    """A bridge, a worker, and what the next look at the settings will find."""
    async with FakeBroker() as broker, ToldWorker(broker, "q", "going", "coming") as worker:
        settings = settings_for(broker, OLD, store=NO_STORE).model_copy(update={"admin": Admin(key_sha256=KEY_SHA256)})
        found = [settings]

        def load():
            if isinstance(found[0], Exception):
                raise found[0]
            return found[0]

        async with running(settings, implementation, load=load) as bridge:
            yield bridge, worker, found


async def post_reload(bridge, key=KEY, **options):
    headers = () if key is None else (("Authorization", f"Bearer {key}"),)
    return await bridge.call("/-/reload", b"", headers=headers, **options)


async def test_500_held_calls_are_answered_across_a_reload_that_removes_changes_and_adds(setting):
    bridge, worker, found = setting
    callers = [await Caller.connect(bridge.port) for _ in range(500)]
    try:
        for number, caller in enumerate(callers):
            path = ("/stays", "/changes", "/goes")[number % 3]
            await caller.send(request(path, str(number).encode()))
        await bridge.held(500)
        found[0] = found[0].model_copy(update={"routes": NEW})
        response = await post_reload(bridge)
        assert response.status == 200
        done = json.loads(response.body)
        assert (done["added"], done["changed"], done["removed"], done["unchanged"]) == (
            ["comes"], ["changes"], ["goes"], ["stays"],
        )  # fmt: skip
        assert len(bridge.bridge.exchange) == 500
        assert {each.settings.name: each.counts.held for each in bridge.bridge.router.routes} == {
            "stays": 167,
            "changes": 167,
            "comes": 0,
        }
        for queue, number in (("q", 334), ("going", 166)):
            for _ in range(number):
                message = await worker.request(queue)
                await worker.reply(message, message.body)
        for number, caller in enumerate(callers):
            response = await caller.response()
            assert (response.status, response.body) == (200, str(number).encode())
    finally:
        for caller in callers:
            await caller.close()
    await bridge.at_rest()


async def test_after_a_reload_new_calls_go_by_the_new_table(setting):
    bridge, worker, found = setting
    found[0] = found[0].model_copy(update={"routes": NEW})
    assert (await post_reload(bridge)).status == 200
    for path in ("/goes", "/changes"):
        assert (await bridge.call(path)).name == "no-route"
    for path, queue in (("/stays", "q"), ("/changed", "q"), ("/comes", "coming")):
        async with await Caller.connect(bridge.port) as caller:
            await caller.send(request(path, path.encode()))
            message = await worker.request(queue)
            await worker.reply(message, message.body)
            assert (await caller.response()).body == path.encode()
    told = json.loads((await bridge.call("/openapi.json", None, method="GET")).body)
    assert {path for path in told["paths"] if not path.startswith("/jobs/")} == {"/stays", "/changed", "/comes"}


async def test_who_listens_on_a_new_queue_is_known_soon(setting):
    bridge, _, found = setting
    await until(lambda: bridge.bridge.presence.known)
    deserted = route("deserted", "deserted", worker_wait=0.0)
    found[0] = found[0].model_copy(update={"routes": (*NEW, deserted)})
    await post_reload(bridge)
    queues = bridge.bridge.presence.queues
    assert set(queues) == {"q", "coming", "deserted"}
    await until(lambda: (queues["coming"].listeners, queues["deserted"].listeners) == (1, 0))
    assert (await bridge.call("/deserted")).name == "no-worker"


async def test_from_no_routes_to_some_and_back(implementation):
    async with FakeBroker() as broker, ToldWorker(broker, "q") as worker:
        settings = settings_for(broker, ())
        found = [settings]
        async with running(settings, implementation, load=lambda: found[0]) as bridge:
            reloader = bridge.bridge.reloader
            assert (await bridge.call("/stays")).name == "no-route"
            found[0] = settings.model_copy(update={"routes": (route("stays"),)})
            await reloader.reload()
            async with await Caller.connect(bridge.port) as caller:
                await caller.send(request("/stays"))
                await worker.reply(await worker.request("q"), b"there")
                assert (await caller.response()).body == b"there"
            found[0] = settings
            await reloader.reload()
            assert (await bridge.call("/stays")).name == "no-route"


async def test_a_reload_under_load_costs_no_call_its_answer(setting):
    bridge, worker, found = setting
    stop = asyncio.Event()

    async def answer_all():
        while True:
            message = await worker.request("q")
            await worker.reply(message, message.body)

    async def call_on(number):
        answered = 0
        while not stop.is_set():
            body = f"{number}-{answered}".encode()
            response = await bridge.call("/stays", body)
            assert (response.status, response.body) == (200, body)
            answered += 1
        return answered

    answering = asyncio.create_task(answer_all())
    calling = [asyncio.create_task(call_on(number)) for number in range(8)]
    for turn in range(20):
        found[0] = found[0].model_copy(update={"routes": NEW if turn % 2 else OLD})
        await bridge.bridge.reloader.reload()
    stop.set()
    assert min(await asyncio.gather(*calling)) > 0
    answering.cancel()
    await bridge.at_rest()


async def test_a_bad_file_changes_nothing_and_says_all_that_is_wrong(setting):
    bridge, worker, found = setting
    before = bridge.bridge.router
    found[0] = refusal("is odd", "is even")
    response = await post_reload(bridge)
    assert (response.status, response.name, response.problem["ran"]) == (422, "settings-refused", "no")
    assert response.problem["errors"] == [
        {"key": "route[0].queue", "line": 4, "source": "bridge.toml", "message": reason}
        for reason in ("is odd", "is even")
    ]
    assert bridge.bridge.router is before
    async with await Caller.connect(bridge.port) as caller:
        await caller.send(request("/goes"))
        await worker.reply(await worker.request("going"), b"still there")
        assert (await caller.response()).body == b"still there"


async def test_what_needs_a_restart_is_in_the_answer(setting):
    bridge, _, found = setting
    server = found[0].server.model_copy(update={"max_held": 1, "bind": ("127.0.0.1:1",)})
    found[0] = found[0].model_copy(update={"server": server})
    done = json.loads((await post_reload(bridge)).body)
    assert done["restart"] == ["server.bind", "server.max_held"]
    assert bridge.bridge.settings.server.max_held == 10_000


@pytest.mark.parametrize("key", [None, "", "another", KEY + " ", KEY[:-1]])
async def test_only_the_operator_may_ask_for_it(setting, key):
    bridge, _, found = setting
    found[0] = found[0].model_copy(update={"routes": ()})
    response = await post_reload(bridge, key)
    if key == KEY + " ":  # white space at the end of a header is not part of it (RFC 9110, 5.5)
        assert response.status == 200
        return
    assert (response.status, response.name) == (401, "unauthenticated")
    assert response.get("www-authenticate") == "Bearer"
    assert len(bridge.bridge.router.routes) == 3


async def test_a_rebinding_page_may_not_even_with_the_key(setting):
    assert (await post_reload(setting[0], host="example.com")).name == "forbidden"


async def test_it_is_asked_for_by_post_only(setting):
    response = await setting[0].call("/-/reload", None, method="GET")
    assert (response.status, response.get("allow")) == (405, "POST")


async def test_a_bridge_that_was_made_in_code_has_nothing_to_read(implementation):
    async with FakeBroker() as broker:
        settings = settings_for(broker, OLD).model_copy(update={"admin": Admin(key_sha256=KEY_SHA256)})
        async with running(settings, implementation) as bridge:
            assert (await post_reload(bridge)).name == "no-route"


async def test_sighup_reads_them_anew_and_two_at_once_are_no_harm(setting):
    bridge, _, found = setting
    found[0] = found[0].model_copy(update={"routes": NEW})
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: [each.settings.name for each in bridge.bridge.router.routes] == ["stays", "changes", "comes"])
    found[0] = refusal("is odd")
    os.kill(os.getpid(), signal.SIGHUP)
    assert (await post_reload(bridge)).status == 422
    assert (await bridge.call("/goes")).name == "no-route"
