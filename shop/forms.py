"""Reading the shop's forms: what no browser of a customer's sends is no number, or no text."""

from django.http import HttpRequest

from orders.serializers import MAX_QUANTITY


def quantities(request: HttpRequest) -> dict[str, int] | None:
    """Return the quantities that a form sets by sku; None where one isn't a number that fits."""
    prefix = "quantity-"
    given = {name: value for name, value in request.POST.items() if name.startswith(prefix)}
    read = {
        name.removeprefix(prefix): whole_number(str(value) or "0", most=MAX_QUANTITY)
        for name, value in given.items()
    }
    if any(quantity is None or not is_text(sku) for sku, quantity in read.items()):
        return None
    return {sku: quantity for sku, quantity in read.items() if quantity is not None}


def whole_number(text: str, *, most: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) <= most else None


def is_text(name: str) -> bool:
    """Say whether the database can keep what a browser sent as a name."""
    return "\0" not in name and name.isprintable()
