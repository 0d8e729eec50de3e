"""An HTTP client that retries as it should: after a pause, with the same key."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import BoundedSemaphore, Event
from typing import Any
from urllib.parse import urlsplit

from urllib3 import Timeout, connection_from_url
from urllib3.exceptions import HTTPError

TIMEOUT = Timeout(connect=5, read=40)
RETRY_SECONDS_MAX = 30.0
ACCEPTED_SECONDS_MAX = 120.0  # of retries once it was 202: somebody is at work on it
PAUSE_SECONDS = 0.5  # after a lost connection, or where Retry-After is missing
IDLE_SECONDS_MAX = 1.0  # servers close idle connections, some after 2 seconds

NO_RESPONSE = 0
RETRYABLE = frozenset({NO_RESPONSE, 202, 429, 502, 503, 504})  # 502 and 504: of a proxy


class ServerUnusable(Exception):
    """The server can't be reached, or does not let customers in; says why in one line."""


@dataclass(frozen=True)
class LastResponse:
    """The last response to a request that was retried, and what it took to get it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    retries: int = 0
    was_accepted: bool = False  # an earlier response was 202
    started: float = 0.0
    finished: float = 0.0

    @cached_property
    def problem(self) -> str:
        """The slug of a problem's type, such as order-already-paid; empty where there is none."""
        if self.status < 400:
            return ""
        try:
            return str(json.loads(self.body)["type"]).rpartition("/")[2]
        except (ValueError, LookupError, TypeError):
            return ""

    @property
    def is_final(self) -> bool:
        """Whether the response decides the request, so that a retry would be pointless."""
        return self.status not in RETRYABLE and self.problem != "idempotency-key-in-use"

    @property
    def pause_seconds(self) -> float:
        """The pause before the retry, with jitter so that retries spread out."""
        retry_after = self.headers.get("Retry-After", "")
        seconds = float(retry_after) if retry_after.isdecimal() else PAUSE_SECONDS
        return seconds + random.uniform(0.01, 0.25)  # noqa: S311 - jitter, no secret


class HttpClient:
    """Sends requests to one server over connections that stay open; threads may share it.

    :param connections: and so how many requests are in flight at most
    :param retry_seconds: how long a request is retried that gets no response, or none that decides
    """

    def __init__(
        self, base_url: str, *, connections: int, retry_seconds: float = RETRY_SECONDS_MAX
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._root = urlsplit(self.base_url).path
        self._connections, self._retry_seconds = connections, retry_seconds
        self._pool = connection_from_url(
            self.base_url, maxsize=connections, retries=False, timeout=TIMEOUT
        )
        self._free = BoundedSemaphore(connections)
        self._warm_until = 0.0
        self._given_up = Event()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Wait until no request is in flight, and let none leave before the block ends."""
        for _ in range(self._connections):
            self._free.acquire()
        try:
            yield
        finally:
            self._free.release(self._connections)

    def warm(self) -> bool:
        """Open all connections, so that no click begins with a connect; False if none opens."""
        if time.monotonic() > self._warm_until:
            try:
                # A response not read yet keeps its connection, so each request opens another one.
                responses = [
                    self._pool.urlopen("GET", f"{self._root}/healthz", preload_content=False)
                    for _ in range(self._connections)
                ]
            except HTTPError:
                return False
            for response in responses:
                response.drain_conn()
        self._warm_until = time.monotonic() + IDLE_SECONDS_MAX
        return True

    def send(
        self, method: str, path: str, *, token: str = "", key: str = "", content: object = None
    ) -> LastResponse:
        """Send a request, and retry it until its response is final or the time is up."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Token {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        body = None if content is None else json.dumps(content)
        started = 0.0
        retries, accepted = 0, False
        while True:
            with self._free:
                started = started or time.perf_counter()
                received = self._send_once(method, path, headers, body)
            accepted |= received[0] == 202
            finished = time.perf_counter()
            response = LastResponse(*received, retries, accepted, started, finished)
            pause = response.pause_seconds
            deadline = started + (ACCEPTED_SECONDS_MAX if accepted else self._retry_seconds)
            if response.is_final or finished + pause > deadline or self._given_up.wait(pause):
                return response
            retries += response.status != 202

    def give_up(self) -> None:
        """Have every request, those in flight too, return its last response; no more retries."""
        self._given_up.set()

    def _send_once(
        self, method: str, path: str, headers: dict[str, str], body: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = path if path.startswith("/") else f"{self._root}/api/v1/{path}"
        try:
            response = self._pool.urlopen(method, url, body=body, headers=headers)
        except HTTPError:
            return NO_RESPONSE, {}, b""
        return response.status, response.headers, response.data

    def request_json(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that has to succeed and return the JSON of its response.

        :raises ServerUnusable: it did not succeed
        """
        response = self.send(method, path, **request)
        if response.status in {200, 201} and "json" in response.headers.get("Content-Type", ""):
            return json.loads(response.body)
        status = f"{response.status} {response.problem}" if response.status else "no response"
        raise ServerUnusable(f"{self.base_url}: {status.strip()} to {method} {path}")

    def items(self, path: str, *, token: str = "") -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page after page."""
        next_path = path
        while next_path:
            page = self.request_json("GET", next_path, token=token)
            yield from page["results"]
            next_path = urlsplit(page["next"] or "")._replace(scheme="", netloc="").geturl()
