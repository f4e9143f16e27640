"""Where spans go: the settings, OpenTelemetry's variables, and a collector that two processes tell of one call."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.resources import SERVICE_NAME
from opentelemetry.sdk.trace import TracerProvider

from activemq.embedded import EmbeddedBroker
from bridge.settings.models import Tracing
from mqbridge import tracing
from mqbridge.console import CommandError
from mqbridge.tracing import is_wanted, tracer_provider
from tests.collector import Collector
from tests.mqbridge.conftest import Start

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SETTINGS = Tracing(endpoint="http://127.0.0.1:4318")
NOTHING = Tracing()

WORKER = """
from consumers import Worker
from opentelemetry import trace

worker = Worker("shop-worker")
tracer = trace.get_tracer("hello")


@worker.handler("cli.traced")
async def hello(name: str) -> str:
    with tracer.start_as_current_span("greet"):
        return f"Hello {name}!"
"""

BRIDGE = """
[server]
bind = ["127.0.0.1:0"]
[broker]
urls = ["{broker}"]
login = "{login}"
[log]
access = "all"
format = "json"
[tracing]
endpoint = "{endpoint}"
[[route]]
name = "hello"
path = "/hello"
queue = "cli.traced"
async = "never"
idempotency = "off"
"""


def start_bridge(start: Start, broker: EmbeddedBroker, folder: Path, endpoint: str, **environ: str) -> tuple[Any, str]:
    text = BRIDGE.format(broker=broker.stomp_url, login=broker.login, endpoint=endpoint)
    (folder / "bridge.toml").write_text(text)
    environ = {"MQBRIDGE_BROKER__PASSCODE": broker.passcode, **environ}
    bridge = start("serve", "--config", "bridge.toml", environ=environ)
    return bridge, bridge.wait_for("ready on").split()[-1]


def test_two_processes_tell_a_collector_of_one_trace(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(WORKER)
    with Collector() as collector:
        environ = {ENDPOINT: collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=of the worker"}
        worker = start("work", "hello:worker", *access, environ=environ)
        worker.wait_for("worker ready")
        bridge, url = start_bridge(start, broker, tmp_path, collector.url, OTEL_BSP_SCHEDULE_DELAY="50")
        assert httpx.post(f"{url}/hello", content="Ada").text == "Hello Ada!"
        collector.wait_for(2)  # of the bridge, while it runs; of the worker when it leaves
        worker.signal(signal.SIGTERM)
        assert worker.exit_code() == 0, worker.output
        told = {span.name: span for span in collector.wait_for(4)}
        bridge.signal(signal.SIGTERM)
        assert bridge.exit_code() == 0, bridge.output

    names = ("POST /hello", "send cli.traced", "process cli.traced", "greet")
    call, sent, processed, own = (told[name] for name in names)
    assert len(told) == len(names)
    assert {span.trace_id for span in told.values()} == {call.trace_id}
    assert [span.parent_id for span in (call, sent, processed, own)] == [
        "", call.span_id, sent.span_id, processed.span_id,
    ]  # fmt: skip
    assert {(span.service, span.headers.get("x-key")) for span in (call, sent)} == {("mqbridge", None)}
    assert {(span.service, span.headers.get("x-key")) for span in (processed, own)} == {
        ("shop-worker", "of the worker")
    }
    lines = [json.loads(line) for line in bridge.output.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["logger"] == "bridge.access"]
    assert line["trace_id"] == call.trace_id


def test_a_collector_that_is_not_there_costs_no_call_and_no_clean_end(
    start: Start, broker: EmbeddedBroker, access: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hello.py").write_text(WORKER)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        nowhere = f"http://127.0.0.1:{silent.getsockname()[1]}"
        worker = start("work", "hello:worker", *access, environ={ENDPOINT: nowhere})
        worker.wait_for("worker ready")
        bridge, url = start_bridge(start, broker, tmp_path, nowhere)
        assert httpx.post(f"{url}/hello", content="Ada").text == "Hello Ada!"
        for command in (worker, bridge):
            command.signal(signal.SIGTERM)
        assert (worker.exit_code(), bridge.exit_code()) == (0, 0), worker.output + bridge.output


def test_nobody_traces_who_was_not_asked_to() -> None:
    assert not is_wanted(NOTHING, {})
    with tracer_provider("worker") as provider:
        assert provider is None


@pytest.mark.parametrize("name", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_the_environment_can_ask_for_it(name: str) -> None:
    assert is_wanted(NOTHING, {name: "http://127.0.0.1:4318"})


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
@pytest.mark.parametrize("settings", [NOTHING, SETTINGS])
def test_the_environment_can_switch_it_off(settings: Tracing, off: dict[str, str]) -> None:
    assert not is_wanted(settings, {ENDPOINT: "http://127.0.0.1:4318", **off})


def test_a_protocol_that_is_not_spoken_is_said_and_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    environ = {ENDPOINT: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert not is_wanted(NOTHING, environ)
    assert "grpc" in caplog.text
    assert is_wanted(SETTINGS, environ)  # that endpoint is ours, and was named for what we speak


def test_without_the_extra_the_settings_are_refused_and_the_environment_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    with pytest.raises(CommandError, match=r"pip install '\.\[tracing\]'") as refused:
        is_wanted(SETTINGS, {})
    assert refused.value.code == 2
    assert not is_wanted(NOTHING, {ENDPOINT: "http://127.0.0.1:4318"})
    assert "pip install" in caplog.text


def named(settings: Tracing) -> Any:
    with tracer_provider("usual", settings) as provider:
        assert isinstance(provider, TracerProvider)
        return provider.resource.attributes[SERVICE_NAME]


def test_the_name_is_the_settings_or_else_the_environments_or_else_the_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = SETTINGS.model_copy(update={"service_name": "own"})
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    assert named(SETTINGS) == "usual"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "environment")
    assert (named(SETTINGS), named(own)) == ("environment", "own")


@pytest.mark.parametrize(
    ("sample", "variable", "sampler"),
    [
        (1.0, None, "ParentBased{root:AlwaysOnSampler"),
        (0.25, None, "ParentBased{root:TraceIdRatioBased{0.25}"),
        (1.0, "always_off", "AlwaysOffSampler"),
        (0.25, "always_off", "ParentBased{root:TraceIdRatioBased{0.25}"),
    ],
)
def test_the_share_is_the_settings_or_else_the_environments(
    sample: float, variable: str | None, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", variable)
    with tracer_provider("usual", SETTINGS.model_copy(update={"sample": sample})) as provider:
        assert provider is not None
        assert provider.sampler.get_description().startswith(sampler)


def test_nothing_needs_the_extra_before_it_is_asked_for() -> None:
    names = ("bridge.app", "consumers.worker", *(f"mqbridge.commands.{name}" for name in ("serve", "work", "direct")))
    program = f"import sys; sys.modules['opentelemetry'] = None; import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Collecting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.status)  # type: ignore[attr-defined]  # ours, see below
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_collector_that_takes_nothing_is_told_of_once_and_once_when_it_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            settings = SETTINGS.model_copy(update={"endpoint": f"http://127.0.0.1:{server.server_port}"})
            with tracer_provider("usual", settings) as provider:
                assert provider is not None
                for status in (400, 400, 200, 200, 400, 400):
                    server.status = status  # type: ignore[attr-defined]  # for the handler
                    provider.get_tracer("here").start_span("one").end()
                    provider.force_flush()
        finally:
            server.shutdown()
            thread.join()
    said = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert [line.partition(":")[0] for line in said] == [
        "traces cannot be sent, and are dropped until they can",
        "traces can be sent again",
        "traces cannot be sent, and are dropped until they can",
    ]
    assert "400" in said[0]
