"""Paying and placing without protection: naively, as tutorials do, and by our services alone.

Naive is written fairly: one transaction, one save of each row, no query in a loop but that of the
products. It charges twice as soon as two requests meet. Its database has no triggers.
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders import responses, services
from orders.models import Order, OrderLine, Product
from orders.serializers import OrderLineResponse, PayOrderRequest, PlaceOrderRequest
from payments.models import Account, Entry, Payment
from payments.serializers import PaymentResponse


class NaiveOrderSerializer(serializers.ModelSerializer[Order]):
    status_label = serializers.SerializerMethodField()
    lines = OrderLineResponse(many=True)
    payment = serializers.SerializerMethodField()

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

    def get_status_label(self, order: Order) -> str:
        return Order.Status(order.status).name.lower()

    def get_payment(self, order: Order) -> Any:
        payment = self.context.get("payment")
        return PaymentResponse(payment).data if payment else None


class NaivePayView(APIView):
    permission_classes = (IsAuthenticated,)

    @transaction.atomic
    def post(self, request: Request, order_id: UUID) -> Response:
        body = PayOrderRequest(data=request.data)
        body.is_valid(raise_exception=True)
        account_id = body.validated_data["account"]
        order = get_object_or_404(Order, pk=order_id, customer=request.user)
        if order.status != Order.Status.SUBMITTED:
            return Response({"detail": "This order is settled."}, 409)
        account = get_object_or_404(Account, pk=account_id, owner=request.user)
        assert account.balance is not None
        if account.balance < order.amount:
            return Response({"detail": "There is not enough money."}, 402)
        terms = {"amount": order.amount, "currency": order.currency}
        payment = Payment.objects.create(
            order_id=order.pk, account=account, outcome=Payment.Outcome.SUCCEEDED, **terms
        )
        account.balance -= order.amount
        account.save()
        settlement = Account.objects.get(owner=None, currency=order.currency)
        leg = {"payment": payment, "currency": order.currency}
        Entry.objects.create(
            account=account, amount=-order.amount, balance_after=account.balance, **leg
        )
        Entry.objects.create(account=settlement, amount=order.amount, **leg)
        order.status = Order.Status.PAID
        order.account_id = account_id
        order.updated_at = timezone.now()
        order.save()
        return Response(NaiveOrderSerializer(order, context={"payment": payment}).data)


class NaivePlaceView(APIView):
    permission_classes = (IsAuthenticated,)

    @transaction.atomic
    def post(self, request: Request) -> Response:
        body = PlaceOrderRequest(data=request.data)
        body.is_valid(raise_exception=True)
        lines = [services.Line(**line) for line in body.validated_data["lines"]]
        products = [get_object_or_404(Product, sku=line.sku) for line in lines]
        if len({product.currency for product in products}) != 1:
            raise ValidationError("The products are priced in different currencies.")
        wanted = list(zip(lines, products, strict=True))
        customer: Any = request.user
        order = Order.objects.create(
            customer=customer,
            amount=sum(line.quantity * product.price for line, product in wanted),
            currency=products[0].currency,
        )
        for line, product in wanted:
            OrderLine.objects.create(
                order=order,
                product=product,
                sku=product.sku,
                name=product.name,
                quantity=line.quantity,
                unit_price=product.price,
            )
        return Response(NaiveOrderSerializer(order).data, 201)


class UnprotectedPayView(APIView):
    """The services with all guards of the schema, and no key."""

    permission_classes = (IsAuthenticated,)

    def post(self, request: Request, order_id: UUID) -> Response:
        account_id = PayOrderRequest.account_id(request.data)
        return responses.pay_response(
            services.pay_order(customer=request.user, order_id=order_id, account_id=account_id)
        )


class UnprotectedPlaceView(APIView):
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        lines = PlaceOrderRequest.wanted(request.data)
        return responses.place_response(services.place_order(customer=request.user, lines=lines))
