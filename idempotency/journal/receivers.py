"""What goes into the journal: the signals of the boundary, by their outcome."""

from dataclasses import fields
from typing import Any

from django.dispatch import Signal, receiver

from idempotency import errors, signals
from idempotency.conf import conf
from idempotency.journal import recorder
from idempotency.journal.models import Outcome

# Sent with the `outcome` of each duplicate, and whether it was `dropped`.
journaled = Signal()

FACTS = frozenset(field.name for field in fields(recorder.Row))  # of those that a signal has
REFUSALS = {
    errors.KeyInUse.slug: Outcome.IN_USE,
    errors.KeyReused.slug: Outcome.REUSED,
    errors.KeyExpired.slug: Outcome.EXPIRED,
}


@receiver(signals.executed)
def _executed(superseded: bool = False, **facts: Any) -> None:
    if superseded:
        _record(Outcome.SUPERSEDED, **facts)
    elif conf().JOURNAL_EXECUTED:
        _record(Outcome.EXECUTED, **facts)


@receiver(signals.replayed)
def _replayed(waited_seconds: float = 0.0, **facts: Any) -> None:
    outcome = Outcome.WAITED if waited_seconds else Outcome.REPLAYED
    _record(outcome, waited_seconds=waited_seconds, **facts)


@receiver(signals.refused)
def _refused(slug: str, **facts: Any) -> None:
    if outcome := REFUSALS.get(slug):
        _record(outcome, **facts)


def _record(outcome: Outcome, **facts: Any) -> None:
    known = {name: value for name, value in facts.items() if name in FACTS}
    if not conf().JOURNAL_EXECUTED:
        known.pop("steps", None)
    is_added = recorder.record(recorder.Row(outcome, **known))
    if outcome is not Outcome.EXECUTED:
        journaled.send_robust(sender=None, outcome=str(outcome), dropped=not is_added)
