"""The idempotency boundary: run something once per key, its effect and its response in ONE commit.

A crash, an exception or a lost connection at any point leaves everything or nothing; there is no
lease to expire and no half-claimed record to repair. Sources: the draft
draft-ietf-httpapi-idempotency-key-header; the dedup table (防重表) of the articles.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import Error, OperationalError, transaction
from django.http import HttpResponse

from idempotency import records, signals, waiting
from idempotency.claim import Busy, Claim, Claimed, Replay, claim_key, replay_of
from idempotency.conf import conf
from idempotency.database_errors import (
    LOCK_NOT_AVAILABLE,
    is_repeatable,
    sqlstate,
    violated_constraint,
)
from idempotency.errors import ExecutionsOvertaken, Refusal, TokenOvertaken
from idempotency.failpoints import failpoint
from idempotency.steps import Step, recording

RUNS_MAX = 3

ONCE = "idempotency_record_once"

SubjectOf = Callable[[HttpResponse], str]


@dataclass
class Passage:
    """How a request passed the boundary: when it came, how long it waited, its steps."""

    began: float = field(default_factory=time.monotonic)
    waited_seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        """What every signal about the request says of it."""
        seconds = time.monotonic() - self.began
        return {"seconds": seconds, "waited_seconds": self.waited_seconds, "steps": self.steps}


def respond_once(
    claim: Claim,
    execute: Callable[[], HttpResponse],
    *,
    wait_seconds: float,
    subject_of: SubjectOf | None = None,
) -> HttpResponse:
    """Run `execute` and store its rendered response in one commit; a duplicate gets that response.

    What `execute` returns is final: stored, and replayed ever after. What it raises, and a returned
    400, 401, 403, 404, 429 or 5xx (setting NOT_STORED), is rolled back together with the key, so
    that the same key may try again.

    :param execute: does all its work in the database `claim.using`
    :param wait_seconds: how long a duplicate waits for the first while it is running
    :param subject_of: returns the claim's subject by the response, where only that knows it
    :raises errors.Refusal: the key can't be used, or the first request takes too long
    """
    passage = Passage()
    try:
        with recording(passage.steps):
            return _passed(claim, execute, subject_of, passage, wait_seconds)
    except Refusal as refusal:
        signals.send(signals.refused, claim, slug=refusal.slug, **passage.facts)
        raise


def _passed(
    claim: Claim,
    execute: Callable[[], HttpResponse],
    subject_of: SubjectOf | None,
    passage: Passage,
    wait_seconds: float,
) -> HttpResponse:
    if claim.seen is not None:
        response = replay_of(claim, claim.seen)
        signals.send(signals.replayed, claim, **passage.facts)
        return response
    deadline = passage.began + wait_seconds
    while True:
        outcome = _retried_where_safe(lambda: _run(claim, execute, subject_of, passage))
        if not isinstance(outcome, Busy):
            return outcome
        started = time.monotonic()
        waiting.wait_for(outcome.lock, seconds=deadline - started, using=claim.using)
        passage.waited_seconds += time.monotonic() - started
        signals.send(signals.waited, claim, **passage.facts)


def stored_response(claim: Claim) -> HttpResponse | None:
    """Return the response that is stored under a key, or None; runs nothing."""
    with transaction.atomic(using=claim.using, durable=True):
        outcome = claim_key(claim)
    return outcome.response if isinstance(outcome, Replay) else None


def _run(
    claim: Claim,
    execute: Callable[[], HttpResponse],
    subject_of: SubjectOf | None,
    passage: Passage,
) -> HttpResponse | Busy:
    """Return the response, stored or new, or what holds the key or the subject just now."""
    busy_subject: Busy | None = None
    try:
        with transaction.atomic(using=claim.using, durable=True):
            outcome = claim_key(claim)
            if isinstance(outcome, Busy):
                return outcome
            if not isinstance(outcome, Replay):
                busy_subject = outcome.busy_subject
                if busy_subject:  # go on only as far as that needs no waiting
                    waiting.refuse_to_wait(using=claim.using)
                response, subject = _execute_and_store(claim, outcome, execute, subject_of)
    except OperationalError as error:
        if busy_subject is None or sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        return busy_subject
    if isinstance(outcome, Replay):
        signals.send(signals.replayed, claim, **passage.facts)
        return outcome.response
    if subject is not None:
        failpoint("committed")
        made = {"identity": claim.identity, "status": response.status_code}
        is_superseded = getattr(response, "idempotency_superseded", False)
        made |= {"superseded": is_superseded}
        signals.send(signals.executed, claim, subject=subject, **made, **passage.facts)
    return response


def _execute_and_store(
    claim: Claim,
    claimed: Claimed,
    execute: Callable[[], HttpResponse],
    subject_of: SubjectOf | None,
) -> tuple[HttpResponse, str | None]:
    """Return the response, and the subject that it is stored with; None: it is rolled back."""
    failpoint("key-claimed")
    response = execute()
    failpoint("executed")
    if response.status_code in conf().NOT_STORED or response.status_code >= 500:
        transaction.set_rollback(True, using=claim.using)
        return response, None
    subject = subject_of(response) if subject_of else claim.subject
    if claimed.counter and claimed.busy_subject:  # a counter is held for a commit only
        waiting.allow_to_wait(using=claim.using)
    # The unique constraint, and the token that is gone, reveal a duplicate that committed between
    # our look-up and our lock; the counter, others of the scope that did.
    records.store(claim.row(subject=subject, counter=claimed.counter), response, using=claim.using)
    failpoint("response-stored")
    return response, subject


def _retried_where_safe(run: Callable[[], HttpResponse | Busy]) -> HttpResponse | Busy:
    """Run a transaction anew after a conflict or a lost connection, a bounded number of times.

    Safe even where the lost connection hid a COMMIT: the next run then finds its own record.
    """
    for attempt in range(1, RUNS_MAX):
        try:
            return run()
        except (Error, TokenOvertaken, ExecutionsOvertaken) as error:
            if not _is_worth_retrying(error):
                raise
            time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 - jitter, no secret
    return run()


def _is_worth_retrying(error: Exception) -> bool:
    """Return True if the next run may end otherwise: anew, or with a duplicate's response."""
    if isinstance(error, TokenOvertaken | ExecutionsOvertaken):
        return True
    return violated_constraint(error) == ONCE or is_repeatable(error)
