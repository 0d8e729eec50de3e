"""Reading the fields of the shop's forms, and refusing those that are no number or no text."""

from django.http import HttpRequest

from orders.serializers import MAX_QUANTITY


def quantities(request: HttpRequest) -> dict[str, int] | None:
    """Return the quantities that a form sets, by sku; None if one is not a number in range."""
    prefix = "quantity-"
    given = {name: value for name, value in request.POST.items() if name.startswith(prefix)}
    read = {
        name.removeprefix(prefix): whole_number(str(value) or "0", maximum=MAX_QUANTITY)
        for name, value in given.items()
    }
    if any(quantity is None or not is_text(sku) for sku, quantity in read.items()):
        return None
    return {sku: quantity for sku, quantity in read.items() if quantity is not None}


def whole_number(text: str, *, maximum: int) -> int | None:
    """Return the number from 0 to `maximum` that a text spells, or None."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) <= maximum else None


def is_text(text: str) -> bool:
    """Return True if the database can store a text that a browser sent."""
    return "\0" not in text and text.isprintable()
