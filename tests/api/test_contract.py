"""Every row of the contract's table of calls, over the API as a client sees it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from rest_framework.exceptions import ValidationError
from rest_framework.test import APIClient

from demo.seed import seed
from idempotency.tests.support import on_a_standby
from orders.models import Order, PaymentRequest, Product
from orders.serializers import PayOrderRequest
from orders.services import advance, pay_order
from payments.models import Account, Payment
from payments.services import open_account
from payments.services import pay as charge
from tests.conftest import LONG_WINDOW, OPENING
from web.api import valid

ORDER_MEMBERS = {
    "id",
    "status",
    "status_label",
    "amount",
    "currency",
    "lines",
    "payment",
    "created_at",
    "updated_at",
}


def post(client: Any, path: str, body: Any = None, key: str | None = None, **extra: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, body, format="json", headers=headers | extra.pop("headers", {}))


def problem(response: Any) -> str:
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "outcome", "retryable"} <= body.keys()
    assert body["status"] == response.status_code
    assert body["outcome"] in {"none", "done", "unknown"}
    return str(body["type"]).removeprefix("/problems/")


@pytest.fixture
def pay_path(alice: User, place: Callable[..., Order]) -> str:
    return f"/api/v1/orders/{place(customer=alice).pk}/pay/"


@pytest.fixture
def service(sign_in: Callable[[User], APIClient], db: None) -> APIClient:
    user = User.objects.create_user("order-service")
    user.user_permissions.add(Permission.objects.get(codename="charge"))
    return sign_in(user)


# --- Products and placing


def test_the_catalogue_is_open_to_everybody(product: Product) -> None:
    response = APIClient().get("/api/v1/products/")
    assert response.status_code == 200
    assert response.json()["results"] == [
        {"sku": "TEA", "name": "Green tea", "price": 250, "currency": "EUR"}
    ]


def test_placing_prices_the_order_on_the_server(as_alice: APIClient, product: Product) -> None:
    lines = [{"sku": "TEA", "quantity": 2, "price": 1, "unit_price": 1}]
    response = post(as_alice, "/api/v1/orders/", {"lines": lines, "amount": 1}, key="k")

    order = response.json()
    assert response.status_code == 201
    assert response["Location"] == f"/api/v1/orders/{order['id']}/"
    assert order.keys() == ORDER_MEMBERS
    assert (order["status"], order["status_label"], order["payment"]) == (0, "submitted", None)
    assert order["lines"] == [
        {"sku": "TEA", "name": "Green tea", "quantity": 2, "unit_price": 250, "amount": 500}
    ]
    assert (order["amount"], order["currency"]) == (500, "EUR")
    assert as_alice.get(response["Location"]).json() == order


@pytest.mark.parametrize(
    ("lines", "pointer"),
    [
        (None, "/lines"),
        ([], "/lines"),
        ("TEA", "/lines"),
        ([{"sku": "TEA"}], "/lines/0/quantity"),
        ([{"sku": "TEA", "quantity": 0}], "/lines/0/quantity"),
        ([{"sku": "TEA", "quantity": -1}], "/lines/0/quantity"),
        ([{"sku": "TEA", "quantity": 1.5}], "/lines/0/quantity"),
        ([{"sku": "TEA", "quantity": "many"}], "/lines/0/quantity"),
        ([{"sku": "TEA", "quantity": 10**30}], "/lines/0/quantity"),
        ([{"sku": "nul\0", "quantity": 1}], "/lines/0/sku"),
        ([{"sku": "NOPE", "quantity": 1}], "/lines"),
        ([{"sku": "TEA", "quantity": 1}, {"sku": "BOOK", "quantity": 1}], "/lines"),
        ([{"sku": "TEA", "quantity": 1}] * 101, "/lines"),
    ],
)
def test_lines_that_make_no_order_are_named(
    lines: Any, pointer: str, as_alice: APIClient, product: Product
) -> None:
    Product.objects.create(sku="BOOK", name="Book", price=1500, currency="USD")
    response = post(as_alice, "/api/v1/orders/", {"lines": lines} if lines is not None else {}, "k")
    assert response.status_code == 400
    assert problem(response) == "validation-error"
    assert response.json()["errors"][0]["pointer"] == pointer
    assert not Order.objects.exists()


def test_own_orders_are_listed_newest_first_a_page_at_a_time(
    as_alice: APIClient, alice: User, bob: User, place: Callable[..., Order]
) -> None:
    mine = [str(place(customer=alice).pk) for _ in range(3)]
    place(customer=bob)

    first = as_alice.get("/api/v1/orders/", {"page_size": 2}).json()
    second = as_alice.get(first["next"]).json()

    assert [order["id"] for order in first["results"] + second["results"]] == mine[::-1]
    assert second["next"] is None


def test_listing_costs_the_same_however_long_the_page(
    as_alice: APIClient,
    alice: User,
    place: Callable[..., Order],
    django_assert_num_queries: Any,
) -> None:
    for _ in range(2):
        place(customer=alice)
    with django_assert_num_queries(4):
        as_alice.get("/api/v1/orders/")
    for _ in range(5):
        place(customer=alice)
    with django_assert_num_queries(4):
        as_alice.get("/api/v1/orders/")


# --- Paying


def test_paying_returns_the_paid_order(
    as_alice: APIClient, pay_path: str, alice_account: Account
) -> None:
    response = post(as_alice, pay_path, {"account": alice_account.pk}, key="k")

    order = response.json()
    assert response.status_code == 200
    assert order.keys() == ORDER_MEMBERS
    assert (order["status"], order["status_label"]) == (2, "paid")
    assert order["payment"]["outcome"] == "succeeded"
    assert order["payment"]["amount"] == order["amount"] == 500
    assert as_alice.get(pay_path.removesuffix("pay/")).json() == order
    account = as_alice.get(f"/api/v1/accounts/{alice_account.pk}/").json()
    assert account["balance"] == OPENING - 500


def test_paying_without_enough_money_fails_the_order(
    as_alice: APIClient, pay_path: str, alice: User
) -> None:
    poor = open_account(owner=alice, currency="EUR", opening_balance=499)
    response = post(as_alice, pay_path, {"account": poor.pk}, key="k")

    assert response.status_code == 402
    assert problem(response) == "payment-declined"
    assert response.json()["order"]["status"] == 3
    assert response.json()["order"]["payment"]["outcome"] == "declined"
    assert as_alice.get(f"/api/v1/accounts/{poor.pk}/").json()["balance"] == 499


def test_an_order_that_is_paying_gets_202_and_starts_nothing_new(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    assert advance(order.pk, Order.start_paying, account_id=alice_account.pk)

    response = post(as_alice, f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, "k")

    assert response.status_code == 202
    assert response.json()["status"] == 1
    assert response["Location"] == f"/api/v1/orders/{order.pk}/"
    assert int(response["Retry-After"]) >= 1
    assert not Payment.objects.exists()


@pytest.mark.parametrize(("funds", "slug"), [(500, "order-already-paid"), (499, "order-failed")])
def test_a_settled_order_under_another_key_is_a_conflict_that_shows_it(
    funds: int, slug: str, as_alice: APIClient, alice: User, place: Callable[..., Order]
) -> None:
    account = open_account(owner=alice, currency="EUR", opening_balance=funds)
    order = place(customer=alice)
    pay_order(customer=alice, order_id=order.pk, account_id=account.pk)
    before = Account.objects.get(pk=account.pk).balance

    response = post(as_alice, f"/api/v1/orders/{order.pk}/pay/", {"account": account.pk}, "other")

    assert response.status_code == 409
    assert problem(response) == slug
    assert response.json()["order"]["id"] == str(order.pk)
    assert response.json()["order"]["payment"]["id"] == str(Payment.objects.get().pk)
    assert Account.objects.get(pk=account.pk).balance == before


def test_an_account_in_another_currency_leaves_the_order_payable(
    as_alice: APIClient, pay_path: str, alice: User, alice_account: Account
) -> None:
    dollars = open_account(owner=alice, currency="USD", opening_balance=10_000)
    refused = post(as_alice, pay_path, {"account": dollars.pk}, key="k")
    assert refused.status_code == 400
    assert problem(refused) == "validation-error"
    assert post(as_alice, pay_path, {"account": alice_account.pk}, key="k").status_code == 200


# --- Other people's objects


@pytest.mark.parametrize("path", ["", "pay/"])
def test_another_users_order_is_not_found(
    path: str, as_bob: APIClient, pay_path: str, bob_account: Account
) -> None:
    url = pay_path.removesuffix("pay/") + path
    response = post(as_bob, url, {"account": bob_account.pk}, "k") if path else as_bob.get(url)
    assert response.status_code == 404
    assert problem(response) == "not-found"
    assert not Payment.objects.exists()


def test_another_users_account_can_neither_be_seen_nor_charged(
    as_alice: APIClient, pay_path: str, bob_account: Account
) -> None:
    for url in (
        f"/api/v1/accounts/{bob_account.pk}/",
        f"/api/v1/accounts/{bob_account.pk}/entries/",
    ):
        assert as_alice.get(url).status_code == 404
    assert post(as_alice, pay_path, {"account": bob_account.pk}, "k").status_code == 404
    bob_account.refresh_from_db()
    assert bob_account.balance == OPENING


def test_the_settlement_account_is_nobodys(as_alice: APIClient, alice_account: Account) -> None:
    settlement = Account.objects.get(owner=None)
    assert as_alice.get(f"/api/v1/accounts/{settlement.pk}/").status_code == 404
    listed = as_alice.get("/api/v1/accounts/").json()["results"]
    assert [account["id"] for account in listed] == [alice_account.pk]


# --- The payment system's own interface


def terms(account: Account, **changed: Any) -> dict[str, Any]:
    body = {"order_id": str(uuid4()), "account_id": account.pk, "amount": 700, "currency": "EUR"}
    return body | changed


def test_the_payment_interface_charges_once_and_replays(
    service: APIClient, alice_account: Account
) -> None:
    body = terms(alice_account)
    first, second = (post(service, "/api/v1/payments/", body) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert service.get(first["Location"]).json() == first.json()
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING - 700


def test_the_payment_interface_declines_once_and_then_charges_nobody(
    service: APIClient, alice_account: Account
) -> None:
    body = terms(alice_account)
    declined, second = (post(service, "/api/v1/payments/decline/", body) for _ in range(2))
    late = post(service, "/api/v1/payments/", body)
    other = post(service, "/api/v1/payments/decline/", body | {"amount": 701})

    assert (declined.status_code, second.status_code, late.status_code) == (201, 200, 200)
    assert declined.json() == second.json() == late.json()
    assert (declined.json()["outcome"], declined.json()["account_id"]) == ("declined", None)
    assert second["Idempotent-Replayed"] == late["Idempotent-Replayed"] == "true"
    assert service.get(declined["Location"]).json() == declined.json()
    assert (other.status_code, problem(other)) == (409, "payment-mismatch")
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING


@pytest.mark.parametrize("changed", ["account_id", "amount", "currency"])
def test_the_payment_interface_refuses_a_changed_retry(
    changed: str, service: APIClient, alice_account: Account, bob_account: Account
) -> None:
    values = {"account_id": bob_account.pk, "amount": 701, "currency": "USD"}
    body = terms(alice_account)
    post(service, "/api/v1/payments/", body)

    response = post(service, "/api/v1/payments/", body | {changed: values[changed]})

    assert response.status_code == 409
    assert problem(response) == "payment-mismatch"
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING - 700


def test_the_payment_interface_refuses_other_terms_than_the_orders(
    service: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    response = post(service, "/api/v1/payments/", terms(alice_account, order_id=str(order.pk)))
    assert response.status_code == 409
    assert problem(response) == "payment-mismatch"
    assert not Payment.objects.exists()


def test_an_order_charged_through_the_interface_is_not_charged_again(
    service: APIClient, as_alice: APIClient, alice: User, alice_account: Account, place: Any
) -> None:
    order = place(customer=alice)
    body = terms(alice_account, order_id=str(order.pk), amount=order.amount)
    assert post(service, "/api/v1/payments/", body).status_code == 201

    response = post(as_alice, f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, "k")

    assert response.status_code == 200
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING - order.amount


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": 2**63},
        {"currency": "eur"},
        {"currency": "EURO"},
        {"order_id": "no-uuid"},
        {"order_id": False},
        {"customer": 5},
        {"account_id": 0},
        {"account_id": "x"},
    ],
)
def test_the_payment_interface_refuses_nonsense(
    changed: dict[str, Any], service: APIClient, alice_account: Account
) -> None:
    response = post(service, "/api/v1/payments/", terms(alice_account, **changed))
    assert response.status_code == 400
    assert not Payment.objects.exists()


def test_customers_may_not_use_the_payment_interface(
    as_alice: APIClient, alice_account: Account
) -> None:
    for path in ("/api/v1/payments/", "/api/v1/payments/decline/"):
        assert post(as_alice, path, terms(alice_account)).status_code == 403
    assert not Payment.objects.exists()


def test_a_payment_is_shown_to_its_payer_and_to_services_only(
    as_alice: APIClient, as_bob: APIClient, service: APIClient, alice_account: Account
) -> None:
    order_id = uuid4()
    charge(order_id=order_id, account_id=alice_account.pk, amount=700, currency="EUR")
    path = f"/api/v1/payments/{order_id}/"
    assert as_alice.get(path).status_code == service.get(path).status_code == 200
    assert as_bob.get(path).status_code == 404
    assert service.get(f"/api/v1/payments/{uuid4()}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_standby_shows_no_payment_by_which_an_order_would_be_settled(
    service: APIClient, alice_account: Account
) -> None:
    order_id = uuid4()
    charge(order_id=order_id, account_id=alice_account.pk, amount=700, currency="EUR")
    path = f"/api/v1/payments/{order_id}/"
    with on_a_standby():
        assert service.get(path).status_code == 404
    assert service.get(path).status_code == 200


def test_a_statement_shows_the_newest_entry_first(
    as_alice: APIClient, alice_account: Account
) -> None:
    orders = [uuid4() for _ in range(2)]
    for order_id in orders:
        charge(order_id=order_id, account_id=alice_account.pk, amount=700, currency="EUR")
    entries = as_alice.get(f"/api/v1/accounts/{alice_account.pk}/entries/").json()["results"]
    assert [entry["order_id"] for entry in entries] == [str(order) for order in orders[::-1]]
    assert [entry["balance_after"] for entry in entries] == [OPENING - 1400, OPENING - 700]
    assert {entry["amount"] for entry in entries} == {-700}


# --- Errors are problems, whatever goes wrong


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/api/nowhere", 404),
        ("post", "/api/v1/nowhere/", 404),
        ("post", "/api/v1/orders", 404),
        ("get", "/api/v1/orders/not-a-uuid/", 404),
        ("get", "/api/v1/orders/?cursor=rubbish", 404),
        ("get", "/api/v1/orders/?cursor=cD1ydWJiaXNo", 404),
        ("post", "/api/v1/sign-in", 404),
        ("get", "/api/v1/products/?cursor=cD0lMDA%3D", 404),
        ("get", "/api/v1/orders/?page_size=0", 400),
        ("get", "/api/v1/orders/?page_size=201", 400),
        ("get", "/api/v1/orders/?page_size=many", 400),
        ("get", "/api/v1/accounts/99999999999999999999999/", 404),
        ("put", "/api/v1/orders/", 405),
        ("delete", "/api/v1/products/", 405),
    ],
)
def test_a_wrong_address_or_method_is_a_problem(
    method: str, path: str, status: int, as_alice: APIClient
) -> None:
    response = getattr(as_alice, method)(path)
    assert response.status_code == status
    problem(response)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ('{"lines": NaN}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        ("[" * 50_000, "application/json", 400),
        ("1" * 5_000, "application/json", 400),
        ("null", "application/json", 400),
        ("[]", "application/json", 400),
        ('"text"', "application/json", 400),
        ("", "application/json", 400),
        ("a=b", "application/x-www-form-urlencoded", 415),
        (" " * 65_537, "application/json", 413),
        (" " * 3_000_000, "application/json", 413),
        *(("[" * depth + "]" * depth, "application/json", 400) for depth in (300, 600, 900, 2000)),
        ("{}", "application/json; charset=nonsense", 400),
    ],
)
def test_a_body_that_is_no_request_is_a_problem(
    body: Any, content_type: str, status: int, as_alice: APIClient
) -> None:
    response = as_alice.generic(
        "POST", "/api/v1/orders/", body, content_type, headers={"Idempotency-Key": "k"}
    )
    assert response.status_code == status
    problem(response)


@pytest.mark.parametrize(
    "body", [None, [], "text", {}, {"account": "x"}, {"account": 0}, {"account": 1}]
)
def test_a_body_is_read_as_its_serializer_reads_it(body: Any) -> None:
    usual = PayOrderRequest(data=body)
    if usual.is_valid():
        assert valid(PayOrderRequest, body) == usual.validated_data
        return
    with pytest.raises(ValidationError) as refused:
        valid(PayOrderRequest, body)
    assert refused.value.detail == usual.errors


def test_a_body_of_unknown_length_is_refused(as_alice: APIClient) -> None:
    response = as_alice.post("/api/v1/orders/", {}, headers={"Transfer-Encoding": "chunked"})
    assert response.status_code == 411
    problem(response)


def test_a_log_line_asks_no_database(
    alice: User, product: Product, django_assert_num_queries: Any
) -> None:
    browser = Client()
    browser.force_login(alice)
    with django_assert_num_queries(0):
        assert browser.get("/api/v1/nowhere").status_code == 404


def test_nobody_signed_in_is_401_with_a_challenge() -> None:
    response = APIClient().get("/api/v1/orders/")
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Token"
    problem(response)


def test_json_is_the_only_thing_spoken(as_alice: APIClient) -> None:
    response = as_alice.get("/api/v1/orders/", headers={"Accept": "text/html"})
    assert response.status_code == 406
    problem(response)


def test_a_session_needs_the_csrf_token(alice: User, product: Product) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    body = {"lines": [{"sku": "TEA", "quantity": 1}]}

    def place(**headers: str) -> Any:
        return browser.post(
            "/api/v1/orders/",
            body,
            content_type="application/json",
            headers={"Idempotency-Key": "k"} | headers,
        )

    assert place().status_code == 403
    assert not Order.objects.exists()
    browser.get("/api/docs/")
    token = "x" * 32
    browser.cookies["csrftoken"] = token
    assert place(**{"X-CSRFToken": token}).status_code == 201


def test_a_host_that_is_not_ours_is_a_problem() -> None:
    response = Client(raise_request_exception=False).get(
        "/api/v1/products/", headers={"host": "evil"}
    )
    assert response.status_code == 400
    problem(response)


def test_a_database_that_is_down_is_503_and_not_ready(
    monkeypatch: pytest.MonkeyPatch, as_alice: APIClient
) -> None:
    from django.db import connection

    def refuse(*_: Any, **__: Any) -> Any:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        responses = [as_alice.get("/api/v1/orders/"), as_alice.get("/readyz")]
    for response in responses:
        assert response.status_code == 503
        assert problem(response) == "temporarily-unavailable"
        assert response["Retry-After"]
    assert as_alice.get("/healthz").status_code == 200


def test_a_migrated_database_is_ready(db: None) -> None:
    assert APIClient().get("/readyz").json() == {"status": "ready"}


def test_a_stuck_outbox_is_shown_and_the_order_system_stays_ready(
    as_alice: APIClient, pay_path: str, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.PAYMENTS_URL = "http://payments.example"
    idle = as_alice.get("/readyz")
    accepted = post(as_alice, pay_path, {"account": 1}, "k", headers={"Prefer": "wait=0"})
    waiting = as_alice.get("/readyz")
    settings.OUTBOX_STUCK_SECONDS = -1
    with django_assert_num_queries(2):
        stuck = as_alice.get("/readyz")
    PaymentRequest.objects.update(dead_lettered=True)
    dead_lettered = as_alice.get("/readyz")

    assert accepted.status_code == 202
    assert {idle.status_code, waiting.status_code, stuck.status_code} == {200}
    assert idle.json()["outbox"] == {"open": 0, "oldest_seconds": 0, "stuck": False}
    assert waiting.json()["outbox"].items() >= {"open": 1, "stuck": False}.items()
    assert stuck.json()["outbox"].items() >= {"open": 1, "stuck": True}.items()
    assert dead_lettered.json()["outbox"]["open"] == 0


# --- Signing in, tracing, documentation


def test_signing_in_gives_a_new_token_each_time_that_the_api_takes(alice: User) -> None:
    alice.set_password("correct horse battery")
    alice.save(update_fields=["password"])
    body = {"username": "alice", "password": "correct horse battery"}
    first, second = (post(APIClient(), "/api/v1/sign-in/", body) for _ in range(2))
    assert first.json()["token"] != second.json()["token"]
    assert "no-store" in first["Cache-Control"]

    for signed_in in (first, second):
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {signed_in.json()['token']}")
        assert client.get("/api/v1/accounts/").status_code == 200


def test_signing_in_is_limited_even_for_the_right_password(alice: User, settings: Any) -> None:
    settings.SIGN_IN_RATE = (2, LONG_WINDOW)
    alice.set_password("correct horse battery")
    alice.save(update_fields=["password"])
    wrong = {"username": "alice", "password": "wrong"}
    right = {"username": "alice", "password": "correct horse battery"}

    assert [post(APIClient(), "/api/v1/sign-in/", wrong).status_code for _ in range(2)] == [401] * 2
    for body in (right, right | {"username": "Alice"}):
        response = post(APIClient(), "/api/v1/sign-in/", body)
        assert response.status_code == 429
        assert int(response["Retry-After"]) >= 1


def test_a_request_id_is_accepted_or_made_and_returned(as_alice: APIClient) -> None:
    sent = as_alice.get("/healthz", headers={"X-Request-Id": "trace-7"})
    assert sent["X-Request-Id"] == "trace-7"
    made = {as_alice.get("/healthz")["X-Request-Id"] for _ in range(2)}
    assert len(made) == 2
    forged = as_alice.get("/healthz", headers={"X-Request-Id": "no spaces allowed"})
    assert forged["X-Request-Id"] != "no spaces allowed"


def test_the_docs_page_asks_nothing_of_other_hosts() -> None:
    page = APIClient().get("/api/docs/").content.decode()
    assert "swagger-ui" in page
    assert "http://" not in page
    assert "https://" not in page


def test_every_problem_type_leads_to_its_meaning() -> None:
    response = APIClient().get("/problems/payment-declined")
    assert response.status_code == 200
    assert APIClient().get("/problems/nonsense").status_code == 404


def test_seeding_twice_changes_nothing(db: None) -> None:
    assert seed() == seed()
    assert Account.objects.exclude(owner=None).count() == 5
    assert {"username", "password", "token", "accounts"} == seed()["users"][0].keys()
