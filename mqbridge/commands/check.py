"""`mqbridge check`: whether a call could be served now."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from activemq.errors import ActiveMQError
from activemq.frames import encode
from bridge.app import Bridge
from bridge.server import choose
from bridge.settings import Settings, SettingsError, load
from mqbridge.environment import environment

if TYPE_CHECKING:
    from pathlib import Path

    from activemq import Client

CONNECT_WITHIN = 5.0  # seconds
PRESENCE_WITHIN = 3.0  # seconds
REPLY_WITHIN = 3.0  # seconds
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
    findings = [Finding("configuration", ok=True, detail=f"{config}: {len(settings.routes)} routes")]
    findings += [Finding("configuration", ok=True, detail=note, warning=True) for note in settings.notes]
    findings.append(Finding("HTTP server", ok=True, detail=" (".join(choose(settings.server)) + ")"))
    return findings + await _look_at_broker(settings)


async def _look_at_broker(settings: Settings) -> list[Finding]:
    urls = ", ".join(map(str, settings.broker.urls))
    bridge = Bridge(settings)  # without an HTTP server: what it finds out is what a bridge would
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
        clock = client.clock
        skew = f"{clock.offset_ms:+.0f} ms (± {clock.error_ms:.0f})"
        return [
            Finding("broker", ok=True, detail=f"{urls}: connected ({client.profile.kind})"),
            Finding("echo", ok=clock.measured, detail=f"clock offset {skew}" if clock.measured else "no echo came back",
                    advice="" if clock.measured else client.profile.replies_need),
            Finding("clocks", ok=abs(clock.offset_ms) < SKEW, detail=skew,
                    advice="" if abs(clock.offset_ms) < SKEW else "deadlines are corrected for it, but use NTP"),
            await _look_at_replies(client),
            *await _look_at_workers(bridge),
        ]  # fmt: skip
    finally:
        await bridge.stop()


async def _look_at_replies(client: Client) -> Finding:
    """Say whether what is sent to a reply destination of ours comes here, as a worker's reply would."""
    came = asyncio.Event()
    client.subscribe(lambda profile: profile.replies("check"), lambda _: came.set())
    reply_to = client.profile.reply_to("check")
    try:
        data = encode("SEND", [("destination", reply_to), ("receipt", "check")])
        await client.request_receipt(data, "check", timeout=REPLY_WITHIN)
        async with asyncio.timeout(REPLY_WITHIN):
            await came.wait()
    except (TimeoutError, ActiveMQError) as error:
        why = str(error) or "it does not arrive"
        return Finding("replies", ok=False, detail=f"{reply_to}: {why}", advice=client.profile.replies_need)
    return Finding("replies", ok=True, detail="they arrive")


async def _look_at_workers(bridge: Bridge) -> list[Finding]:
    """Say who listens on each queue. Workers come and go, so their absence is told but is no fault."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PRESENCE_WITHIN):
            while not bridge.presence.known:  # noqa: ASYNC110 - it has nothing to wait on
                await asyncio.sleep(0.05)
    findings = []
    for queue in bridge.presence.queues.values():
        if queue.listeners > 0:
            detail, advice = f"{queue.listeners} idle or busy slots listen", ""
        elif queue.listeners == 0:
            detail, advice = "nobody listens: calls get 503 no-worker", "start a worker: `mqbridge work MODULE:NAME`"
        else:
            detail, advice = "the broker does not say who listens", bridge.client.profile.presence_needs
        findings.append(Finding(f"queue {queue.name}", ok=True, detail=detail, advice=advice, warning=bool(advice)))
    return findings
