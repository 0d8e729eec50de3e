from typing import Any

from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency.boundary import idempotent
from idempotency.failpoints import failpoint
from idempotency.tests.models import Account, Charge


class Wanted(serializers.Serializer[Any]):
    amount = serializers.IntegerField(min_value=1)


class ChargeView(APIView):
    """Check, then act, as code without any guard does."""

    permission_classes = (IsAuthenticated,)

    @idempotent(serialize_by="account:{account_id}")
    def post(self, request: Request, account_id: int) -> Response:
        wanted = Wanted(data=request.data)
        wanted.is_valid(raise_exception=True)
        amount = wanted.validated_data["amount"]
        account = get_object_or_404(Account, pk=account_id, owner_id=request.user.pk)
        if account.balance < amount:
            return Response({"detail": "declined"}, 402)
        charge = Charge.objects.create(account=account, amount=amount)
        account.balance -= amount
        account.save()
        failpoint("charged")
        location = f"/accounts/{account_id}/charges/{charge.pk}/"
        return Response({"id": charge.pk}, 201, headers={"Location": location})


class StatusView(APIView):
    """Has an effect and then responds with the status that it is asked for."""

    permission_classes = (IsAuthenticated,)

    @idempotent(subject_of=lambda response: f"status:{response.status_code}")
    def post(self, request: Request, status: int) -> Response:
        Account.objects.create(owner_id=request.user.pk, balance=status)
        return Response({}, status)
