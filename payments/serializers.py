"""The bodies of requests and responses of the payment system's own interface."""

from typing import Any

from rest_framework import serializers

from payments.models import Account, Entry, Payment

BIGINT_MAX = 2**63 - 1


class AccountResponse(serializers.ModelSerializer[Account]):
    class Meta:
        model = Account
        fields = ("id", "currency", "balance", "created_at")


class EntryResponse(serializers.ModelSerializer[Entry]):
    order_id = serializers.UUIDField(source="payment.order_id")

    class Meta:
        model = Entry
        fields = (
            "id",
            "order_id",
            "payment_id",
            "amount",
            "currency",
            "balance_after",
            "created_at",
        )


class PaymentResponse(serializers.ModelSerializer[Payment]):
    account_id = serializers.IntegerField(
        allow_null=True, help_text="null: declined before any account was charged"
    )
    outcome = serializers.ChoiceField(choices=Payment.Outcome.values)

    class Meta:
        model = Payment
        fields = ("id", "order_id", "account_id", "amount", "currency", "outcome", "created_at")


class UUIDField(serializers.UUIDField):
    """A UUID as text; Django REST framework's own takes a number, and `false`, for one."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StringField(serializers.CharField):
    """A text; Django REST framework's own takes a number for one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class ChargeRequest(serializers.Serializer[dict[str, Any]]):
    order_id = UUIDField()
    account_id = serializers.IntegerField(min_value=1, max_value=BIGINT_MAX)
    amount = serializers.IntegerField(min_value=1, max_value=BIGINT_MAX, help_text="minor units")
    currency = serializers.RegexField(r"^[A-Z]{3}$", help_text="ISO 4217")
    customer = StringField(
        max_length=150, required=False, help_text="whose account it must be; left out: anybody's"
    )
