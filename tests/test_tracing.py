"""Traces over OTLP: a server sends a span for each step of a request, to a receiver that reads them by the protocol."""

import gzip
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from more_server import tracing
from more_server.errors import SettingsError
from more_server.report import Reports
from more_server.settings import Settings
from more_server.tables import TelemetrySettings
from tests.web.conftest import nano_settings, running

SECRET = "Crocodile"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """What a collector of OpenTelemetry was sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.paths: list[str] = []
        self.headers: list[str | None] = []
        self.spans: list[Span] = []
        self.raw = b""

    def of(self, name: str, trace: str | None = None) -> list[Span]:
        return [one for one in self.spans if one.name == name and trace in (None, one.trace_id.hex())]


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            told = ExportTraceServiceRequest.FromString(body)
            made.paths.append(self.path)
            made.headers.append(self.headers.get("x-team"))
            made.raw += body
            made.spans += [one for of in told.resource_spans for scope in of.scope_spans for one in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def settings(data_dir: Path, endpoint: str) -> Settings:
    return msgspec.structs.replace(nano_settings(data_dir), telemetry=TelemetrySettings(otlp_endpoint=endpoint))


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


def test_a_request_is_traced_step_by_step(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=speech")
    text = f"The {SECRET} is asleep."
    with running(settings(tmp_path, collector.url)) as server:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine"}
        assert server.http().post("/v1/audio/speech", json={"input": text}, headers=headers).status_code == 200
        refused = {"input": text, "voice": "nobody"}
        assert server.http().post("/v1/audio/speech", json=refused).status_code == 404
    # The end of the server has sent what was left.
    assert set(collector.paths) == {"/v1/traces"}
    assert set(collector.headers) == {"speech"}
    (request,) = collector.of("speech", TRACE)
    assert request.parent_span_id.hex() == CALLER
    assert request.kind == Span.SPAN_KIND_SERVER
    told = attributes(request)
    assert (told["more.request_id"], told["more.door"], told["more.outcome"]) == ("mine", "http", "ok")
    assert (told["more.voice_id"], told["more.quality_profile"]) == ("linden", "balanced")
    spans = {name: collector.of(name, TRACE) for name in ("resolve", "engine", "post_processors", "encode")}
    assert {name: len(found) for name, found in spans.items()} == dict.fromkeys(spans, 1)
    for (span,) in spans.values():
        assert span.parent_span_id == request.span_id, span.name
        assert request.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano, span.name
    for name, above in (("text", "resolve"), ("engine.first_audio", "engine")):
        ((below,), (one,)) = collector.of(name, TRACE), spans[above]
        assert below.parent_span_id == one.span_id
        assert one.start_time_unix_nano <= below.start_time_unix_nano
        assert below.end_time_unix_nano <= one.end_time_unix_nano
    for name in ("engine", "post_processors", "encode"):
        assert float(str(attributes(spans[name][0])["more.busy_ms"])) > 0
    (other,) = [one for one in collector.of("speech") if one.trace_id.hex() != TRACE]
    assert (other.status.code, other.status.message) == (Status.STATUS_CODE_ERROR, "voice_not_found")
    assert not other.parent_span_id
    (resolve,) = collector.of("resolve", other.trace_id.hex())
    assert resolve.status.code == Status.STATUS_CODE_ERROR
    assert SECRET.encode() not in collector.raw


def test_a_share_is_traced_and_callers_decide_for_their_own(collector: Collector) -> None:
    reports = Reports(TelemetrySettings(otlp_endpoint=f"{collector.url}/v1/traces", sampled=0.0))
    for number in range(20):
        reports.begin(f"ours-{number}", "http").end()
    with capture_logs() as lines:
        reports.begin("theirs", "http", traceparent=f"00-{TRACE}-{CALLER}-01").end()
    assert [line["trace_id"] for line in lines] == [TRACE]
    reports.begin("nobody's", "http", traceparent="00-nonsense-01").end()
    reports.close()
    assert [attributes(one)["more.request_id"] for one in collector.spans] == ["theirs"]


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://127.0.0.1:4317", "http://"])
def test_an_address_that_is_none_stops_the_start(endpoint: str) -> None:
    with pytest.raises(SettingsError, match=r"telemetry\.otlp_endpoint .* such as http"):
        Reports(TelemetrySettings(otlp_endpoint=endpoint))


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "NEEDED", ("opentelemetry.nowhere", "no_such_package.at.all"))
    with pytest.raises(SettingsError, match=r"pip install 'more-server\[telemetry\]'"):
        Reports(TelemetrySettings(otlp_endpoint="http://127.0.0.1:4318"))


def test_nothing_of_it_is_imported_while_it_is_off() -> None:
    code = (
        "import sys; from more_server.report import Reports\n"
        f"with Reports().begin('id', 'http', traceparent='00-{TRACE}-{CALLER}-01'): ...\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
