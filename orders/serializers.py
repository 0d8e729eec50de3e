"""The bodies of requests and responses about orders."""

from typing import Any

from rest_framework import serializers

from orders.models import Order, OrderLine, Product
from orders.services import Line
from payments.client import Payment
from web.api import valid
from web.query import MomentField

MAX_LINES = 100
MAX_QUANTITY = 1000


# A status as responses show it: the number or the label.
STATUSES = {
    text: status for status in Order.Status for text in (str(status.value), status.name.lower())
}


class ProductResponse(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ("sku", "name", "price", "currency")


class StatusField(serializers.ChoiceField):
    def __init__(self, **options: Any) -> None:
        super().__init__(choices=list(STATUSES), **options)

    def to_internal_value(self, data: Any) -> Any:
        return STATUSES[super().to_internal_value(data)]


class OrdersQuery(serializers.Serializer[dict[str, Any]]):
    """The query parameters of the list of orders; each source is the lookup that it becomes."""

    status = StatusField(
        required=False, help_text="only orders of this status, as `status` or `status_label`"
    )
    created_after = MomentField(
        required=False, source="created_at__gte", help_text="only orders placed then or later"
    )
    created_before = MomentField(
        required=False, source="created_at__lt", help_text="only orders placed earlier"
    )


class OrderLineRequest(serializers.Serializer[dict[str, Any]]):
    sku = serializers.CharField(max_length=64)
    quantity = serializers.IntegerField(min_value=1, max_value=MAX_QUANTITY)


class PlaceOrderRequest(serializers.Serializer[dict[str, Any]]):
    lines = serializers.ListField(child=OrderLineRequest(), min_length=1, max_length=MAX_LINES)

    @classmethod
    def wanted(cls, body: Any) -> list[Line]:
        """Return the lines to order, or refuse the request with 400."""
        return [Line(**line) for line in valid(cls, body)["lines"]]


class PayOrderRequest(serializers.Serializer[dict[str, Any]]):
    account = serializers.IntegerField(min_value=1, max_value=2**63 - 1)

    @classmethod
    def account_id(cls, body: Any) -> int:
        """Return the account to pay from, or refuse the request with 400."""
        account_id: int = valid(cls, body)["account"]
        return account_id


class OrderLineResponse(serializers.ModelSerializer[OrderLine]):
    amount = serializers.IntegerField()

    class Meta:
        model = OrderLine
        fields = ("sku", "name", "quantity", "unit_price", "amount")


class OrderPaymentResponse(serializers.Serializer[Payment]):
    id = serializers.UUIDField()
    account_id = serializers.IntegerField(allow_null=True)
    amount = serializers.IntegerField()
    currency = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["succeeded", "declined"])
    created_at = serializers.DateTimeField()


class OrderResponse(serializers.ModelSerializer[Order]):
    """An order as `orders.responses.body` makes it: this describes it to OpenAPI."""

    status = serializers.IntegerField(min_value=0, max_value=3)
    status_label = serializers.ChoiceField(choices=[s.name.lower() for s in Order.Status])
    lines = OrderLineResponse(many=True)
    payment = OrderPaymentResponse(allow_null=True)

    class Meta:
        model = Order
        fields = (
            "id",
            "status",
            "status_label",
            "amount",
            "currency",
            "lines",
            "payment",
            "created_at",
            "updated_at",
        )
