import functools
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import problem
from idempotency.boundary import idempotent
from idempotency.keys import preferred_wait
from orders import services
from orders.models import Order, Product
from orders.serializers import (
    OrderAnswer,
    PayOrderRequest,
    PlaceOrderRequest,
    ProductAnswer,
)
from payments import client

ASK_AGAIN_SECONDS = 1


class _Mine(threading.local):
    """A thread's own serializer, kept: building its fields takes longer than using them."""

    def __init__(self) -> None:
        self.context: dict[str, Any] = {"payments": {}}
        self.serializer = OrderAnswer(context=self.context)


_mine = _Mine()

Handler = Callable[..., HttpResponseBase]


class ProductsView(ListAPIView[Product]):
    """The catalogue."""

    authentication_classes = ()
    permission_classes = ()
    serializer_class = ProductAnswer
    queryset = Product.objects.all()
    ordering = "sku"


class OrdersView(ListAPIView[Order]):
    permission_classes = (IsAuthenticated,)
    serializer_class = OrderAnswer
    ordering = "-id"
    payments: dict[UUID, client.Payment]

    def get_queryset(self) -> QuerySet[Order]:
        if not self.request.user.is_authenticated:
            return Order.objects.none()
        return Order.objects.filter(customer=self.request.user).prefetch_related("lines")

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.payments = services.payments_of([order.pk for order in page or ()])
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "payments": getattr(self, "payments", {})}

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the caller's orders, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=PlaceOrderRequest, responses={201: OrderAnswer})
    @idempotent()
    def post(self, request: Request) -> Response:
        """Place an order. A repeat with the same key gets the first answer, not a second order."""
        lines = PlaceOrderRequest(data=request.data).wanted()
        order = services.place_order(customer=request.user, lines=lines)
        return Response(answer(order), 201, headers={"Location": location(order)})


class OrderView(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(responses=OrderAnswer)
    def get(self, request: Request, order_id: UUID) -> Response:
        """Return one of the caller's orders with its lines and its payment."""
        return Response(answer(services.find_order(customer=request.user, order_id=order_id)))


def settled_soon(post: Handler) -> Handler:
    """Have a request that was accepted wait a while for the order to be settled.

    For as long as `Prefer: wait=N` says. Without one for 2 seconds, but no longer than the payment
    system shows signs of life. The wait is in no transaction, and takes a place among those of the
    threads that may wait at all.
    """

    @functools.wraps(post)
    def wait(view: APIView, request: Request, order_id: UUID) -> HttpResponseBase:
        accepted = post(view, request, order_id=order_id)
        if accepted.status_code != 202 or not services.is_settled_within(
            order_id, seconds=preferred_wait(request)
        ):
            return accepted
        final = post(view, request, order_id=order_id)
        if "Idempotent-Replayed" not in accepted:
            del final["Idempotent-Replayed"]  # it is this very request's first final answer
        return final

    return wait


class PayOrderView(APIView):
    permission_classes = (IsAuthenticated,)

    @extend_schema(request=PayOrderRequest, responses={200: OrderAnswer, 202: OrderAnswer})
    @settled_soon
    @idempotent(one_at_a_time="order_id")
    def post(self, request: Request, order_id: UUID) -> Response:
        """Pay an order. However often it is sent, under however many keys: one charge."""
        account_id = PayOrderRequest(data=request.data).account_id()
        attempt = services.pay_order(
            customer=request.user, order_id=order_id, account_id=account_id
        )
        return pay_answer(attempt)


def pay_answer(attempt: services.Attempt, payment: client.Payment | None = None) -> Response:
    """Answer an attempt to pay; every one of these is a decision and is stored under its key.

    :param payment: the order's, where the caller has it at hand
    """
    order, body = attempt.order, answer(attempt.order, payment)
    match order.status, attempt.first:
        case Order.Status.PAYING, _:
            headers = {"Location": location(order), "Retry-After": str(ASK_AGAIN_SECONDS)}
            return Response(body, 202, headers=headers)
        case Order.Status.PAID, True:
            return Response(body, 200)
        case Order.Status.PAID, False:
            slug, status = "order-already-paid", 409
            title = gettext("The order is already paid")
            detail = gettext("It was charged once; nothing changed.")
        case Order.Status.FAILED, True:
            slug, status = "payment-declined", 402
            title = gettext("The payment was declined")
            detail = gettext("The account does not hold the amount.")
        case _:
            slug, status = "order-failed", 409
            title = gettext("The order has failed")
            detail = gettext("Its payment was declined. Place a new order.")
    return problem.answer(
        slug, status=status, title=title, detail=detail, outcome="done", same_key=False, order=body
    )


def answer(order: Order, payment: client.Payment | None = None) -> Any:
    """Return an order as answers show it."""
    payments = {order.pk: payment} if payment else services.payments_of([order.pk])
    _mine.context["payments"] = payments
    return _mine.serializer.to_representation(order)


def location(order: Order) -> str:
    return reverse("order", args=[order.pk])
