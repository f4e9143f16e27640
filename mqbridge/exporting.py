"""Spans on their way to a collector that may be away. Needs the extra `tracing`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

# Where the exporter tells of each attempt that fails, and the batches of each span that they have no room for.
_EXPORTER: Final = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
_BATCHES: Final = logging.getLogger("opentelemetry.sdk._shared_internal")


class Exporter(SpanExporter):
    """OTLP over HTTP that says once when its collector cannot be told anything any more, and once when it can again.

    The SDK's own says it four times for each batch.
    """

    def __init__(self, endpoint: str | None) -> None:
        """``endpoint``: where to, whole; None: where the environment says."""
        self._inner = OTLPSpanExporter(endpoint=endpoint)
        self._is_away = False
        self._reason = ""
        _EXPORTER.addFilter(self._keep)
        _BATCHES.addFilter(self._hush)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; called by one thread at a time."""
        result = self._inner.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            log.warning("traces cannot be sent, and are dropped until they can: %s", self._reason or "no reason given")
        elif self._is_away and not is_away:
            log.warning("traces can be sent again")
        self._is_away = is_away
        self._reason = ""
        return result

    def hurry(self) -> None:
        """Before the last spans: one that is away, or has just failed to take what is under way, is not asked again."""
        if self._is_away or self._reason:
            self._inner.shutdown()  # type: ignore[no-untyped-call]  # theirs

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # theirs

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)

    def forget(self) -> None:
        """Let the SDK's log be as it was."""
        _EXPORTER.removeFilter(self._keep)
        _BATCHES.removeFilter(self._hush)

    def _keep(self, record: logging.LogRecord) -> bool:
        """Take the first of what is said of a batch for its reason."""
        self._reason = self._reason or record.getMessage()
        return record.levelno < logging.WARNING

    def _hush(self, _: logging.LogRecord) -> bool:
        return not self._is_away  # that they are dropped has been said
