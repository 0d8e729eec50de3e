"""The events of recorded clicks: what was clicked, how it ended, and its statements."""

from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from orders import clock
from shop.events import OrderEvent, StatementShown
from shop.models import Click, ClickAction, ClickOutcome
from shop.statements import CONDITIONAL, DESCRIPTIONS, WAITED

RESPONSE_OVERDUE = timedelta(minutes=1)  # longer than any request may take

# Refusals that are no failure: another key has settled the order.
SETTLED_EARLIER: dict[str, Any] = {
    "order-already-paid": gettext_lazy("the order was paid already"),
    "order-failed": gettext_lazy("the order had failed already"),
}
# Why a click was refused, by the problem's slug or the page's own reason.
REASONS: dict[str, Any] = {
    "idempotency-key-in-use": gettext_lazy("the first click was still in flight"),
    "idempotency-key-invalid": gettext_lazy("the page was too old, or its key not the customer's"),
    "rate-limited": gettext_lazy("the customer had sent too much of late"),
    "idempotency-key-reused": gettext_lazy("its key was used for another request"),
    "idempotency-key-expired": gettext_lazy("its key has expired"),
    "payment-mismatch": gettext_lazy("the payment was made on other terms"),
    "account": gettext_lazy("the customer has no such account"),
    "basket-changed": gettext_lazy("the basket had changed, or was an order by then"),
}


def clicked(click: Click) -> OrderEvent:
    """Return the event of a click."""
    is_pay = click.action == ClickAction.PAY
    what = _("Click on “Pay”") if is_pay else _("Click on “Place the order”")
    tag, mood = _outcome(click)
    details = _("key %(key)s, request %(id)s") % {"key": click.key, "id": click.request_id}
    if click.responded_at is None:
        killed = _("its process may have been killed; what it committed stays committed")
        details = f"{details}; {killed}"
    statements = [_describe(*each) for each in click.statements if each[0] in DESCRIPTIONS]
    return OrderEvent(click.received_at, what, details, tag=tag, mood=mood, statements=statements)


def _outcome(click: Click) -> tuple[str, str]:
    """Return the outcome of a click as the words of its tag, and the tag's mood."""
    match click.outcome:
        case ClickOutcome.EXECUTED:
            return _("executed"), "good"
        case ClickOutcome.REPLAYED:
            return _replayed(sum(ms for name, _rows, ms in click.statements if name == WAITED))
        case ClickOutcome.REFUSED if click.reason in SETTLED_EARLIER:
            return str(SETTLED_EARLIER[click.reason]), "calm"
        case ClickOutcome.REFUSED:
            reason = REASONS.get(click.reason, click.reason)
            return _("refused: %(reason)s") % {"reason": reason}, "bad"
    if clock.read_at(click) - click.received_at > RESPONSE_OVERDUE:
        return _("no response within a minute"), "bad"
    return _("no response yet"), "busy"


def _replayed(waited_ms: float) -> tuple[str, str]:
    if not waited_ms:
        return _("replayed: got the first response"), "calm"
    text = _("waited %(ms)d ms, then got the first response")
    return text % {"ms": max(1, waited_ms)}, "busy"


def _describe(name: str, rows: int, ms: float) -> StatementShown:
    text, sql = DESCRIPTIONS[name]
    return StatementShown(str(text), sql, rows if name in CONDITIONAL else None, ms)
