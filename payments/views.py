from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from payments import services
from payments.models import Account, Entry, Payment

MAX_BIGINT = 2**63 - 1


class AccountAnswer(serializers.ModelSerializer[Account]):
    class Meta:
        model = Account
        fields = ("id", "currency", "balance", "created_at")


class EntryAnswer(serializers.ModelSerializer[Entry]):
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


class PaymentAnswer(serializers.ModelSerializer[Payment]):
    account_id = serializers.IntegerField()
    outcome = serializers.ChoiceField(choices=Payment.Outcome.choices)

    class Meta:
        model = Payment
        fields = ("id", "order_id", "account_id", "amount", "currency", "outcome", "created_at")


class PayRequest(serializers.Serializer[dict[str, Any]]):
    order_id = serializers.UUIDField()
    account_id = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT)
    amount = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT, help_text="minor units")
    currency = serializers.RegexField(r"^[A-Z]{3}$", help_text="ISO 4217")
    customer = serializers.CharField(
        max_length=150, required=False, help_text="whose account it must be; left out: anybody's"
    )


class MayCharge(BasePermission):
    """The payment interface is for services; a customer pays through an order."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.user.has_perm("payments.charge")


class PayView(APIView):
    """`pay(orderId, accountId, amount)`: idempotent by the order id, so it needs no key."""

    permission_classes = (IsAuthenticated, MayCharge)

    @extend_schema(request=PayRequest, responses={201: PaymentAnswer, 200: PaymentAnswer})
    def post(self, request: Request) -> Response:
        """Charge an account for an order: 201 the first time, the same payment ever after."""
        wanted = PayRequest(data=request.data)
        wanted.is_valid(raise_exception=True)
        bind_contextvars(order_id=str(wanted.validated_data["order_id"]))
        paid = services.pay(**wanted.validated_data)
        answer = PaymentAnswer(paid.payment).data
        if paid.first:
            return Response(
                answer, 201, headers={"Location": f"{request.path}{answer['order_id']}/"}
            )
        return Response(answer, 200, headers={"Idempotent-Replayed": "true"})


class PaymentView(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(responses=PaymentAnswer)
    def get(self, request: Request, order_id: UUID) -> Response:
        """Return the payment of an order: how a caller who lost the answer learns it."""
        visible = (
            Q() if request.user.has_perm("payments.charge") else Q(account__owner=request.user)
        )
        payment = get_object_or_404(Payment, visible, order_id=order_id)
        return Response(PaymentAnswer(payment).data)


class OwnAccounts(GenericAPIView[Account]):
    permission_classes = (IsAuthenticated,)
    serializer_class = AccountAnswer
    ordering = "id"

    def get_queryset(self) -> QuerySet[Account]:
        if not self.request.user.is_authenticated:
            return Account.objects.none()
        return Account.objects.filter(owner=self.request.user)


class AccountsView(OwnAccounts, ListAPIView[Account]):
    """The caller's accounts with their balances."""


class AccountView(OwnAccounts, RetrieveAPIView[Account]):
    """One of the caller's accounts with its balance."""


class EntriesView(ListAPIView[Entry]):
    """An account's statement, newest first."""

    permission_classes = (IsAuthenticated,)
    serializer_class = EntryAnswer
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Entry]:
        if not self.request.user.is_authenticated:
            return Entry.objects.none()
        account = get_object_or_404(Account, pk=self.kwargs["pk"], owner=self.request.user)
        return account.entries.select_related("payment")
