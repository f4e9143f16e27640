"""One trace from an HTTP call over the queue to the handler and back; what its spans say, and who decides on it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, StatusCode

from activemq.local import LocalBroker
from bridge.settings import Log, Route, Settings
from bridge.tracing import Tracing as BridgeTracing
from consumers import Reply, Request, Worker
from consumers.adapters.asgi import asgi_worker
from consumers.tracing import Tracing as WorkerTracing
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import ToldWorker, running, settings_for
from tests.system.conftest import run_worker

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traceparent(flags: str = "01") -> tuple[str, str]:
    return ("traceparent", f"00-{TRACE}-{PARENT}-{flags}")


class Spans:
    """What is told of calls; ``ended()`` are the spans, in the order of their ends."""

    def __init__(self, sampler: Any = None) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.bridge = BridgeTracing(self.provider, "1")
        self.worker = WorkerTracing(self.provider, "1")
        self.tracer = self.provider.get_tracer("a handler")

    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    async def named(self, *names: str) -> list[ReadableSpan]:
        """Wait until each name has its span, and no other has; return them in this order."""
        await until(lambda: len(self.ended()) >= len(names), f"{names}, not {[span.name for span in self.ended()]}")
        found = {span.name: span for span in self.ended()}
        assert sorted(span.name for span in self.ended()) == sorted(names)
        return [found[name] for name in names]

    def forget(self) -> None:
        self._exporter.clear()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def span_id(span: ReadableSpan) -> int:
    return span.get_span_context().span_id


def of(carrier: Any, queue: str) -> Settings:
    """One route, POST /t."""
    return settings_for(carrier, [Route(name="t", path="/t", queue=queue)])


def echo(text: str) -> str:
    return text


def worker_of(queue: str, handler: Callable[..., Any]) -> Worker:
    worker = Worker()
    worker.handler(queue)(handler)
    return worker


@pytest.mark.every_broker
async def test_a_held_call_is_one_trace_from_its_caller_to_the_handlers_own_spans(
    carrier: Any, queue: Any, working: Any, implementation: str, spans: Spans
) -> None:
    name = queue("traced")
    seen: list[Request] = []

    async def handler(request: Request) -> str:
        seen.append(request)
        with spans.tracer.start_as_current_span("look it up"):
            return request.text().upper()

    worker = worker_of(name, handler)
    route = Route(name="words", path="/words/{id}", queue=name)
    async with (
        running(settings_for(carrier, [route]), implementation, tracing=spans.bridge) as bridge,
        working(worker, tracing=spans.worker),
    ):
        answer = await bridge.call("/words/7?secret=1", b"hi", headers=(traceparent(), ("tracestate", "shop=1")))
        assert (answer.status, answer.body) == (200, b"HI")
        names = ("POST /words/{id}", f"send {name}", f"process {name}", "look it up")
        call, sent, processed, own = await spans.named(*names)
        kind = bridge.bridge.client.profile.kind

    assert {f"{span.get_span_context().trace_id:032x}" for span in (call, sent, processed, own)} == {TRACE}
    assert f"{call.parent.span_id:016x}" == PARENT
    parents = [span.parent.span_id for span in (sent, processed, own)]
    assert parents == [span_id(call), span_id(sent), span_id(processed)]
    assert [span.kind for span in (call, sent, processed)] == [SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER]
    assert [link.context.span_id for link in processed.links] == [span_id(sent)]
    assert seen[0].trace == {
        "traceparent": f"00-{TRACE}-{span_id(processed):016x}-01",
        "tracestate": "shop=1",
    }
    assert seen[0].trace_id == TRACE
    assert call.start_time <= sent.start_time <= processed.start_time
    assert sent.end_time <= call.end_time
    assert processed.end_time <= call.end_time

    correlation_id = answer.get("correlation-id")
    attributes = dict(call.attributes)
    assert attributes.pop("mqbridge.queue_ms") >= 0
    assert attributes.pop("mqbridge.work_ms") >= 0
    attributes.pop("mqbridge.attempt", None)  # where the worker told that it had begun
    assert attributes == {
        "http.request.method": "POST",
        "http.route": "/words/{id}",
        "http.response.status_code": 200,
        "url.path": "/words/7",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "messaging.message.conversation_id": correlation_id,
        "mqbridge.outcome": "2xx",
    }
    of_message = {
        "messaging.system": "rabbitmq" if kind == "rabbitmq" else "activemq",
        "messaging.destination.name": name,
        "messaging.message.conversation_id": correlation_id,
    }
    assert dict(sent.attributes) == {
        **of_message, "messaging.operation.name": "send", "messaging.operation.type": "send",
    }  # fmt: skip
    assert dict(processed.attributes) == {
        **of_message,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "mqbridge.attempt": 1,
        "http.response.status_code": 200,
    }
    assert {span.status.status_code for span in (call, sent, processed, own)} == {StatusCode.UNSET}


def test_the_names_are_those_of_the_conventions() -> None:
    """In the package that comes with the SDK, which calls those that are not stable yet incubating."""
    incubating = importlib.import_module("opentelemetry.semconv._incubating.attributes.messaging_attributes")
    stable = [
        importlib.import_module(f"opentelemetry.semconv.attributes.{name}_attributes")
        for name in ("http", "url", "network", "error")
    ]
    known = {value for module in (incubating, *stable) for value in vars(module).values() if isinstance(value, str)}
    from activemq.spans import CONVERSATION, ERROR_TYPE, attributes_of

    used = {*attributes_of("classic", "send", "q", "id"), CONVERSATION, ERROR_TYPE}
    used |= {"http.request.method", "http.route", "http.response.status_code"}
    used |= {"url.path", "url.scheme", "network.protocol.version"}
    assert used <= known
    systems = {member.value for member in incubating.MessagingSystemValues}
    types = {member.value for member in incubating.MessagingOperationTypeValues}
    for kind in ("classic", "artemis", "rabbitmq"):
        assert attributes_of(kind, "send", "q", "id")["messaging.system"] in systems
    assert {"send", "process"} <= types


async def test_a_handler_that_is_no_coroutine_has_its_spans_in_the_trace_too(queue: Any) -> None:
    spans, name = Spans(), queue("thread")
    threads: list[str] = []

    def handler(text: str) -> str:
        threads.append(threading.current_thread().name)
        with spans.tracer.start_as_current_span("in a thread"):
            return text

    local = LocalBroker()
    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(worker_of(name, handler), at=local, tracing=spans.worker),
    ):
        assert (await bridge.call("/t", b"x")).status == 200
        *_, processed, own = await spans.named("POST /t", f"send {name}", f"process {name}", "in a thread")
    assert threads != [threading.main_thread().name]
    assert own.parent.span_id == span_id(processed)


async def test_an_asgi_app_is_called_in_the_trace_of_the_workers_span(queue: Any, spans: Spans) -> None:
    name, local = queue("asgi"), LocalBroker()

    async def app(scope: Any, _: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": headers[b"traceparent"]})

    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(asgi_worker(app, name), at=local, tracing=spans.worker),
    ):
        answer = await bridge.call("/t", b"x", headers=(traceparent(),))
        _, _, processed = await spans.named("POST /t", f"send {name}", f"process {name}")
    assert answer.body.decode() == f"00-{TRACE}-{span_id(processed):016x}-01"


@pytest.mark.parametrize(("flags", "told"), [("01", True), ("00", False)])
async def test_the_callers_decision_to_sample_holds_for_all_spans(
    flags: str, told: bool, queue: Any, spans: Spans
) -> None:
    name, local = queue("sampled"), LocalBroker()
    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(worker_of(name, echo), at=local, tracing=spans.worker),
    ):
        assert (await bridge.call("/t", b"x", headers=(traceparent(flags),))).status == 200
        await bridge.at_rest()
    assert bool(spans.ended()) == told


async def test_a_trace_that_is_not_sampled_goes_on_all_the_same(queue: Any) -> None:
    spans, name, local = Spans(ParentBasedTraceIdRatio(0.0)), queue("unsampled"), LocalBroker()
    route = Route(name="t", path="/t", queue=name)
    async with (
        running(settings_for(local, [route]), "hypercorn", tracing=spans.bridge) as bridge,
        ToldWorker(local, name) as worker,
    ):
        calling = asyncio.create_task(bridge.call("/t", b"x"))
        message = await worker.request(name)
        await worker.reply(message)
        assert (await calling).status == 200
        assert not bridge.bridge.router.routes[0].counts.figures.took.exemplars
    found = re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})", message.get("traceparent"))
    assert found
    assert not int(found[1], 16) & 1
    assert not spans.ended()


@pytest.mark.parametrize("status", [404, 500])
async def test_an_answer_of_5xx_is_an_error_and_one_of_4xx_is_not(status: int, queue: Any, spans: Spans) -> None:
    name, local = queue("status"), LocalBroker()
    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(worker_of(name, lambda _: Reply(b"", status)), at=local, tracing=spans.worker),
    ):
        assert (await bridge.call("/t", b"x")).status == status
        call, sent, processed = await spans.named("POST /t", f"send {name}", f"process {name}")
    expected = StatusCode.ERROR if status == 500 else StatusCode.UNSET
    for span in (call, processed):
        assert span.status.status_code is expected
        assert span.attributes["http.response.status_code"] == status
        assert span.attributes.get("error.type") == ("500" if status == 500 else None)
    assert sent.status.status_code is StatusCode.UNSET


async def test_what_a_handler_raises_is_in_its_span_and_its_log_line_names_the_trace(
    queue: Any, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    name, local = queue("raises"), LocalBroker()

    def handler(_: str) -> str:
        raise LookupError("not there")

    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(worker_of(name, handler), at=local, tracing=spans.worker),
    ):
        answer = await bridge.call("/t", b"x", headers=(traceparent(),))
        assert answer.name == "worker-failed"
        call, _, processed = await spans.named("POST /t", f"send {name}", f"process {name}")
    assert (call.attributes["error.type"], call.attributes["mqbridge.outcome"]) == ("worker-failed", "worker-failed")
    assert processed.attributes["error.type"] == "LookupError"
    (event,) = processed.events
    assert event.attributes["exception.message"] == "not there"
    assert {call.status.status_code, processed.status.status_code} == {StatusCode.ERROR}
    (line,) = [record for record in caplog.records if "the handler failed" in record.getMessage()]
    assert line.trace_id == TRACE


@pytest.mark.parametrize("target", ["/nowhere", "/t"])
async def test_a_call_that_is_refused_is_in_its_callers_trace_without_a_message(
    target: str, queue: Any, spans: Spans
) -> None:
    local = LocalBroker()
    route = Route(name="t", path="/t", queue=queue("refused"), max_body=1)
    async with running(settings_for(local, [route]), "hypercorn", tracing=spans.bridge) as bridge:
        refused = await bridge.call(target, b"too long", headers=(traceparent(),))
        (call,) = await spans.named("POST /t" if target == "/t" else "POST")
    assert f"{call.get_span_context().trace_id:032x}" == TRACE
    assert call.attributes["http.response.status_code"] == refused.status
    assert call.attributes["mqbridge.outcome"] == refused.name
    assert call.status.status_code is StatusCode.UNSET


async def test_a_caller_who_leaves_is_no_error_of_the_bridge(queue: Any, spans: Spans) -> None:
    name, local = queue("left"), LocalBroker()
    async with (
        running(of(local, name), "hypercorn", tracing=spans.bridge) as bridge,
        ToldWorker(local, name) as worker,
    ):
        async with await Caller.connect(bridge.port) as caller:
            await caller.send(request("/t", b""))
            await worker.request(name)
        call, _ = await spans.named("POST /t", f"send {name}")
    assert call.attributes["mqbridge.outcome"] == "caller-gone"
    assert "http.response.status_code" not in call.attributes
    assert call.status.status_code is StatusCode.UNSET


async def test_the_access_line_and_the_calls_timeline_name_the_trace(
    queue: Any, caplog: pytest.LogCaptureFixture, spans: Spans
) -> None:
    name, local = queue("line"), LocalBroker()
    settings = of(local, name)
    settings = settings.model_copy(update={"log": Log(access="all")})
    async with (
        running(settings, "hypercorn", tracing=spans.bridge) as bridge,
        run_worker(worker_of(name, echo), at=local, tracing=spans.worker),
    ):
        with caplog.at_level(logging.INFO, logger="bridge.access"):
            answer = await bridge.call("/t", b"x")
            call, *_ = await spans.named("POST /t", f"send {name}", f"process {name}")
            await bridge.at_rest()
        trace_id = f"{call.get_span_context().trace_id:032x}"
        kept = bridge.bridge.book.ledger.find(answer.get("correlation-id"))
        figures = bridge.bridge.router.routes[0].counts.figures
    (line,) = [record for record in caplog.records if record.name == "bridge.access"]
    assert (line.trace_id, kept.trace_id) == (trace_id, trace_id)
    assert f"trace={trace_id}" in line.getMessage()
    assert [exemplar.trace_id for exemplar in figures.took.exemplars.values()] == [trace_id]


@pytest.mark.jobs
async def test_a_job_is_one_trace_and_who_joins_it_sends_nothing(
    broker: Any, queue: Any, working: Any, spans: Spans
) -> None:
    name = queue("job")
    async with (
        running(of(broker, name), "hypercorn", tracing=spans.bridge) as bridge,
        working(worker_of(name, echo), tracing=spans.worker),
    ):
        key = ("Idempotency-Key", "one")
        assert (await bridge.call("/t", b"x", headers=(key, traceparent()))).status == 200
        call, sent, processed = await spans.named("POST /t", f"send {name}", f"process {name}")
        spans.forget()
        again = await bridge.call("/t", b"x", headers=(key,))
        assert again.get("idempotency-replayed") == "true"
        (joined,) = await spans.named("POST /t")
    assert {f"{span.get_span_context().trace_id:032x}" for span in (call, sent, processed)} == {TRACE}
    assert (sent.parent.span_id, processed.parent.span_id) == (span_id(call), span_id(sent))
    assert joined.attributes["messaging.message.conversation_id"] == again.get("correlation-id")


async def test_a_job_that_is_not_waited_for_is_worked_on_in_the_trace_that_made_it(
    broker: Any, queue: Any, working: Any, spans: Spans
) -> None:
    name, go_on = queue("async"), asyncio.Event()

    async def handler(text: str) -> str:
        await go_on.wait()
        return text

    async with (
        running(of(broker, name), "hypercorn", tracing=spans.bridge) as bridge,
        working(worker_of(name, handler), tracing=spans.worker),
    ):
        answer = await bridge.call("/t", b"x", headers=(("Prefer", "respond-async"), traceparent()))
        assert answer.status == 202
        await spans.named("POST /t", f"send {name}")
        go_on.set()
        call, sent, processed = await spans.named("POST /t", f"send {name}", f"process {name}")
    assert call.attributes["http.response.status_code"] == 202
    assert processed.parent.span_id == span_id(sent)
    assert f"{processed.get_span_context().trace_id:032x}" == TRACE


async def test_a_message_whose_trace_cannot_be_read_begins_a_new_one(spans: Spans) -> None:
    async def handler(_: Request) -> Reply:
        return Reply(b"")

    class Foreign:
        correlation_id = "c"
        attempt = 1

        @property
        def trace(self) -> Any:
            from activemq.errors import RemoteProtocolError

            raise RemoteProtocolError("an undefined escape")

        @trace.setter
        def trace(self, context: Any) -> None:
            self.context = context

    traced = spans.worker.traced("q", handler, lambda: "classic")
    await traced(Foreign())
    (processed,) = spans.ended()
    assert processed.parent is None
    assert not processed.links


async def test_nothing_is_current_any_more_once_a_handler_has_ended(spans: Spans) -> None:
    async def handler(_: Any) -> Reply:
        assert trace.get_current_span().get_span_context().is_valid
        return Reply(b"")

    await spans.worker.traced("q", handler, lambda: "classic")(SimpleNamespace(trace={}, correlation_id="", attempt=1))
    assert not trace.get_current_span().get_span_context().is_valid
