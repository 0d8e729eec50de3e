"""The idempotency boundary: a decorator that makes a DRF view's method run once per key.

The key, the effect and the answer commit in ONE transaction. A crash, an exception or a lost
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
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import faults, records, waiting
from idempotency.database_errors import (
    LOCK_NOT_AVAILABLE,
    is_repeatable,
    sqlstate,
    violated_constraint,
)
from idempotency.errors import TokenOvertaken
from idempotency.keys import read_wait

MAX_RUNS = 3
NOT_DECISIONS = frozenset({400, 401, 403, 404, 429})

ONCE = "idempotency_record_once"

Handler = Callable[..., Response]


def idempotent(*, one_at_a_time: str | None = None) -> Callable[[Handler], Callable[..., Any]]:
    """Run a view's method once for a caller's Idempotency-Key; answer every repeat the same.

    The method must do all its work in the default database and answer with a DRF `Response`.
    What it returns is a decision: stored, and replayed byte for byte with
    `Idempotent-Replayed: true`. What it raises, and a returned 400, 401, 403, 404, 429 or 5xx,
    is rolled back together with the key, so that the same key may try again.

    :param one_at_a_time: name of a URL argument; a caller's requests for the same object wait
        for each other even under different keys, by the same bounded share of threads, instead
        of piling up on the object's row lock
    """

    def decorate(method: Handler) -> Callable[..., HttpResponseBase]:
        @functools.wraps(method)
        def once(view: APIView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            subject = (
                records.subject_of(one_at_a_time, kwargs[one_at_a_time]) if one_at_a_time else ""
            )

            def execute() -> Response:
                return _rendered(view, request, method(view, request, *args, **kwargs))

            claim = records.Claim.of(request, subject=subject)
            return answer_once(claim, execute, wait=read_wait(request))

        once.idempotent = True  # type: ignore[attr-defined]  # read by the OpenAPI schema
        return once

    return decorate


def answer_once(
    claim: records.Claim, execute: Callable[[], HttpResponse], *, wait: int
) -> HttpResponse:
    """Run `execute` and keep its rendered answer in one commit; a repeat gets that answer.

    What the decorator does for a DRF view, for any other caller: a form, a queue's worker.

    :param wait: how many seconds a repeat waits for the first while it is running
    :raises errors.Refusal: the key can't be used, or the first request takes too long
    """
    deadline = time.monotonic() + wait
    while True:
        found = _again_where_safe(lambda: _run(claim, execute))
        if not isinstance(found, int):
            return found
        waiting.wait_for(found, seconds=deadline - time.monotonic())


def _run(claim: records.Claim, execute: Callable[[], HttpResponse]) -> HttpResponse | int:
    """Return the answer, stored or new, or the lock of the request that is in flight."""
    found = None
    try:
        with transaction.atomic(durable=True):
            found = records.look(claim)
            if isinstance(found, HttpResponse) or found == claim.key_lock:
                return found
            if found is not None:  # the object is busy: go on only as far as that needs no waiting
                waiting.refuse_to_wait()
            response = _execute_and_store(claim, execute)
    except OperationalError as error:
        if found is None or sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return found
    faults.point("committed")
    return response


def _execute_and_store(claim: records.Claim, execute: Callable[[], HttpResponse]) -> HttpResponse:
    faults.point("key-claimed")
    response = execute()
    faults.point("executed")
    if response.status_code in NOT_DECISIONS or response.status_code >= 500:
        transaction.set_rollback(True)
        return response
    # The unique constraint, and the token that is gone, tell of a twin that committed between
    # our look and our lock.
    records.store(claim, response)
    faults.point("answer-stored")
    return response


def _again_where_safe(run: Callable[[], HttpResponse | int]) -> HttpResponse | int:
    """Run a transaction anew after a conflict or a lost connection, a bounded number of times.

    Safe even where the lost connection hid a COMMIT: the next run then finds its own record.
    """
    for attempt in range(1, MAX_RUNS):
        try:
            return run()
        except (Error, TokenOvertaken) as error:
            if not _is_worth_repeating(error):
                raise
            time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 - jitter, no secret
    return run()


def _is_worth_repeating(error: Exception) -> bool:
    """Say whether the next run may end otherwise: anew, or with the answer of a twin."""
    overtaken = isinstance(error, TokenOvertaken) or violated_constraint(error) == ONCE
    return overtaken or is_repeatable(error)


def _rendered(view: APIView, request: Request, response: Response) -> Response:
    """Render inside the transaction: what is stored is what is sent."""
    finalized = view.finalize_response(request, response)
    assert isinstance(finalized, Response)
    finalized.render()
    return finalized


def rendered(response: Response) -> Response:
    """Render a DRF answer as JSON outside of any view: for an answer that is decided later."""
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = response.accepted_renderer.media_type
    response.renderer_context = {}  # type: ignore[attr-defined]  # the stubs forget it
    response.render()
    return response
