#!/usr/bin/env bash
# The second server takes the first one's controls away, and leaves none: gunicorn 27.0.1
#
# Newer gunicorns listen on a control socket, for gunicornc: show workers, add one, shut down. Its path follows from
# the user's home or runtime folder, not from the application or its address. A second gunicorn of the same user
# replaces the first one's socket without a word, so gunicornc without a path then commands the second, whoever thinks
# of the first. When the second ends it removes the socket, and the first, which runs on, can be commanded no more
# until it is restarted.
#
# Seen:
#     one server: gunicornc reaches the first
#     two servers: gunicornc reaches the second
#     the second has stopped, the first still serves: True; gunicornc reaches nobody
#
# Here each run starts without one: --no-control-socket in jobsite/management/commands/run.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check gunicorn==27.0.1
"$work/venv/bin/python" -W ignore - "$work" <<'PY'
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

work = Path(sys.argv[1])
programs = Path(sys.executable).parent
(work / "home").mkdir()
(work / "app.py").write_text("def app(environ, start):\n    start('200 OK', [])\n    return [b'fine']\n")
env = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"} | {"HOME": str(work / "home")}


class Server:
    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = work / f"{self.port}.log"
        command = [programs / "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--log-file", self.log, "app:app"]
        self.process = subprocess.Popen(command, cwd=work, env=env)
        until(lambda: self.log.exists() and "Control socket listening" in self.log.read_text())
        until(self.serves)

    def serves(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/").read() == b"fine"
        except OSError:
            return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.1)


def reached():
    """The process id that gunicornc is answered by, or None."""
    asked = subprocess.run(
        [programs / "gunicornc", "-c", "show all"], cwd=work, env=env, capture_output=True, text=True, timeout=30
    )
    found = re.search(r"ARBITER.*?PID: (\d+)", asked.stdout, re.DOTALL)
    return int(found[1]) if found else None


servers = []
try:
    servers.append(first := Server())
    alone = reached()
    servers.append(second := Server())
    both = reached()
    second.stop()
    left, serves = reached(), first.serves()
finally:
    for server in servers:
        server.stop()
names = {first.process.pid: "the first", second.process.pid: "the second", None: "nobody"}
print("one server: gunicornc reaches", names[alone])
print("two servers: gunicornc reaches", names[both])
print(f"the second has stopped, the first still serves: {serves}; gunicornc reaches", names[left])
found = [names[pid] for pid in (alone, both, left)]
assert found == ["the first", "the second", "nobody"], "it behaves differently now"
assert serves
PY
