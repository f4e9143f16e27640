"""Where spans go: from the settings and OpenTelemetry's own variables to what makes them. Needs the extra `tracing`.

The SDK reads `OTEL_…` from the environment itself; it is made here only, so that it stays the command line's doing.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from bridge.settings.models import Tracing as Settings
from mqbridge.console import CommandError
from mqbridge.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider

    from bridge.tracing import Tracing as BridgeTracing
    from consumers.tracing import Tracing as WorkerTracing
    from mqbridge.exporting import Exporter

log = logging.getLogger(__name__)

INSTALL: Final = "pip install '.[tracing]' in a checkout of activemq-rest-bridge"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
LAST_SPANS: Final = 5.0  # seconds for what is left at the end
_HTTP: Final = "http/protobuf"


@contextmanager
def tracer_provider(service: str, settings: Settings | None = None) -> Iterator[TracerProvider | None]:
    """Give what makes spans and sends them in the background; None where nobody asked for traces.

    ``service``: the name if neither the settings nor the environment have one. Leaving sends what is left, for a few
    seconds at most. Raises :class:`CommandError` if the settings ask for it and the extra is not installed.
    """
    settings = settings or Settings()
    if not is_wanted(settings, environment()):
        yield None
        return
    from mqbridge.exporting import Exporter  # noqa: PLC0415 - an extra

    exporter = Exporter(f"{settings.endpoint}/v1/traces" if settings.endpoint else None)
    provider = _make(service, settings, exporter)
    _tell_log()
    try:
        yield provider
    finally:
        _leave(provider, exporter)


def _leave(provider: TracerProvider, exporter: Exporter) -> None:
    """Send what is left. A collector that does not answer is not waited for as long as the SDK would."""
    exporter.hurry()
    leaving = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    leaving.start()
    leaving.join(LAST_SPANS)
    if not leaving.is_alive():  # else what it says is not for the last lines of the log
        exporter.forget()


def is_wanted(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Say whether there is somewhere to send spans to, and a way. Raises :class:`CommandError` as above.

    What only the environment asks for, perhaps for all programs of a machine, never keeps us from starting.
    """
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    named = next((name for name in _ENDPOINTS if environ.get(name)), None)
    if not settings.endpoint and named is None:
        return False
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        if settings.endpoint:
            raise CommandError(f"tracing.endpoint: nothing here can send traces; {INSTALL}", 2)
        log.warning("%s is set, and nothing here can send traces; %s", named, INSTALL)
        return False
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _HTTP)
    if not settings.endpoint and protocol != _HTTP:
        log.warning("%s asks for %s, and traces are sent as %s only: none are sent", named, protocol, _HTTP)
        return False
    return True


def _make(service: str, settings: Settings, exporter: Exporter) -> TracerProvider:
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415 - an extra

    named = Resource.create()  # with what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
    name = str(named.attributes.get(SERVICE_NAME, ""))
    if settings.service_name or not name or name.startswith("unknown_service"):
        named = named.merge(Resource({SERVICE_NAME: settings.service_name or service}))
    provider = TracerProvider(
        sampler=None if settings.sample == 1 else ParentBasedTraceIdRatio(settings.sample),
        resource=named.merge(Resource({SERVICE_VERSION: version("activemq-rest-bridge")})),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _tell_log() -> None:
    """Have each line of the log that is written within a span carry `trace_id` and `span_id`."""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - an extra

    def note(record: logging.LogRecord) -> bool:
        context = get_current_span().get_span_context()
        if context.is_valid and not hasattr(record, "trace_id"):
            record.trace_id = f"{context.trace_id:032x}"
            record.span_id = f"{context.span_id:016x}"
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(note)


def bridge_spans(provider: TracerProvider | None) -> BridgeTracing | None:
    """Return what makes a bridge's spans; None where nobody asked for traces."""
    if provider is None:
        return None
    from bridge.tracing import Tracing  # noqa: PLC0415 - an extra

    return Tracing(provider, version("activemq-rest-bridge"))


def worker_spans(provider: TracerProvider | None) -> WorkerTracing | None:
    """Return what puts spans around a worker's handlers; None where nobody asked for traces.

    The handlers' own spans, which they make by OpenTelemetry's global provider, go the same way. If the worker's module
    has set one, ours go by that.
    """
    if provider is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    from consumers.tracing import Tracing  # noqa: PLC0415 - an extra

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return Tracing(trace.get_tracer_provider(), version("activemq-rest-bridge"))
