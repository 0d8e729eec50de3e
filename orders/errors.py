"""What the order system refuses to do. Nothing has happened when one of these is raised."""

from django.utils.translation import gettext_lazy as _


class OrderNotFound(Exception):
    """There is no such order, or it is another customer's."""


class ProductNotFound(Exception):
    """No product has this sku."""

    detail = _("There is no product with this sku.")

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku


class MixedCurrencies(Exception):
    """The lines are priced in more than one currency; an order has one."""

    detail = _("All lines need the same currency.")
