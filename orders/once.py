"""Placing, paying and settling once, for callers that are not the API: shop, admin, relay.

A form is another door to the API's request: the same key, fingerprint and stored response, so that
each is a duplicate of the other.
"""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from idempotency import claim_of_form, replace_all_provisional, respond_once
from idempotency.failpoints import failpoint
from orders import responses, services
from orders.models import Order
from orders.outbox import Result

WAIT_SECONDS = 5  # of a duplicate, for the request that came first


def place_once(
    request: HttpRequest,
    place: Callable[[], Order],
    *,
    key: str,
    path: str = "",
    body: Any = None,
) -> HttpResponse:
    """Place an order under a form's key; a duplicate gets the first response.

    :param place: places it, in the transaction that stores the response
    :param path: of the API's call which the form stands for; left out: the form's own
    :param body: of that call
    :raises idempotency.errors.Refusal: the key can't be used, or the first takes too long
    """
    claim = claim_of_form(request, key, path=path, body=body)
    return respond_once(
        claim,
        lambda: responses.rendered(responses.place_response(place())),
        wait_seconds=WAIT_SECONDS,
        subject_of=responses.placed_subject,
    )


def pay_once(request: HttpRequest, *, key: str, order_id: UUID, account_id: int) -> HttpResponse:
    """Pay an order of the signed-in customer's under a form's key; a duplicate gets the response.

    :raises idempotency.errors.Refusal: the key can't be used, or the first takes too long
    :raises client.AccountNotFound: see `services.pay_order`, as for its other errors
    """
    claim = claim_of_form(
        request,
        key,
        path=reverse("pay-order", args=[order_id]),
        body={"account": account_id},
        subject=responses.subject(order_id),
    )

    def execute() -> HttpResponse:
        attempt = services.pay_order(
            customer=request.user,
            order_id=order_id,
            account_id=account_id,
            request_id=claim.request_id,
            key_digest=claim.key_digest,
        )
        return responses.rendered(responses.pay_response(attempt))

    return respond_once(claim, execute, wait_seconds=WAIT_SECONDS)


@transaction.atomic(durable=True)
def settle_once(results: Collection[Result]) -> set[UUID]:
    """Settle paying orders, and give every 202 about them its final response: one commit.

    Returns the orders that were settled. A repeated call, or a late duplicate of a result, changes
    nothing.
    """
    attempts = services.settle_orders(results)
    final = {
        responses.subject(attempt.order.pk): responses.rendered(responses.pay_response(attempt))
        for attempt in attempts
    }
    if final:
        replace_all_provisional(final)
        failpoint("responses-replaced")
    return {attempt.order.pk for attempt in attempts}
