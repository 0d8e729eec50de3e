"""A well-behaved HTTP client: what may be repeated it repeats, with the same key, when told to."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from urllib3 import Timeout, connection_from_url
from urllib3.exceptions import HTTPError

TIMEOUT = Timeout(connect=5, read=40)
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.5  # after a lost connection, or where Retry-After is missing
JITTER_SECONDS = 0.25
IDLE_SECONDS = 1.0  # servers close idle connections, some after 2 seconds

NO_ANSWER = 0
NOT_NOW = frozenset({NO_ANSWER, 202, 429, 503})


class ServerUnusable(Exception):
    """The server can't be reached, or does not let the simulation in; says why in one line."""


@dataclass(frozen=True)
class Answer:
    """The last answer to a request, and what it took to get it."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0
    accepted: bool = False  # it was 202 before
    started: float = 0.0
    finished: float = 0.0

    @cached_property
    def problem(self) -> str:
        """The last word of a problem's type, such as order-already-paid; empty for the others."""
        if self.status < 400:
            return ""
        try:
            return str(json.loads(self.body)["type"]).rpartition("/")[2]
        except (ValueError, LookupError, TypeError):
            return ""

    @property
    def final(self) -> bool:
        """Whether the answer decides the request, so that a repeat would be pointless."""
        return self.status not in NOT_NOW and self.problem != "idempotency-key-in-use"

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotent-Replayed") == "true"

    @property
    def pause(self) -> float:
        """The seconds to wait before the repeat: what the server asked for, and a bit of jitter."""
        jitter = random.uniform(0.01, JITTER_SECONDS)  # noqa: S311 - no secret
        asked = self.headers.get("Retry-After", "")
        return (float(asked) if asked.isdecimal() else PAUSE_SECONDS) + jitter


class Client:
    """Sends requests to one server over connections that are kept open. Threads may share it."""

    def __init__(self, base_url: str, *, connections: int) -> None:
        self.base_url = base_url.rstrip("/")
        self._root = urlsplit(self.base_url).path
        self._connections = connections
        self._pool = connection_from_url(
            self.base_url, maxsize=connections, retries=False, timeout=TIMEOUT
        )
        self._warm_until = 0.0

    def check(self) -> None:
        """Make sure that something answers.

        :raises ServerUnusable: nothing does
        """
        try:
            self._pool.urlopen("GET", f"{self._root}/healthz")
        except HTTPError as error:
            message = f"No server answers at {self.base_url}. Start one: make serve"
            raise ServerUnusable(message) from error

    def warm(self) -> None:
        """Open all connections, or prove them alive, so that no request begins with a connect."""
        if time.monotonic() > self._warm_until:
            with suppress(HTTPError):
                # An answer not read yet keeps its connection, so each request takes another one.
                held = [
                    self._pool.urlopen("GET", f"{self._root}/healthz", preload_content=False)
                    for _ in range(self._connections)
                ]
                for answer in held:
                    answer.drain_conn()
        self._warm_until = time.monotonic() + IDLE_SECONDS

    def send(
        self, method: str, path: str, *, token: str = "", key: str = "", content: object = None
    ) -> Answer:
        """Send a request until its answer is final or patience ends; every repeat is the same."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        headers |= {"Authorization": f"Token {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        body = None if content is None else json.dumps(content)
        started = time.perf_counter()
        retries, accepted = 0, False
        while True:
            status, heard, answered = self._once(method, path, headers, body)
            accepted |= status == 202
            now = time.perf_counter()
            answer = Answer(status, answered, heard, retries, accepted, started, now)
            pause = answer.pause
            if answer.final or now - started + pause > PATIENCE_SECONDS:
                return answer
            retries += status != 202
            time.sleep(pause)

    def _once(
        self, method: str, path: str, headers: dict[str, str], body: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = path if path.startswith("/") else f"{self._root}/api/v1/{path}"
        try:
            answer = self._pool.urlopen(method, url, body=body, headers=headers)
        except HTTPError:
            return NO_ANSWER, {}, b""
        return answer.status, answer.headers, answer.data

    def ask(
        self, method: str, path: str, *, token: str = "", key: str = "", content: object = None
    ) -> Any:
        """Send a request that has to succeed and return the JSON of its answer.

        :raises ServerUnusable: it did not succeed
        """
        answer = self.send(method, path, token=token, key=key, content=content)
        if answer.status not in {200, 201}:
            said = f"answered {answer.status} {answer.problem}".rstrip()
            said = said if answer.status else "gave no answer"
            raise ServerUnusable(f"The server at {self.base_url} {said} to {method} {path}")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            message = f"The server at {self.base_url} sent no JSON for {method} {path}"
            raise ServerUnusable(message) from error

    def items(self, path: str, *, token: str = "") -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page after page."""
        following: str | None = path
        while following:
            page = self.ask("GET", following, token=token)
            yield from page["results"]
            address = urlsplit(page["next"] or "")
            following = address._replace(scheme="", netloc="").geturl()
