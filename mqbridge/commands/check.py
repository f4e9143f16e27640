"""`mqbridge check`: whether a call could be served now."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from activemq.errors import ActiveMQError, ServerError
from activemq.frames import encode
from bridge.app import Bridge
from bridge.jobs.link import REPLIES
from bridge.jobs.store import StoreRefusedError, StoreUnavailableError
from bridge.server import choose
from bridge.settings import Settings, SettingsError, load
from mqbridge.console import counted
from mqbridge.environment import environment
from mqbridge.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from activemq import Client, Frame
    from activemq.brokers import Profile

CONNECT_WITHIN = 5.0  # seconds
PRESENCE_WITHIN = 3.0  # seconds
REPLY_WITHIN = 3.0  # seconds
_PROBE_ENDS = 10_000  # ms; a message that nobody took is gone after that
SKEW = 1_000  # ms; more than this and the two clocks deserve a look


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer; ``advice`` is what to do if it is not ``ok``."""

    what: str
    ok: bool
    detail: str
    advice: str = ""
    warning: bool = False


async def check(config: Path, *, as_json: bool) -> int:
    """Print what was found; return 0 if a call could be served."""
    findings = await _look(config)
    if as_json:
        Console(soft_wrap=True).print_json(json.dumps([asdict(finding) for finding in findings]))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            colour, mark = ("red", "✗") if not finding.ok else ("yellow", "!") if finding.warning else ("green", "✓")
            console.print(f"[{colour}]{mark}[/] ", end="")
            console.print(f"{finding.what}: {finding.detail}".replace("\n", "\n    "), markup=False)
            if finding.advice:
                console.print(f"  → {finding.advice}", markup=False)
    return 0 if all(finding.ok for finding in findings) else 1


async def _look(config: Path) -> list[Finding]:
    try:
        settings = load(config, environment())
    except SettingsError as error:
        return [
            Finding("configuration", ok=False, detail=str(error), advice="correct these keys; docs/configuration.md")
        ]
    findings = [Finding("configuration", ok=True, detail=f"{config}: {counted(len(settings.routes), 'route')}")]
    findings += [Finding("configuration", ok=True, detail=note, warning=True) for note in settings.notes]
    findings.append(Finding("HTTP server", ok=True, detail=" (".join(choose(settings.server)) + ")"))
    with Progress("asking the broker"):
        return [*findings, *await _look_at_broker(settings), await _look_at_store(settings)]


async def _look_at_store(settings: Settings) -> Finding:
    """Say whether the store could be used; changes nothing in it."""
    if not any(route.may_be_job for route in settings.routes):
        return Finding("store", ok=True, detail="none is needed: no route can have jobs")
    from bridge.jobs.sql import SqlStore  # noqa: PLC0415 - 15 MiB that a bridge without jobs does not need

    try:
        store = SqlStore(settings.store.url.get_secret_value())
    except StoreRefusedError as error:
        return Finding("store", ok=False, detail=str(error), advice="correct [store] url; docs/configuration.md")
    try:
        return Finding("store", ok=True, detail=await store.look())
    except StoreRefusedError as error:
        return Finding("store", ok=False, detail=str(error), advice="[store] url says which it is")
    except StoreUnavailableError as error:
        advice = "is it running, is [store] url right, and may this user write there? Until then jobs and keys get 503"
        return Finding("store", ok=False, detail=str(error), advice=advice)
    finally:
        await store.close()


async def _look_at_broker(settings: Settings) -> list[Finding]:
    urls = ", ".join(map(str, settings.broker.urls))
    bridge = Bridge(_without_jobs(settings))  # without an HTTP server: what it finds out is what a bridge would
    await bridge.start()
    client = bridge.client
    try:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await client.wait_connected()
        except TimeoutError:
            reason = str(client.last_error or "no answer")
            advice = "is it running, is the address right, may this login connect? `mqbridge broker` runs one here"
            return [Finding("broker", ok=False, detail=f"{urls}: {reason}", advice=advice)]
        return [
            Finding("broker", ok=True, detail=f"{urls}: connected ({client.profile.kind})"),
            *_look_at_clock(client),
            *await _look_at_replies(client),
            *[await _look_at_permission(client, queue, settings.broker.login) for queue in bridge.presence.queues],
            *await _look_at_workers(bridge),
        ]
    finally:
        await bridge.stop()


def _without_jobs(settings: Settings) -> Settings:
    """Return the same without a store: this bridge must not take part in the work of those that serve."""
    held = (route.model_copy(update={"async_": "never", "idempotency": "off"}) for route in settings.routes)
    return settings.model_copy(update={"routes": tuple(held)})


