from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision
from django import template
from django.utils.translation import get_language, to_locale

register = template.Library()


@register.filter
def money(minor_units: int, currency: str) -> str:
    """Show an amount as people write it in the page's language: 1250, "EUR" as €12.50."""
    amount = Decimal(minor_units).scaleb(-get_currency_precision(currency))
    return format_currency(amount, currency, locale=to_locale(get_language() or "en"))
