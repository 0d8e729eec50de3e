"""A run of the header fuzzer against a server: several connections, and a verdict on each reply."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.surface.grammar import HostileRequest, Target, make_request
from tests.surface.raw import Reply, Wire

CONNECTIONS = 6
MACHINE = ("/api/", "/healthz", "/readyz", "/metrics")
PAGES_OF_THE_API = ("/api/docs/",)
# Before there is an application: the web server itself refuses what it can't read, by a problem.
BY_THE_SERVER = frozenset({400, 403, 408, 411, 413, 414, 417, 431, 501, 505})
# Any call may also return these (docs/contract.md); 404 where the path is none of a route's.
ANY_CALL = frozenset({400, 403, 404, 405, 406, 411, 413, 415})
UNDOCUMENTED = frozenset({200, 401})  # such as OPTIONS, and what a hostile path leads to
PAGES = frozenset(
    {200, 204, 206, 301, 302, 303, 304, 400, 403, 404, 405, 409, 411, 413, 415, 416, 429}
)


@dataclass
class Run:
    """What came of the requests: how many replies by status, and those that may not be."""

    target: Target
    documented: Mapping[tuple[str, str], frozenset[int]]
    statuses: Counter[int] = field(default_factory=Counter)
    by_the_server: int = 0
    without_reply: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = " ".join(f"{status}×{count}" for status, count in sorted(self.statuses.items()))
        by_the_server = f"{self.by_the_server} of them by the web server itself"
        return f"{statuses} ({by_the_server}), {self.without_reply} without a reply"

    def judge(self, request: HostileRequest, reply: Reply | None) -> None:
        """Count a reply, and record what is wrong with it."""
        if reply is None:
            self.without_reply += 1
            return
        self.statuses[reply.status] += 1
        if "x-request-id" not in reply.headers:
            self.by_the_server += 1
            complaints = list(_complaints_of_the_server(reply))
        else:
            complaints = list(self._complaints(request, reply))
        for complaint in complaints:
            self.wrong.append(
                f"{request.name} {request.route}: {reply.status} {complaint}\n"
                f"  sent {request.data[:700]!r}\n  got {reply.body[:500]!r}"
            )

    def _complaints(self, request: HostileRequest, reply: Reply) -> Iterator[str]:
        if request.identifier and reply.headers["x-request-id"] != request.identifier:
            yield "is the response to another request"
        if "x-injected" in reply.headers or b"Traceback" in reply.body:
            yield "shows what it may not"
        if reply.status not in self._allowed(request):
            yield "is not documented"
        if _path(request).startswith(MACHINE):
            yield from _complaints_of_the_api(request, reply)

    def _allowed(self, request: HostileRequest) -> frozenset[int]:
        if not _path(request).startswith(MACHINE):
            return PAGES
        call = (request.route, request.method.upper())
        own = self.documented.get(call) if request.is_itself else None
        return ANY_CALL | (own or UNDOCUMENTED)


def _path(request: HostileRequest) -> str:
    """Return the path as an application reads it."""
    try:
        path = urlsplit(request.path).path if "://" in request.path else request.path
    except ValueError:
        return ""
    return unquote(path.partition("?")[0].partition("#")[0], errors="replace")


def _complaints_of_the_server(reply: Reply) -> Iterator[str]:
    if reply.status not in BY_THE_SERVER:
        yield "is made by no application"
    if reply.content_type != "application/problem+json":
        yield "is no problem"


def _complaints_of_the_api(request: HostileRequest, reply: Reply) -> Iterator[str]:
    if "no-store" not in reply.headers.get("cache-control", "") and reply.status != 200:
        yield "may be stored"
    if reply.content_type == "text/html" and _path(request) not in PAGES_OF_THE_API:
        yield "is HTML"
    if reply.status >= 400 and request.method.upper() != "HEAD":
        if reply.content_type != "application/problem+json":
            yield "is no problem"
        elif _status_of_problem(reply.body) != reply.status:
            yield "is no problem of its status"


def _status_of_problem(body: bytes) -> Any:
    try:
        return json.loads(body)["status"]
    except (ValueError, KeyError, TypeError):
        return None


def fuzz(port: int, run: Run, *, seed: str, requests: int) -> None:
    """Send so many requests over several connections, and judge each reply."""
    numbers = iter(range(requests))
    lock = threading.Lock()

    def send_some() -> None:
        with closing(Wire(port)) as wire:
            while (number := _next(numbers, lock)) is not None:
                request = make_request(seed, number, run.target)
                reply = wire.send(request) or wire.send(request)  # it may have been closed
                with lock:
                    run.judge(request, reply)

    with ThreadPoolExecutor(CONNECTIONS) as connections:
        for each in [connections.submit(send_some) for _ in range(CONNECTIONS)]:
            each.result()


def _next(numbers: Iterator[int], lock: threading.Lock) -> int | None:
    with lock:
        return next(numbers, None)


def documented_statuses(schema: Any) -> dict[tuple[str, str], frozenset[int]]:
    """Return the statuses of each operation, by its path's route-like text and its method."""
    found = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            statuses = frozenset(map(int, operation["responses"]))
            found[path, method.upper()] = statuses
            if method == "get":
                found[path, "HEAD"] = statuses
    return found
