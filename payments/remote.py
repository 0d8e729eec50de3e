"""The payment system over the network: one request, and what its response, or silence, means.

A timeout, a reset, a 5xx, half a response or one that makes no sense mean *unknown*: the payment
may have been made. The same request is retried, for ever; an unknown outcome is never a failure.
A payment of the order id on other terms is *refused*: it never changes, so no retry can help.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import urllib3
from django.conf import settings
from django.db import connection

from payments.client import Payment

CONNECT_SECONDS, READ_SECONDS = 1.0, 5.0
TERMS = ("account_id", "amount", "currency")
MISMATCH = "/problems/payment-mismatch"
RETRYABLE = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Decided:
    """The payment was made or declined, now or earlier: what the payment system returns."""

    payment: Payment


@dataclass(frozen=True)
class Unknown:
    """Nobody here knows whether the payment was made. Retry."""

    error: str


@dataclass(frozen=True)
class Refused:
    """The payment system will not do this; the same request again would change nothing."""

    error: str


Outcome = Decided | Unknown | Refused


def charge(body: bytes, *, request_id: str, key_digest: str = "") -> Outcome:
    """Request a payment: `POST payments/` with the stored bytes. A retry gets the first result.

    :param request_id: of the customer's request, as the digest of its key: for the logs over there
    """
    return _decided("payments/", body, request_id=request_id, key_digest=key_digest)


def inquire(body: bytes, *, request_id: str, key_digest: str = "") -> Outcome | None:
    """Look up how a payment went, `GET payments/{order_id}/`; None: there is none yet.

    One on other terms is refused: it never changes, and a retry of either call gets the same.
    """
    terms = json.loads(body)
    path = f"payments/{UUID(terms['order_id'])}/"
    response = _send("GET", path, request_id=request_id, key_digest=key_digest)
    if not isinstance(response, Unknown) and response.status == 404:
        return None
    outcome = _outcome(response, terms=terms)
    if isinstance(outcome, Decided) and (others := _other_terms(outcome.payment, body)):
        return Refused(f"{MISMATCH}: other {', '.join(others)}")
    return outcome


def decline(body: bytes, *, request_id: str, key_digest: str = "") -> Outcome:
    """Have a payment declined before anybody is charged: `POST payments/decline/`, as for `charge`.

    One that was made before is returned as it is. A repeated call gets the first result.
    """
    return _decided("payments/decline/", body, request_id=request_id, key_digest=key_digest)


def _decided(path: str, body: bytes, **names: str) -> Outcome:
    response = _send("POST", path, body=body, **names)
    outcome = _outcome(response, terms=json.loads(body))
    if outcome == Refused(f"409 {MISMATCH}"):  # it doesn't say which terms differ; the payment does
        return inquire(body, **names) or outcome
    if isinstance(outcome, Decided) and _other_terms(outcome.payment, body):
        return Unknown("a response about another payment")
    return outcome


def _send(
    method: str, path: str, *, request_id: str, key_digest: str, body: bytes | None = None
) -> urllib3.BaseHTTPResponse | Unknown:
    if connection.in_atomic_block:
        raise RuntimeError("a network call inside of a database transaction")
    headers = {
        "Authorization": f"Token {settings.PAYMENTS_TOKEN}",
        "Content-Type": "application/json",
        "X-Request-Id": request_id or path,
        "X-Key-Digest": key_digest,
    }
    url = f"{settings.PAYMENTS_URL}/api/v1/{path}"
    try:
        return _pool().request(method, url, body=body, headers=headers)
    except urllib3.exceptions.HTTPError as error:
        return Unknown(type(error).__name__)


def _outcome(response: urllib3.BaseHTTPResponse | Unknown, *, terms: dict[str, Any]) -> Outcome:
    if isinstance(response, Unknown):
        return response
    if response.status in {200, 201}:
        return _payment(response.data, terms=terms)
    if 400 <= response.status < 500 and response.status not in RETRYABLE:
        return Refused(f"{response.status} {_problem_type(response.data)}".strip())
    return Unknown(f"HTTP {response.status}")


def _payment(content: bytes, *, terms: dict[str, Any]) -> Decided | Unknown:
    """Believe a response only if it is whole, and about the order that was requested."""
    try:
        document = json.loads(content)
        payment = Payment.parsed(document)
        if any(type(document[name]) is not type(terms[name]) for name in _terms_of(payment)):
            return Unknown("a response that makes no sense")
        if document["order_id"] != terms["order_id"]:
            return Unknown("a response about another payment")
        return Decided(payment)
    except (ValueError, KeyError, TypeError):
        return Unknown("a response that makes no sense")


def _other_terms(payment: Payment, body: bytes) -> list[str]:
    """Return the names of the terms that differ; the values may not be this customer's to see."""
    terms = json.loads(body)
    return [name for name in _terms_of(payment) if getattr(payment, name) != terms[name]]


def _terms_of(payment: Payment) -> Sequence[str]:
    """Return the terms that a payment has: without an account, it is for any."""
    return TERMS[1:] if payment.is_given_up else TERMS


def _problem_type(content: bytes) -> str:
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
