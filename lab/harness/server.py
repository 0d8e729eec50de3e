"""A shop of the lab: a process of its own that serves every mechanism over HTTP and can be killed.

`POST /<mechanism>/issue` returns a page's token, `POST /<mechanism>/pay` is the click. The director
(lab/director.py) is asked at every fault point what shall happen there.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
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
from lab.harness import store
from lab.harness.bank import Click, Refused

PATIENT = "-c lock_timeout=60s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
# What the interceptor calls its points, in the lab's words.
POINTS = {"key-claimed": "looked", "response-stored": "before-commit", "committed": "after-commit"}
WATCHED = frozenset({"arrived", "looked", "waiting", "before-commit", "after-commit", "answered"})

_watched = threading.local()


@dataclass(frozen=True)
class Run:
    """What the processes of one run share: the database, its schemas' prefix, and Redis."""

    database: str
    prefix: str
    redis_url: str | None

    def schema(self, mechanism: str) -> str:
        return f"{self.prefix}_{mechanism}"


def serve(pipe: Connection, run: Run) -> None:
    """Serve until the other end of the pipe is closed; send the port through it first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which then ends us
    mine = connections.settings["default"]
    mine["NAME"] = run.database
    mine["OPTIONS"] |= {"application_name": run.prefix, "options": PATIENT}
    settings.IDEMPOTENCY_WAITERS = 1000  # the lab counts charges, not threads
    if run.redis_url:
        store.connect(run.redis_url)
    failpoints.install(_report)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.set_app(_Shop(run))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        pipe.send(server.server_port)
        pipe.recv()
    except (EOFError, OSError):
        os._exit(0)  # threads that are held at a point are not waited for


class _Shop(WSGIHandler):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def load_middleware(self, is_async: bool = False) -> None:
        """Do without: nothing of the project's is between a click and its mechanism."""

    def get_response(self, request: WSGIRequest) -> HttpResponse:  # type: ignore[override]
        name, verb = request.path.strip("/").split("/")
        mechanism = mechanisms.load(name)
        _watched.by = request.headers.get("Lab-Watch")
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', %s, false)", [_path(self.run, name)])
        click = Click(**json.loads(request.body), http=request)
        said, status = _answer(getattr(mechanism, verb), click)
        if _ask("answered", status=status, text=said["text"]) == "drop":
            request.environ["lab.hang_up"]()
        response = JsonResponse(said, status=status)
        response["Content-Length"] = len(response.content)  # keeps the connection open
        return response


def _path(run: Run, mechanism: str) -> str:
    return f"{run.schema(mechanism)}, public"


def _answer(act: Callable[[Click], str], click: Click) -> tuple[dict[str, Any], int]:
    """Return what the click is told, with its cost, and the HTTP status."""
    statements = _Counter()
    store.sent.commands = 0
    _ask("arrived", session=_session())
    status, started = 200, time.perf_counter()
    try:
        with connection.execute_wrapper(statements):
            text = act(click)
    except Refused as refused:
        text, status = str(refused), 409
    except Exception as error:
        text, status = repr(error), 500
    seconds = time.perf_counter() - started
    cost = {"statements": statements.count + store.sent.commands, "seconds": seconds}
    return {"text": text} | cost, status


def _session() -> int:
    """Return the process that serves this thread's database session: waiting, it is seen there."""
    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


class _Counter:
    """Counts the statements that pass; BEGIN and COMMIT don't."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Callable[..., Any], *args: Any) -> Any:
        self.count += 1
        return execute(*args)


def _report(name: str) -> None:
    if _ask(POINTS.get(name, name)) == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def _ask(point: str, **facts: Any) -> str:
    """Tell the director where this click is; return what shall happen, as soon as it is decided."""
    watch = getattr(_watched, "by", None)
    if watch is None or point not in WATCHED:
        return "go"
    port, click = watch.split("/")
    try:
        with socket.create_connection(("127.0.0.1", int(port))) as line:
            report = {"click": int(click), "point": point} | facts
            line.sendall(f"{json.dumps(report)}\n".encode())
            return line.recv(16).decode()
    except ConnectionError:  # the director has gone, and with it whoever wants an answer
        os._exit(1)


class _Handler(basehttp.WSGIRequestHandler):
    disable_nagle_algorithm = True  # or every answer waits 40 ms for the client's delayed ACK

    def get_environ(self) -> dict[str, Any]:
        return super().get_environ() | {"lab.hang_up": self._hang_up}

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: every click is in the lab's own report."""


class _Server(basehttp.ThreadedWSGIServer):
    request_queue_size = 128
