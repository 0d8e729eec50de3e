"""Finding orders by what a customer or an operator has at hand.

Each word narrows the search down: a user name, an e-mail address, an amount ("2.50", "EUR"), a date
or a time (UTC), an order's id, its beginning or its end. Each is looked up through an index: an
order's id carries its time (UUIDv7, RFC 9562), so that a time is a range of ids.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from orders.models import ID_FROM_ITS_END, Order, Product
from web import uuid7
from web.money import in_minor_units

WORDS_MAX = 6
CUSTOMERS_MAX = 100  # who share an e-mail address
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
AMOUNT = re.compile(r"[^\w\s]?(\d{1,12}(?:[.,]\d{1,3})?)[^\w\s]?")
CURRENCY = re.compile(r"[A-Z]{3}")
BEGINNING = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{1,4}){0,7}")
END = re.compile(r"[0-9a-f]{6,12}")
HEX_DIGITS = 32


def matching(text: str) -> QuerySet[Order]:
    """Return the orders that every word of a text is about, newest first."""
    words = text.split()
    moments = [word for word in words if DATE.fullmatch(word) or TIME.fullmatch(word)]
    others = [word for word in words if word not in moments]
    if not words or len(words) > WORDS_MAX:
        return Order.objects.none()
    wanted = _at(moments) if moments else Q()
    currencies = list(
        Product.objects.order_by("currency").values_list("currency", flat=True).distinct()
    )
    for word in others:
        wanted &= _about(word, currencies)
    return Order.objects.filter(wanted).order_by("-id")


def _about(word: str, currencies: Iterable[str]) -> Q:
    """Return the condition of one word: only columns of orders, for an index to serve each."""
    wanted = Q(customer__in=_customers(word))
    if CURRENCY.fullmatch(word):
        wanted |= Q(currency=word)
    if amount := AMOUNT.fullmatch(word):
        for currency in currencies:
            minor_units = in_minor_units(amount[1], currency)
            wanted |= Q(currency=currency, amount=minor_units) if minor_units else Q()
    if BEGINNING.fullmatch(word.lower()):
        wanted |= _beginning_with(word.lower().replace("-", ""))
    if END.fullmatch(word.lower()):
        wanted |= _ending_with(word.lower())
    return wanted


def _customers(word: str) -> list[int]:
    named = Q(email__iexact=word) if "@" in word else Q()
    users = get_user_model().objects.filter(Q(username=word) | named)
    return list(users.values_list("pk", flat=True)[:CUSTOMERS_MAX])


def _beginning_with(digits: str) -> Q:
    """Return the condition on the ids that begin with some hexadecimal digits."""
    first, last = digits.ljust(HEX_DIGITS, "0"), digits.ljust(HEX_DIGITS, "f")
    return Q(pk__range=(UUID(first[:HEX_DIGITS]), UUID(last[:HEX_DIGITS])))


def _ending_with(digits: str) -> Q:
    """Return the condition on the ids that end with some hexadecimal digits."""
    backwards = digits[::-1]
    return Q(GreaterThanOrEqual(ID_FROM_ITS_END, backwards)) & Q(
        LessThan(ID_FROM_ITS_END, f"{backwards}g")
    )


def _at(moments: Iterable[str]) -> Q:
    """Return the condition on the ids of a day (today, where none is named), or of its minute."""
    texts = sorted(moments, key=lambda word: ":" in word)
    named = [word for word in texts if "-" in word] or [f"{datetime.now(UTC):%Y-%m-%d}"]
    times = [word for word in texts if ":" in word]
    if len(named) > 1 or len(times) > 1:
        return Q(pk=None)
    try:
        start = datetime.fromisoformat(named[0]).replace(tzinfo=UTC)
        if times:
            hour, minute, *second = map(int, times[0].split(":"))
            start = start.replace(hour=hour, minute=minute, second=(second or [0])[0])
    except ValueError:
        return Q(pk=None)
    length = timedelta(days=1)
    if times:
        length = timedelta(seconds=1) if times[0].count(":") == 2 else timedelta(minutes=1)
    return between(start, start + length)


def between(start: datetime, end: datetime) -> Q:
    """Return the condition on the ids that were made from one time to before another."""
    return Q(pk__gte=uuid7.first_at(start), pk__lt=uuid7.first_at(end))
