"""Money as people write it; everywhere else it is a whole number of minor units."""

from decimal import Decimal, InvalidOperation

from babel.numbers import format_currency, get_currency_precision
from django.utils.translation import get_language, to_locale


def money(minor_units: int, currency: str) -> str:
    """Show an amount as people write it in the page's language: 1250, "EUR" as €12.50."""
    amount = Decimal(minor_units).scaleb(-get_currency_precision(currency))
    return format_currency(amount, currency, locale=to_locale(get_language() or "en"))


def in_minor_units(text: str, currency: str) -> int | None:
    """Return what a written amount is in a currency's minor units: "12.50", "EUR" is 1250.

    None: it is no such amount, as "12.505" is none in euros.
    """
    try:
        amount = Decimal(text.replace(",", ".")).scaleb(get_currency_precision(currency))
    except InvalidOperation:
        return None
    return int(amount) if amount.is_finite() and amount == amount.to_integral_value() else None
