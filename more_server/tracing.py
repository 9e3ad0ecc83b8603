"""Spans of OpenTelemetry, one for each step of a request; none are made until `telemetry.otlp_endpoint` is set.

The only module that imports opentelemetry, and only then: it comes with the extra `telemetry`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from more_server.errors import MoreError, SettingsError
from more_server.tables import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

Chunk = TypeVar("Chunk")
PATH = "/v1/traces"
"""Of OTLP over HTTP."""
SERVICE = "more-server"
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Span:
    """A stretch of time in a request. Without a tracer it is nothing, and so are those below it."""

    def __init__(self, tracer: "Tracer | None" = None, span: "OtelSpan | None" = None) -> None:
        self._tracer = tracer
        self._span = span
        self._busy = 0.0

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty without a trace."""
        return "" if self._span is None else f"{self._span.get_span_context().trace_id:032x}"

    def below(self, name: str) -> "Span":
        """A span of a part of this one, which begins now."""
        if self._tracer is None or self._span is None:
            return self
        from opentelemetry.trace import set_span_in_context

        return Span(self._tracer, self._tracer.start_span(name, set_span_in_context(self._span)))

    def note(self, **attributes: Any) -> None:
        """Facts about it; never the text. None is left out."""
        if self._span is not None:
            self._span.set_attributes(
                {f"more.{name}": value for name, value in attributes.items() if value is not None}
            )

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Time in which its own work is done, where it takes turns with other steps."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.worked(time.monotonic() - began)

    def worked(self, seconds: float) -> None:
        """So much more time was its own."""
        if self._span is not None:
            self._busy += seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """It ends now, perhaps by an error, of which the code alone is told: messages may hold what people wrote."""
        if self._span is None:
            return
        if self._busy:
            self.note(busy_ms=round(self._busy * 1000, 1))
        if error is not None and not _is_leaving(error):
            from opentelemetry.trace import Status, StatusCode

            code = error.code if isinstance(error, MoreError) else type(error).__name__
            self._span.set_status(Status(StatusCode.ERROR, code))
        self._span.end()


def _is_leaving(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError | GeneratorExit)


NO_SPAN = Span()
_HERE: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def here() -> Span:
    """What is being done; it is nothing outside of requests, and without traces."""
    return _HERE.get()


@contextmanager
def within(span: Span) -> Iterator[None]:
    """Steps that begin meanwhile are parts of this one. Not around a `yield` of a generator that others iterate."""
    token = _HERE.set(span)
    try:
        yield
    finally:
        _HERE.reset(token)


@contextmanager
def step(name: str) -> Iterator[Span]:
    """A step and whatever is done within it; not around a `yield` of a generator that others iterate."""
    with here().below(name) as span, within(span):
        yield span


async def made(name: str, first: str, chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[Chunk, None]:
    """The same chunks with a span for their making, and one below it, `first`, for the wait until there is one."""
    with here().below(name) as span, ExitStack() as waiting:
        waiting.enter_context(span.below(first))
        async with aclosing(chunks):
            while True:
                with span.busy():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                waiting.close()
                yield chunk


class Traces:
    """Sends the spans of one server."""

    def __init__(self, settings: TelemetrySettings) -> None:
        """Raises SettingsError where the extra is not installed, or the address cannot be one."""
        self._provider: Any = None
        self._tracer: Tracer | None = None
        if settings.otlp_endpoint:
            self._open(settings)

    def _open(self, settings: TelemetrySettings) -> None:
        address = _address(settings.otlp_endpoint)
        if not all(map(_is_installed, NEEDED)):
            raise SettingsError(
                "telemetry.otlp_endpoint is set, and what sends traces is not installed: "
                "pip install 'more-server[telemetry]'"
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.send_to(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)), settings.sampled)

    def send_to(self, processor: "SpanProcessor", sampled: float = 1.0) -> None:
        """Make spans, of this share of requests, and hand them to a processor of the SDK."""
        from importlib.metadata import version

        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        resource = Resource.create({"service.name": SERVICE, "service.version": version(SERVICE)})
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(sampled)), resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)

    def begin(self, name: str, traceparent: str = "") -> Span:
        """The span of a request; traceparent: the header of W3C's Trace Context, where the caller sent one."""
        if self._tracer is None:
            return NO_SPAN
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        caller = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
        return Span(self._tracer, self._tracer.start_span(name, caller, SpanKind.SERVER))

    def close(self) -> None:
        """Send what is left. Blocks."""
        if self._provider is not None:
            self._provider.shutdown()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _address(endpoint: str) -> str:
    """Where spans are posted: the setting is the collector's own address, or that of its traces."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(
            f"telemetry.otlp_endpoint {endpoint!r} is no address of HTTP, such as http://127.0.0.1:4318"
        )
    return endpoint if parts.path.endswith(PATH) else endpoint.rstrip("/") + PATH
