"""Results that come together are settled in one commit, each order by its own."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from rest_framework.test import APIClient

from idempotency import replace_all_provisional
from orders import once, outbox, relay
from orders.models import Order, PaymentRequest
from orders.outbox import Call, ClaimedRequest, Result
from payments import remote, services
from payments.client import Payment
from payments.models import Account
from payments.services import open_account

RELAY = 7

pytestmark = pytest.mark.django_db(transaction=True)


class Paying(NamedTuple):
    """An order whose pay was given 202, and the result that is not there yet."""

    order: Order
    pay: Callable[[], Any]
    result: Result


@pytest.fixture(autouse=True)
def _remote(settings: Any) -> None:
    settings.PAYMENTS_URL, settings.PAYMENTS_TOKEN = "http://127.0.0.1:1", "a-token"


@pytest.fixture
def three(
    alice: User, alice_account: Account, place: Callable[..., Order], sign_in: Any
) -> list[Paying]:
    """Three orders: paid, declined, paid."""
    poor = open_account(owner=alice, currency="EUR", opening_balance=0)
    browser = sign_in(alice)
    return [
        _paying(place(customer=alice), account, browser)
        for account in (alice_account, poor, alice_account)
    ]


def _paying(order: Order, account: Account, browser: APIClient) -> Paying:
    key = str(uuid4())

    def pay() -> Any:
        headers = {"Idempotency-Key": key, "Prefer": "wait=0"}
        path = f"/api/v1/orders/{order.pk}/pay/"
        return browser.post(path, {"account": account.pk}, headers=headers)

    assert pay().status_code == 202
    terms: dict[str, Any] = {"account_id": account.pk, "amount": order.amount}
    made = services.pay(order_id=order.pk, currency=order.currency, **terms)
    payment = Payment.of(made.payment)
    return Paying(order, pay, Result(order.pk, payment, Call("charge", payment.outcome)))


def statuses(orders: list[Paying]) -> list[int]:
    return [Order.objects.get(pk=each.order.pk).status for each in orders]


def finals(orders: list[Paying]) -> list[tuple[int, str]]:
    """Return the status of each replay, and the payment that it shows."""
    replays = [each.pay() for each in orders]
    return [
        (each.status_code, (each.json().get("order") or each.json())["payment"]["id"])
        for each in replays
    ]


def expected(orders: list[Paying]) -> list[tuple[int, str]]:
    ids = [str(each.result.payment.id) for each in orders]
    return list(zip((200, 402, 200), ids, strict=True))


def test_each_order_is_settled_by_its_own_result_in_one_commit(
    three: list[Paying], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(6):  # BEGIN, 1→2, 1→3, the outbox, the responses, COMMIT
        settled = once.settle_once([each.result for each in three])

    assert settled == {each.order.pk for each in three}
    assert statuses(three) == [2, 3, 2]
    assert finals(three) == expected(three)
    recorded = outbox.payments_of([each.order.pk for each in three])
    assert {key: payment.id for key, payment in recorded.items()} == {
        each.order.pk: each.result.payment.id for each in three
    }


def test_what_was_settled_before_is_left_alone(three: list[Paying]) -> None:
    first, *others = three
    once.settle_once([first.result])
    closed = PaymentRequest.objects.get(pk=first.order.pk).settled_at

    assert once.settle_once([each.result for each in three]) == {each.order.pk for each in others}

    assert PaymentRequest.objects.get(pk=first.order.pk).settled_at == closed
    assert finals(three) == expected(three)


def finish(outcomes: dict[UUID, remote.Outcome]) -> None:
    """Have a relay finish requests whose responses have come together."""
    at_work = relay.Relay(concurrency=len(outcomes))
    PaymentRequest.objects.update(claimed_by=RELAY)
    for order_id, outcome in outcomes.items():
        assert at_work._free.acquire(blocking=False)
        request = ClaimedRequest(order_id, b"{}", "", "", attempts=1, is_given_up=False)
        sending: Future[relay.Response] = Future()
        sending.set_result(("charge", outcome))
        at_work._sent.put(relay.Sent(request, RELAY, sending))
    at_work._sent.put(None)
    at_work._settle_all()
    for _ in outcomes:
        assert at_work._free.acquire(blocking=False), "each slot is free for the next one"


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many orders each commit settles; a commit of three fails."""
    sizes: list[int] = []

    def replace(final: dict[str, HttpResponse]) -> int:
        sizes.append(len(final))
        if len(final) == 3:
            raise RuntimeError("one of them is too many")
        return replace_all_provisional(final)

    monkeypatch.setattr(once, "replace_all_provisional", replace)
    return sizes


def test_a_batch_that_fails_settles_nothing_and_then_each_by_itself(
    three: list[Paying], commits: list[int]
) -> None:
    finish({each.order.pk: remote.Decided(each.result.payment) for each in three})

    assert commits == [3, 1, 1, 1]
    assert statuses(three) == [2, 3, 2]
    assert finals(three) == expected(three)


def test_what_has_no_result_yet_is_retried_and_the_others_are_settled_together(
    three: list[Paying], commits: list[int]
) -> None:
    first, second, third = three
    finish(
        {
            first.order.pk: remote.Decided(first.result.payment),
            second.order.pk: remote.Unknown("nothing came back"),
            third.order.pk: remote.Decided(third.result.payment),
        }
    )

    assert commits == [2]
    assert statuses(three) == [2, 1, 2]
    open_request = PaymentRequest.objects.get(settled_at=None)
    assert (open_request.order_id, open_request.claimed_by) == (second.order.pk, None)
    assert open_request.last_error == "nothing came back"
