"""The idempotency boundary: a decorator that makes a DRF view's method run once per key.

The key, the effect and the response commit in ONE transaction. A crash, an exception or a lost
connection at any point leaves all of it or nothing; there is no lease to expire and no
half-claimed record to repair. Sources: draft-ietf-httpapi-idempotency-key-header; the dedup
table (防重表) of the articles.
"""

import functools
import random
import time
from collections.abc import Callable
from typing import Any

from django.db import Error, OperationalError, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import keys, records, waiting
from idempotency.claim import Busy, Claim, Replay, claim_key
from idempotency.database_errors import (
    LOCK_NOT_AVAILABLE,
    is_repeatable,
    sqlstate,
    violated_constraint,
)
from idempotency.errors import TokenOvertaken
from idempotency.failpoints import failpoint
from idempotency.keys import read_wait

MAX_RUNS = 3
NOT_STORED = frozenset({400, 401, 403, 404, 429})

ONCE = "idempotency_record_once"

Handler = Callable[..., Response]
SubjectOf = Callable[[HttpResponse], str]


def idempotent(
    *, serialize_by: str | None = None, subject_of: SubjectOf | None = None
) -> Callable[[Handler], Callable[..., Any]]:
    """Run a view's method once for a caller's Idempotency-Key; replay its response ever after.

    The method must do all its work in the default database and return a DRF `Response`. What it
    returns is final: stored, and replayed byte for byte with `Idempotent-Replayed: true`. What it
    raises, and a returned 400, 401, 403, 404, 429 or 5xx, is rolled back together with the key, so
    that the same key may try again.

    :param serialize_by: the request's subject by its URL arguments, such as "order:{order_id}": a
        caller's requests about one subject wait for each other even under different keys, by the
        same bounded share of threads, instead of piling up on the subject's row lock
    :param subject_of: returns the subject by the response, where only that knows it, such as the
        order that was placed
    """

    def decorate(method: Handler) -> Callable[..., HttpResponseBase]:
        @functools.wraps(method)
        def once(view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            def execute() -> Response:
                return _rendered(view, request, method(view, request, *args, **kwargs))

            subject = serialize_by.format(**kwargs) if serialize_by else ""
            claim = Claim.of(request, subject=subject)
            wait_seconds = read_wait(request)
            return run_once(claim, execute, wait_seconds=wait_seconds, subject_of=subject_of)

        once.idempotent = True  # type: ignore[attr-defined]  # read by the OpenAPI schema
        return once

    return decorate


def run_once(
    claim: Claim,
    execute: Callable[[], HttpResponse],
    *,
    wait_seconds: int,
    subject_of: SubjectOf | None = None,
) -> HttpResponse:
    """Run `execute` and store its rendered response in one commit; a duplicate gets that response.

    What the decorator does for a DRF view, for any other caller: a form, a queue's worker.

    :param wait_seconds: how long a duplicate waits for the first while it is running
    :raises errors.Refusal: the key can't be used, or the first request takes too long
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        outcome = _retried_where_safe(lambda: _run(claim, execute, subject_of))
        if not isinstance(outcome, Busy):
            return outcome
        waiting.wait_for(outcome.lock, seconds=deadline - time.monotonic())


def stored_response(claim: Claim) -> HttpResponse | None:
    """Return the response that is stored under a key, or None; runs nothing."""
    with transaction.atomic(durable=True):
        outcome = claim_key(claim)
    return outcome.response if isinstance(outcome, Replay) else None


def _run(
    claim: Claim, execute: Callable[[], HttpResponse], subject_of: SubjectOf | None
) -> HttpResponse | Busy:
    """Return the response, stored or new, or what holds the key or the subject just now."""
    busy_subject: Busy | None = None
    try:
        with transaction.atomic(durable=True):
            outcome = claim_key(claim)
            if isinstance(outcome, Replay):
                return outcome.response
            if isinstance(outcome, Busy):
                return outcome
            busy_subject = outcome.busy_subject
            if busy_subject:  # go on only as far as that needs no waiting
                waiting.refuse_to_wait()
            response = _execute_and_store(claim, execute, subject_of)
    except OperationalError as error:
        if busy_subject is None or sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return busy_subject
    failpoint("committed")
    return response


def _execute_and_store(
    claim: Claim, execute: Callable[[], HttpResponse], subject_of: SubjectOf | None
) -> HttpResponse:
    failpoint("key-claimed")
    response = execute()
    failpoint("executed")
    if response.status_code in NOT_STORED or response.status_code >= 500:
        transaction.set_rollback(True)
        return response
    # The unique constraint, and the token that is gone, reveal a duplicate that committed between
    # our look-up and our lock.
    records.store(_row(claim, subject_of(response) if subject_of else claim.subject), response)
    failpoint("response-stored")
    return response


def _row(claim: Claim, subject: str) -> dict[str, Any]:
    return {
        "caller": claim.caller,
        "key": claim.key,
        "token_digest": claim.token_digest,
        "fingerprint_version": keys.FINGERPRINT_VERSION,
        "fingerprint": claim.fingerprint,
        "method": claim.method,
        "path": claim.path,
        "subject": subject,
        "request_id": claim.request_id,
    }


def _retried_where_safe(run: Callable[[], HttpResponse | Busy]) -> HttpResponse | Busy:
    """Run a transaction anew after a conflict or a lost connection, a bounded number of times.

    Safe even where the lost connection hid a COMMIT: the next run then finds its own record.
    """
    for attempt in range(1, MAX_RUNS):
        try:
            return run()
        except (Error, TokenOvertaken) as error:
            if not _is_worth_retrying(error):
                raise
            time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 - jitter, no secret
    return run()


def _is_worth_retrying(error: Exception) -> bool:
    """Return True if the next run may end otherwise: anew, or with a duplicate's response."""
    overtaken = isinstance(error, TokenOvertaken) or violated_constraint(error) == ONCE
    return overtaken or is_repeatable(error)


def _rendered(view: APIView, request: Request, response: Response) -> Response:
    """Render inside the transaction: what is stored is what is sent."""
    finalized = view.finalize_response(request, response)
    assert isinstance(finalized, Response)
    finalized.render()
    return finalized