async def _look_at_permission(client: Client, queue: str, login: str) -> Finding:
    """Say whether requests may be sent to a queue. Nothing is: the message is in a transaction that is aborted."""
    what = f"permission {queue}"
    if not client.profile.checks_sends:
        return Finding(what, ok=True, detail="this broker has one for all queues, and replies have shown it")
    name = f"check-{queue}"
    send = [("destination", client.profile.queue(queue)), ("transaction", name), ("receipt", name)]
    try:
        begun = encode("BEGIN", [("transaction", name)]) + encode("SEND", send)
        await client.request_receipt(begun, name, timeout=REPLY_WITHIN)
    except ServerError:  # its words are the broker's own, with a whole message in them on Artemis
        detail = f"login {login!r} may not send to it"
        return Finding(
            what, ok=False, detail=detail, advice="the bridge needs the right to write to it; docs/brokers.md"
        )
    except ActiveMQError as error:
        return Finding(what, ok=False, detail=str(error), advice="try again; if it stays so, see the broker's log")
    finally:
        with suppress(ActiveMQError):  # with no connection there is no transaction either
            client.send(encode("ABORT", [("transaction", name)]))
    return Finding(what, ok=True, detail="requests may be sent")


def _look_at_clock(client: Client) -> list[Finding]:
    clock = client.clock
    if not (clock.measured or client.profile.tells_time):
        advice = "deadlines are told in each machine's own time: keep bridges and workers on NTP"
        return [Finding("clocks", ok=True, detail="the broker does not tell its time", advice=advice, warning=True)]
    trip = f"round trip {2 * clock.error_ms:.1f} ms"
    skew = f"{clock.offset_ms:+.0f} ms (± {clock.error_ms:.0f})"
    return [
        Finding("echo", ok=clock.measured, detail=trip if clock.measured else "no echo came back",
                advice="" if clock.measured else client.profile.replies_need),
        Finding("clocks", ok=abs(clock.offset_ms) < SKEW, detail=skew,
                advice="" if abs(clock.offset_ms) < SKEW else "deadlines are corrected for it, but use NTP"),
    ]  # fmt: skip


async def _look_at_replies(client: Client) -> list[Finding]:
    """Say whether what is sent to our reply destinations comes here, as a worker's replies would."""
    profile = client.profile
    # Not the store's own queue, from which its other bridges read. Two checks at a time may get each other's message:
    # each takes one, and each of them has come by the way that is looked at.
    queue = f"{REPLIES}check"
    return [
        await _probe(client, "replies", lambda profile: profile.replies("check"), profile.reply_to("check")),
        await _probe(
            client, "replies to jobs", lambda profile: profile.consume(queue), profile.durable_reply_to(queue)
        ),
    ]


async def _probe(client: Client, what: str, headers: Callable[[Profile], Mapping[str, str]], reply_to: str) -> Finding:
    """Send one message to a reply destination, and say how long it took there and back, or why it does not arrive."""
    came: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
    subscription = client.subscribe(headers, lambda frame: None if came.done() else came.set_result(frame))
    ends = client.profile.expiry(client.clock.now_ms() + _PROBE_ENDS, _PROBE_ENDS)
    began = time.perf_counter()
    try:
        data = encode("SEND", [("destination", reply_to), ends, ("receipt", reply_to)])
        await client.request_receipt(data, reply_to, timeout=REPLY_WITHIN)
        async with asyncio.timeout(REPLY_WITHIN):
            frame = await came
        if headers(client.profile).get("ack", "auto") != "auto":
            client.ack(frame, client.generation)
    except (TimeoutError, ActiveMQError) as error:
        why = f"{reply_to}: {error if str(error) else 'it does not arrive'}"
        return Finding(what, ok=False, detail=why, advice=client.profile.replies_need)
    finally:
        with suppress(ActiveMQError):
            client.unsubscribe(subscription)
    took = (time.perf_counter() - began) * 1_000
    return Finding(what, ok=True, detail=f"they arrive, {took:.1f} ms there and back")


async def _look_at_workers(bridge: Bridge) -> list[Finding]:
    """Say who listens on each queue. Workers come and go, so their absence is told but is no fault."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PRESENCE_WITHIN):
            while not bridge.presence.known:  # noqa: ASYNC110 - it has nothing to wait on
                await asyncio.sleep(0.05)
    findings = []
    for queue in bridge.presence.queues.values():
        if queue.listeners > 0:
            detail, advice = f"{counted(queue.listeners, 'slot')} of workers, idle or busy", ""
        elif queue.listeners == 0:
            detail, advice = "nobody listens: calls get 503 no-worker", "start a worker: `mqbridge work MODULE:NAME`"
        else:
            detail, advice = "the broker does not say who listens", bridge.client.profile.presence_needs
        findings.append(Finding(f"queue {queue.name}", ok=True, detail=detail, advice=advice, warning=bool(advice)))
    return findings
