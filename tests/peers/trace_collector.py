"""A collector of traces: takes OTLP over HTTP, reads it with OpenTelemetry's own definitions, and prints what
came, one JSON object a span. The first line is where it listens.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def emit(line):
    print(json.dumps(line), flush=True)


def plain(value):
    return getattr(value, value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if (self.path, self.headers["content-type"]) != ("/v1/traces", "application/x-protobuf"):
            self.answer(404, b"")
            return
        request = ExportTraceServiceRequest.FromString(body)
        for batch in request.resource_spans:
            for scope in batch.scope_spans:
                for span in scope.spans:
                    self.tell(batch.resource, span)
        self.answer(200, ExportTraceServiceResponse().SerializeToString())

    def tell(self, resource, span):
        emit(
            {
                "key": self.headers["x-collector-key"],
                "resource": attributes(resource.attributes),
                "trace": span.trace_id.hex(),
                "span": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "name": span.name,
                "kind": Span.SpanKind.Name(span.kind),
                "status": Status.StatusCode.Name(span.status.code),
                "lasted_ns": span.end_time_unix_nano - span.start_time_unix_nano,
                "attributes": attributes(span.attributes),
                "events": [event.name for event in span.events],
            }
        )

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
