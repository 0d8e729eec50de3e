"""The API of accounts, entries and payments, and the payment system's own interface."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Func, Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema_view
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from structlog.contextvars import bind_contextvars

from idempotency import rate_limit
from payments import openapi, services
from payments.models import Account, Entry, Payment
from payments.serializers import AccountResponse, ChargeRequest, EntryResponse
from web.api import valid
from web.query import StrictQueryView
from web.rows import RowsView, moment

IS_STANDBY = Func(function="pg_is_in_recovery", output_field=BooleanField())


class MayCharge(BasePermission):
    """The payment interface is for services; a customer pays through an order."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.user.has_perm("payments.charge")


class ChargeView(APIView):
    """`pay(orderId, accountId, amount)`: idempotent by the order id, so it needs no key."""

    permission_classes = (IsAuthenticated, MayCharge)

    @openapi.charge
    def post(self, request: Request) -> Response:
        """Charge an account for an order: 201 the first time, the same payment ever after."""
        return _responded(request, services.pay)


class DeclineView(APIView):
    """The same request, to be declined: nobody is charged for the order id from then on."""

    permission_classes = (IsAuthenticated, MayCharge)

    @openapi.decline
    def post(self, request: Request) -> Response:
        """Decline an order's payment: 201 the first time; 200 the payment that it has."""
        return _responded(request, services.decline)


def _responded(request: Request, decide: Callable[..., services.Paid]) -> Response:
    wanted = valid(ChargeRequest, request.data)
    bind_contextvars(order_id=str(wanted["order_id"]))
    paid = _counted(request, decide, wanted)
    payment = _shown(paid.payment)
    if paid.first:
        location = reverse("payment", args=[payment["order_id"]])
        return Response(payment, 201, headers={"Location": location})
    return Response(payment, 200, headers={"Idempotent-Replayed": "true"})


def _shown(payment: Payment) -> dict[str, Any]:
    """Return a payment as responses show it (`PaymentResponse`)."""
    return {
        "id": str(payment.pk),
        "order_id": str(payment.order_id),
        "account_id": payment.account_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "outcome": payment.outcome,
        "created_at": moment(payment.created_at),
    }


@transaction.atomic
def _counted(
    request: Request, decide: Callable[..., services.Paid], terms: dict[str, Any]
) -> services.Paid:
    """Make a payment that its caller's rate allows; a repeated call gets the first, uncounted.

    :raises RateLimited: this would be one too many; nothing is charged
    """
    paid = decide(**terms)
    if paid.first:  # counted last: a counter's row is locked for no longer than the commit
        limit, seconds = settings.CHARGE_RATE
        rate_limit.count_until_commit(
            f"charge:user:{request.user.pk}", limit=limit, seconds=seconds
        )
    return paid


class PaymentView(StrictQueryView):
    permission_classes = (IsAuthenticated,)

    @openapi.get_payment
    def get(self, request: Request, order_id: UUID) -> Response:
        """Return the payment of an order: how a caller who lost the response gets the result."""
        visible = (
            Q() if request.user.has_perm("payments.charge") else Q(account__owner=request.user)
        )
        # A standby may show a payment that no other server has, and the caller settles by it.
        decided = Payment.objects.annotate(on_standby=IS_STANDBY).filter(on_standby=False)
        payment = get_object_or_404(decided, visible, order_id=order_id)
        return Response(_shown(payment))


class OwnAccounts(StrictQueryView, GenericAPIView[Account]):
    permission_classes = (IsAuthenticated,)
    serializer_class = AccountResponse
    ordering = "id"

    def get_queryset(self) -> QuerySet[Account]:
        if not self.request.user.is_authenticated:
            return Account.objects.none()
        return Account.objects.filter(owner=self.request.user)


@extend_schema_view(get=openapi.list_accounts)
class AccountsView(OwnAccounts, ListAPIView[Account]):
    """The caller's accounts with their balances."""


@extend_schema_view(get=openapi.get_account)
class AccountView(OwnAccounts, RetrieveAPIView[Account]):
    """One of the caller's accounts with its balance."""

    pagination_class = None


@extend_schema_view(get=openapi.list_entries)
class EntriesView(StrictQueryView, RowsView):
    """An account's statement, newest first."""

    permission_classes = (IsAuthenticated,)
    serializer_class = EntryResponse
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Entry]:
        if not self.request.user.is_authenticated:
            return Entry.objects.none()
        account = get_object_or_404(Account, pk=self.kwargs["pk"], owner=self.request.user)
        return account.entries.select_related("payment")

    def row(self, found: Entry) -> dict[str, Any]:
        return {
            "id": found.pk,
            "order_id": str(found.payment.order_id),
            "payment_id": str(found.payment_id),
            "amount": found.amount,
            "currency": found.currency,
            "balance_after": found.balance_after,
            "created_at": moment(found.created_at),
        }
