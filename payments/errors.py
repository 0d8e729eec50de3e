"""What the payment system refuses to do. Nothing has happened when one of these is raised."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:  # the order system knows these errors and, alone in its process, no models
    from payments.models import Payment


class AccountNotFound(Exception):
    """There is no such account, or it is another customer's."""


class CurrencyMismatch(Exception):
    """The account is kept in another currency than the payment asks for."""

    detail = _("The account is kept in another currency.")


class PaymentMismatch(Exception):
    """The order id was used before, with another account, amount or currency."""

    def __init__(self, payment: "Payment") -> None:
        super().__init__(payment.order_id)
        self.payment = payment
