"""The payment system over the network: one question, and what its answer, or silence, means.

A timeout, a reset, a 5xx, half an answer or one that makes no sense mean *unknown*: the payment may
have been made. The same question is asked again, for ever; an unknown outcome is never a failure.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import urllib3
from django.conf import settings
from django.db import connection
from structlog.contextvars import get_contextvars

from payments.client import Payment

CONNECT_SECONDS, READ_SECONDS = 1.0, 5.0
MAX_ANSWER_BYTES = 64 * 1024
TERMS = ("order_id", "account_id", "amount", "currency")
TRY_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Decided:
    """The payment was made or declined, now or earlier: what the payment system says of it."""

    payment: Payment


@dataclass(frozen=True)
class Unknown:
    """Nobody here knows whether the payment was made. Ask again."""

    trouble: str


@dataclass(frozen=True)
class Refused:
    """The payment system will not do this; asking again in the same words changes nothing."""

    trouble: str


Outcome = Decided | Unknown | Refused


def ask(body: bytes, *, request_id: str) -> Outcome:
    """Ask for a payment: `POST payments/` with the stored bytes. Repeats get the first result."""
    return _understood(_send("POST", "payments/", request_id, body=body), asked=json.loads(body))


def inquire(body: bytes, *, request_id: str) -> Outcome | None:
    """Ask how a payment went, `GET payments/{order_id}/`; None: there is none yet."""
    asked = json.loads(body)
    found = _send("GET", f"payments/{UUID(asked['order_id'])}/", request_id)
    if not isinstance(found, Unknown) and found.status == 404:
        return None
    return _understood(found, asked=asked)


def _send(
    method: str, path: str, request_id: str, *, body: bytes | None = None
) -> urllib3.BaseHTTPResponse | Unknown:
    if connection.in_atomic_block:
        raise RuntimeError("a network call inside of a database transaction")
    headers = {
        "Authorization": f"Token {settings.PAYMENTS_TOKEN}",
        "Content-Type": "application/json",
        "X-Request-Id": request_id or path,
        "X-Key-Digest": get_contextvars().get("key_digest", ""),  # for the logs over there
    }
    try:
        return _pool().request(
            method,
            f"{settings.PAYMENTS_URL}/api/v1/{path}",
            body=body,
            headers=headers,
        )
    except urllib3.exceptions.HTTPError as error:
        return Unknown(type(error).__name__)


def _understood(answer: urllib3.BaseHTTPResponse | Unknown, *, asked: dict[str, Any]) -> Outcome:
    if isinstance(answer, Unknown):
        return answer
    if answer.status in {200, 201}:
        return _payment(answer.data, asked=asked)
    if 400 <= answer.status < 500 and answer.status not in TRY_AGAIN:
        return Refused(f"{answer.status} {_reason(answer.data)}".strip())
    return Unknown(f"HTTP {answer.status}")


def _payment(content: bytes, *, asked: dict[str, Any]) -> Decided | Unknown:
    """Believe an answer only if it is whole, and about the payment that was asked for."""
    try:
        said = json.loads(content)
        if any(said[name] != asked[name] for name in TERMS):
            return Unknown("an answer about another payment")
        return Decided(Payment.parsed(said))
    except (ValueError, KeyError, TypeError):
        return Unknown("an answer that makes no sense")


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["type"])
    except (ValueError, KeyError, TypeError):
        return ""


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=128,
        retries=False,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
    )
