"""What one request costs on the wire: round trips to PostgreSQL, and flushes of its log.

Run in a process of its own (`python -m benchmarks.costs`), with the environment of a system: the
requests on standard input go through the same application, without the web server.
"""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from demo.processes import ROOT

# What a session has flushed so far, in the versions of PostgreSQL that count it for each session.
FLUSHES = """
SELECT sum(fsyncs) FROM pg_stat_get_backend_io(pg_backend_pid()) WHERE object = 'wal'
"""


class Costs(NamedTuple):
    """The costs of each of some requests; flushes are None where PostgreSQL is older than 18."""

    round_trips: float
    flushes: float | None


def costs(environment: Mapping[str, str], requests: list[bytes]) -> Costs:
    """Return the costs of the last of some requests, once their statements are prepared."""
    command = [sys.executable, "-m", "benchmarks.costs"]
    sent = json.dumps([request.decode() for request in requests]).encode()
    printed = subprocess.check_output(command, cwd=ROOT, env=environment, input=sent)
    return Costs(*json.loads(printed))


def main() -> None:
    """Send the requests; print the costs of the later half of them."""
    from django.db import connection

    from config.wsgi import application

    requests = [request.encode() for request in json.load(sys.stdin)]
    half = len(requests) // 2
    for request in requests[:half]:
        _send(application, request)
    session = connection.connection.pgconn
    before = _flushes(connection)
    with tempfile.TemporaryFile() as messages:
        session.trace(messages.fileno())
        for request in requests[half:]:
            _send(application, request)
        session.untrace()
        messages.seek(0)
        trips = messages.read().count(b"ReadyForQuery")
    after = _flushes(connection)
    measured = len(requests) - half
    flushed = None if before is None or after is None else (after - before) / measured
    sys.stdout.write(json.dumps([trips / measured, flushed]))


def _flushes(connection: Any) -> int | None:
    if connection.pg_version < 180000:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(FLUSHES)
        return int(cursor.fetchone()[0])


def _send(application: Any, request: bytes) -> None:
    """Have the application respond to a request as the web server would; a refusal ends this."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    method, path, _ = line.split(" ")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        **dict(_in_cgi(headers)),
    }
    statuses: list[str] = []
    response = application(environ, lambda status, headers: statuses.append(status))
    content = b"".join(response)
    response.close()
    if not statuses[0].startswith("2"):
        sys.exit(f"{line}: {statuses[0]} {content.decode()}")


def _in_cgi(headers: list[str]) -> Iterator[tuple[str, str]]:
    for header in headers:
        name, _, value = header.partition(": ")
        name = name.upper().replace("-", "_")
        yield (name if name.startswith("CONTENT_") else f"HTTP_{name}"), value


if __name__ == "__main__":
    main()
