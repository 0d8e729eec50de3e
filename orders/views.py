"""The API of products and orders: parse, call a service, respond."""

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from drf_spectacular.utils import extend_schema_view
from rest_framework.generics import ListAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import (
    claim_of,
    idempotent,
    key_digest,
    preferred_wait,
    read_key,
    stored_response,
)
from orders import openapi, responses, services
from orders.models import Order, Product
from orders.serializers import (
    OrderResponse,
    OrdersQuery,
    PayOrderRequest,
    PlaceOrderRequest,
    ProductResponse,
)
from payments import client
from web.database.replica import from_replica
from web.query import StrictQueryView
from web.rows import RowsView

Handler = Callable[..., HttpResponseBase]

CATALOGUE_SECONDS = 60  # an old price misleads no longer; an order is priced when it is placed


@extend_schema_view(get=openapi.list_products)
class ProductsView(StrictQueryView, ListAPIView[Product]):
    """The catalogue of products and their prices, by sku."""

    authentication_classes = ()
    permission_classes = ()
    serializer_class = ProductResponse
    queryset = Product.objects.all()
    ordering = "sku"

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return a page that is the same for everybody: any cache may store it for a minute."""
        response = from_replica(lambda: super(ProductsView, self).list(request, *args, **kwargs))
        patch_cache_control(response, public=True, max_age=CATALOGUE_SECONDS)
        return response


class OrdersView(StrictQueryView, RowsView):
    permission_classes = (IsAuthenticated,)
    serializer_class = OrderResponse
    query_serializer = OrdersQuery
    ordering = "-id"
    payments: dict[UUID, client.Payment]

    def get_queryset(self) -> QuerySet[Order]:
        # By id: nobody, for whom the schema is generated, has none.
        own = Order.objects.filter(customer_id=self.request.user.pk, **self.query)
        return own.prefetch_related("lines")

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.payments = services.payments_of([order.pk for order in page or ()])
        return page

    def row(self, found: Order) -> dict[str, Any]:
        return responses.body(found, self.payments.get(found.pk))

    @openapi.list_orders
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the caller's orders, newest first.

        `created_after` and `created_before` make a half-open interval: an order placed at exactly
        `created_after` is in the list, one placed at exactly `created_before` is not.
        """
        return super().get(request, *args, **kwargs)

    @openapi.place_order
    @idempotent(subject_of=responses.placed_subject)
    def post(self, request: Request) -> Response:
        """Place an order. A retry with the same key gets the first response, not a second order."""
        lines = PlaceOrderRequest.wanted(request.data)
        order = services.place_order(customer=request.user, lines=lines)
        return responses.place_response(order)


class OrderView(StrictQueryView):
    permission_classes = (IsAuthenticated,)

    @openapi.get_order
    def get(self, request: Request, order_id: UUID) -> Response:
        """Return one of the caller's orders with its lines and its payment."""
        order = services.find_order(customer=request.user, order_id=order_id)
        payment = services.payments_of([order_id]).get(order_id)
        return Response(responses.body(order, payment))


def settled_soon(post: Handler) -> Handler:
    """Let a request that got 202 wait for the order to be settled, then return the final response.

    It waits for N seconds with `Prefer: wait=N`; without, for 2 seconds, and only while the payment
    system responds. The wait is outside of any transaction and counts against the limit of waiting
    threads.
    """

    @functools.wraps(post)
    def wait(view: APIView, request: Request, order_id: UUID) -> HttpResponseBase:
        accepted = post(view, request, order_id=order_id)
        if accepted.status_code != 202 or not services.is_settled_within(
            order_id, seconds=preferred_wait(request)
        ):
            return accepted
        final = stored_response(claim_of(request)) or accepted
        if "Idempotent-Replayed" not in accepted:
            del final["Idempotent-Replayed"]  # it is this very request's first final response
        return final

    return wait


class PayOrderView(APIView):
    permission_classes = (IsAuthenticated,)

    @openapi.pay_order
    @settled_soon
    @idempotent(serialize_by=responses.subject("{order_id}"))
    def post(self, request: Request, order_id: UUID) -> Response:
        """Pay an order. However many requests arrive, under however many keys: one charge."""
        account_id = PayOrderRequest.account_id(request.data)
        attempt = services.pay_order(
            customer=request.user,
            order_id=order_id,
            account_id=account_id,
            request_id=getattr(request, "request_id", ""),
            key_digest=key_digest(read_key(request) or ""),
        )
        return responses.pay_response(attempt)
