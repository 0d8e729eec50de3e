"""A server of the lab: a process that serves every mechanism over HTTP and can be killed.

`POST /<mechanism>/issue` returns a page's token, `POST /<mechanism>/pay` is the click. At every
failpoint it reports to the scheduler (lab/harness/scheduler.py) and carries out the action that it
gets back.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import django
from django.apps import apps

if not apps.ready:  # a process that starts here
    django.setup()

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.servers import basehttp
from django.db import connection, connections
from django.http import HttpResponse, JsonResponse

from idempotency import failpoints
from lab import mechanisms
from lab.harness import second_database, statements, store
from lab.harness.bank import ClickRefused, PayClick

DATABASE_OPTIONS = (
    "-c lock_timeout=60s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
)
# The failpoints of the idempotency app, under the lab's names.
POINTS = {"key-claimed": "checked", "response-stored": "before-commit", "committed": "after-commit"}
WATCHED = frozenset(
    {"arrived", "checked", "waiting", "before-commit", "after-commit", "responded"}
    | {"half-prepared", "half-committed"}
)

_current = threading.local()  # the click that a thread serves


@dataclass(frozen=True)
class ClusterSettings:
    """Settings that the processes of one run share: database, prefix of its schemas, Redis."""

    database: str
    prefix: str
    redis_url: str | None

    def schema(self, mechanism: str) -> str:
        return f"{self.prefix}_{mechanism}"


def serve(pipe: Connection, cluster: ClusterSettings) -> None:
    """Serve until the other end of the pipe is closed; send the port through it first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which then ends us
    mine = connections.settings["default"]
    mine["NAME"] = cluster.database
    mine["OPTIONS"] |= {"application_name": cluster.prefix, "options": DATABASE_OPTIONS}
    second_database.connect(cluster.prefix)
    settings.IDEMPOTENCY |= {"WAITING_THREADS_MAX": 1000}  # the lab counts charges, not threads
    if cluster.redis_url:
        store.connect(cluster.redis_url)
    failpoints.install(_report_failpoint)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.set_app(_Application(cluster))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        pipe.send(server.server_port)
        pipe.recv()
    except (EOFError, OSError):
        os._exit(0)  # without waiting for threads that are held at a failpoint


class _Application(WSGIHandler):
    def __init__(self, cluster: ClusterSettings) -> None:
        super().__init__()
        self.cluster = cluster

    def load_middleware(self, is_async: bool = False) -> None:
        """Load none: no middleware of the project comes between a click and its mechanism."""

    def get_response(self, request: WSGIRequest) -> HttpResponse:  # type: ignore[override]
        name, verb = request.path.strip("/").split("/")
        mechanism = mechanisms.load(name)
        _current.scheduler = request.headers.get("Lab-Scheduler")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('search_path', %s, false)", [_search_path(self.cluster, name)]
            )
        click = PayClick(**json.loads(request.body), http=request)
        body, status = _execute(getattr(mechanism, verb), click)
        if _report("responded", status=status, text=body["text"]) == "drop":
            request.environ["lab.drop_connection"]()
        response = JsonResponse(body, status=status)
        response["Content-Length"] = len(response.content)  # keeps the connection open
        return response


def _search_path(cluster: ClusterSettings, mechanism: str) -> str:
    return f"{cluster.schema(mechanism)}, public"


def _execute(act: Callable[[PayClick], str], click: PayClick) -> tuple[dict[str, Any], int]:
    """Return the response's body, with the click's cost, and its HTTP status."""
    statements.begin()
    _report("arrived", session=_session())
    status, started = 200, time.perf_counter()
    try:
        with ExitStack() as counted:
            for each in connections.all():
                counted.enter_context(each.execute_wrapper(_add_statement))
            text = act(click)
    except ClickRefused as refused:
        text, status = str(refused), 409
    except Exception as error:
        text, status = repr(error), 500
    seconds = time.perf_counter() - started
    cost = {"statements": statements.count(), "seconds": seconds}
    return {"text": text} | cost, status


def _session() -> int:
    """Return the PostgreSQL process of this thread's session: it shows whether the click waits."""
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


def _add_statement(execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
    statements.add(sql)
    return execute(sql, *args)


def _report_failpoint(name: str) -> None:
    if _report(POINTS.get(name, name)) == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def _report(point: str, **facts: Any) -> str:
    """Report this click's failpoint, with its statements since the last one, to the scheduler.

    Wait for the scheduler's action and return it.
    """
    scheduler = getattr(_current, "scheduler", None)
    if scheduler is None or point not in WATCHED:
        return "go"
    port, click = scheduler.split("/")
    try:
        with socket.create_connection(("127.0.0.1", int(port))) as channel:
            report = {"click": int(click), "failpoint": point} | facts
            report["sql"] = statements.read_new()
            channel.sendall(f"{json.dumps(report)}\n".encode())
            return channel.recv(16).decode()
    except ConnectionError:  # the scheduler has gone, and with it every client
        os._exit(1)


class _Handler(basehttp.WSGIRequestHandler):
    disable_nagle_algorithm = True  # or every response waits 40 ms for the client's delayed ACK

    def get_environ(self) -> dict[str, Any]:
        return super().get_environ() | {"lab.drop_connection": self._drop_connection}

    def _drop_connection(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the lab's own report has every click."""


class _Server(basehttp.ThreadedWSGIServer):
    request_queue_size = 128
