"""What a response of the payment system means, or the lack of one; and that it is asked outside."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from orders import outbox, relay
from orders.models import Order, PaymentRequest
from orders.once import settle_once
from orders.outbox import Call
from orders.services import pay_order, settle_orders
from payments import client, remote
from payments.client import AccountNotFound, Payment
from payments.models import Account
from payments.remote import Decided, Refused, Unknown
from tests.support.live import free_port

ORDER = str(uuid4())
ASKED = {"order_id": ORDER, "account_id": 7, "amount": 500, "currency": "EUR", "customer": "alice"}
CALL, LATE = Call("charge", "succeeded"), Call("charge", "unknown", "late")
ALL_TERMS = "account_id, amount, currency"
BODY = json.dumps(ASKED).encode()
PAYMENT = {
    **{name: ASKED[name] for name in ("order_id", "account_id", "amount", "currency")},
    "id": str(uuid4()),
    "outcome": "succeeded",
    "created_at": "2026-01-01T00:00:00Z",
}


class PaymentSystem(ThreadingHTTPServer):
    """Responds to everything in one way, and keeps what it was sent."""

    status, content, whole = 200, b"", True
    by_method: dict[str, tuple[int, bytes]]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []
        self.by_method = {}  # where GET and POST get different responses


class Handler(BaseHTTPRequestHandler):
    server: PaymentSystem

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.sent.append((self.command, self.path, dict(self.headers), body))
        same = self.server.status, self.server.content
        status, content = self.server.by_method.get(self.command, same)
        self.send_response(status)
        length = len(content) + (0 if self.server.whole else 10)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - as http.server wants it

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def system(settings: Any) -> Iterator[PaymentSystem]:
    with PaymentSystem() as system:
        threading.Thread(target=system.serve_forever, daemon=True).start()
        settings.PAYMENTS_URL = f"http://127.0.0.1:{system.server_port}"
        settings.PAYMENTS_TOKEN = "a-token"
        yield system
        system.shutdown()


def other(**changed: Any) -> bytes:
    return json.dumps(PAYMENT | changed).encode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("status", "content", "meaning"),
    [
        (201, other(), Decided),
        (200, other(outcome="declined"), Decided),
        (201, other(outcome="declined", account_id=None), Decided),
        (201, other(outcome="declined", account_id=None, amount=501), Unknown),
        (201, other(account_id=None), Unknown),
        (200, other(outcome="perhaps"), Unknown),
        (200, other(order_id=str(uuid4())), Unknown),
        (200, other(amount=501), Unknown),
        (200, other(account_id=8), Unknown),
        (200, other(currency="USD"), Unknown),
        (200, other(id="none"), Unknown),
        (200, other(created_at="yesterday"), Unknown),
        (200, other(created_at=None), Unknown),
        (200, b"", Unknown),
        (200, b"[]", Unknown),
        (200, b"null", Unknown),
        (200, b"<html>", Unknown),
        (200, b"\xff\xfe", Unknown),
        (204, b"", Unknown),
        (302, b"", Unknown),
        (500, b"{}", Unknown),
        (503, b"{}", Unknown),
        (408, b"", Unknown),
        (429, b"", Unknown),
        (400, b"{}", Refused),
        (401, b"", Refused),
        (403, b"[]", Refused),
        (404, b'{"type": "/problems/not-found"}', Refused),
        (409, b'{"type": "/problems/payment-mismatch"}', Refused),
        (422, b"\xff", Refused),
    ],
)
def test_a_response_is_decided_refused_or_unknown(
    status: int, content: bytes, meaning: type, system: PaymentSystem
) -> None:
    system.status, system.content = status, content
    assert isinstance(remote.charge(BODY, request_id="r"), meaning)


@pytest.mark.django_db(transaction=True)
def test_half_a_response_is_none(system: PaymentSystem) -> None:
    system.content, system.whole = other(), False
    assert isinstance(remote.charge(BODY, request_id="r"), Unknown)


@pytest.mark.django_db(transaction=True)
def test_nobody_there_is_unknown(settings: Any) -> None:
    settings.PAYMENTS_URL = f"http://127.0.0.1:{free_port()}"
    assert isinstance(remote.charge(BODY, request_id="r"), Unknown)
    assert isinstance(remote.inquire(BODY, request_id="r"), Unknown)


@pytest.mark.django_db(transaction=True)
def test_an_inquiry_tells_no_payment_from_no_response(system: PaymentSystem) -> None:
    system.status = 404
    assert remote.inquire(BODY, request_id="r") is None
    system.status = 500
    assert isinstance(remote.inquire(BODY, request_id="r"), Unknown)
    system.status, system.content = 200, other()
    assert remote.inquire(BODY, request_id="r") == Decided(Payment.parsed(PAYMENT))
    assert system.sent[-1][:2] == ("GET", f"/api/v1/payments/{ORDER}/")


OTHER_TERMS = "/problems/payment-mismatch: other "
MISMATCH = (409, b'{"type": "/problems/payment-mismatch"}')


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (other(account_id=8), Refused(f"{OTHER_TERMS}account_id")),
        (other(amount=501), Refused(f"{OTHER_TERMS}amount")),
        (other(currency="USD"), Refused(f"{OTHER_TERMS}currency")),
        (other(amount=1, currency="USD", account_id=8), Refused(f"{OTHER_TERMS}{ALL_TERMS}")),
        (other(amount=1, outcome="declined"), Refused(f"{OTHER_TERMS}amount")),
        (other(order_id=str(uuid4())), Unknown("a response about another payment")),
        (other(order_id=str(uuid4()), amount=1), Unknown("a response about another payment")),
        (other(amount="500"), Unknown("a response that makes no sense")),
        (other(amount=501.5), Unknown("a response that makes no sense")),
        (other(amount=True), Unknown("a response that makes no sense")),
        (other(currency=None), Unknown("a response that makes no sense")),
        (other(amount=1, outcome="perhaps"), Unknown("a response that makes no sense")),
        (other(amount=1, id="none"), Unknown("a response that makes no sense")),
        (other(amount=1)[:-1], Unknown("a response that makes no sense")),
    ],
)
def test_an_inquiry_that_sees_other_terms_is_final_and_a_malformed_response_is_not(
    content: bytes, outcome: remote.Outcome, system: PaymentSystem
) -> None:
    system.content = content

    assert remote.inquire(BODY, request_id="r") == outcome


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("inquiry", "outcome"),
    [
        ((200, other(account_id=8)), Refused(f"{OTHER_TERMS}account_id")),
        ((200, other()), Decided(Payment.parsed(PAYMENT))),
        ((404, b""), Refused("409 /problems/payment-mismatch")),
        ((503, b""), Unknown("HTTP 503")),
        ((200, b"<html>"), Unknown("a response that makes no sense")),
        ((403, b""), Refused("403")),
    ],
)
def test_a_charge_that_is_refused_for_its_terms_inquires_which_ones_differ(
    inquiry: tuple[int, bytes], outcome: remote.Outcome, system: PaymentSystem
) -> None:
    system.by_method = {"POST": MISMATCH, "GET": inquiry}

    assert remote.charge(BODY, request_id="r") == outcome
    assert [method for method, *_ in system.sent] == ["POST", "GET"]


NONE_YET, OURS, OTHERS = (404, b""), (200, other()), (200, other(account_id=8))
SILENT, DENIED = (503, b""), (403, b"")
# What the relay makes of it, by (attempt, inquiry, charge), and what it sends.
ATTEMPTS: list[tuple[int, tuple[int, bytes], tuple[int, bytes], type, str]] = [
    (1, NONE_YET, OURS, Decided, "POST"),
    (1, OTHERS, MISMATCH, Refused, "POST GET"),
    (1, NONE_YET, SILENT, Unknown, "POST"),
    (1, NONE_YET, OTHERS, Unknown, "POST"),
    (1, NONE_YET, DENIED, Refused, "POST"),
    (2, OURS, SILENT, Decided, "GET"),
    (2, OTHERS, SILENT, Refused, "GET"),
    (2, SILENT, OURS, Unknown, "GET"),
    (2, DENIED, OURS, Refused, "GET"),
    (2, NONE_YET, OURS, Decided, "GET POST"),
    (2, NONE_YET, SILENT, Unknown, "GET POST"),
    (2, NONE_YET, OTHERS, Unknown, "GET POST"),
    (2, NONE_YET, MISMATCH, Refused, "GET POST GET"),
    (2, NONE_YET, DENIED, Refused, "GET POST"),
    (99, OTHERS, OURS, Refused, "GET"),
    (99, SILENT, OURS, Unknown, "GET"),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("attempt", "inquiry", "charge", "meaning", "methods"), ATTEMPTS)
def test_what_an_attempt_of_the_relay_comes_to(
    attempt: int,
    inquiry: tuple[int, bytes],
    charge: tuple[int, bytes],
    meaning: type,
    methods: str,
    system: PaymentSystem,
) -> None:
    system.by_method = {"GET": inquiry, "POST": charge}
    request = outbox.ClaimedRequest(UUID(ORDER), BODY, "r", "", attempts=attempt, is_given_up=False)

    name, outcome = relay._send(request)

    assert isinstance(outcome, meaning), outcome
    assert " ".join(method for method, *_ in system.sent) == methods
    assert name == ("charge" if "POST" in methods else "inquire")


def test_an_account_that_happens_to_be_here_is_not_offered(
    system: PaymentSystem, alice: User, alice_account: Account
) -> None:
    with pytest.raises(AccountNotFound):
        client.account_with_most(owner=alice, currency="EUR")
    assert client.accounts_of(owner=alice, currency="EUR") is None


@pytest.mark.django_db(transaction=True)
def test_the_stored_bytes_are_sent_with_the_request_id_and_the_credential(
    system: PaymentSystem,
) -> None:
    remote.charge(BODY, request_id="request-7")
    ((method, path, headers, body),) = system.sent
    assert (method, path, body) == ("POST", "/api/v1/payments/", BODY)
    assert headers["X-Request-Id"] == "request-7"
    assert headers["Authorization"] == "Token a-token"


@pytest.mark.django_db(transaction=True)
def test_nothing_is_requested_inside_of_a_transaction(system: PaymentSystem) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside of a database"):
        remote.charge(BODY, request_id="r")
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside of a database"):
        remote.inquire(BODY, request_id="r")
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside of a database"):
        remote.decline(BODY, request_id="r")
    assert system.sent == []


@pytest.mark.django_db(transaction=True)
def test_paying_asks_nobody_and_leaves_a_request_in_the_outbox(
    system: PaymentSystem, alice: User, alice_account: Account, place: Any
) -> None:
    order = place(customer=alice)
    attempt = pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    assert (attempt.order.status, attempt.first) == (Order.Status.PAYING, True)
    assert PaymentRequest.objects.get().order_id == order.pk
    assert system.sent == []


@pytest.mark.django_db(transaction=True)
def test_a_late_duplicate_of_an_response_changes_nothing(
    system: PaymentSystem, alice: User, alice_account: Account, place: Any
) -> None:
    order = place(customer=alice)
    from payments.services import pay

    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    terms = {"order_id": order.pk, "account_id": alice_account.pk, "currency": "EUR"}
    paid = pay(amount=order.amount, **terms).payment
    relay = outbox.register()
    (taken,) = outbox.claim(relay=relay, limit=5)
    payment = Payment.of(paid)
    result = outbox.Result(order.pk, payment, CALL)
    assert settle_once([result]) == {order.pk}
    assert settle_once([result]) == set()
    assert settle_orders([result]) == []
    outbox.reschedule(taken, LATE, relay=relay, seconds=0)
    outbox.dead_letter(taken, LATE, relay=relay)
    assert outbox.requeue([order.pk]) == 0
    request = PaymentRequest.objects.get()
    assert (request.last_error, request.dead_lettered) == ("", False)
    assert outbox.claim(relay=relay, limit=5) == []


@pytest.mark.django_db(transaction=True)
def test_what_a_living_relay_works_on_is_not_taken_and_a_dead_ones_is_at_once(
    system: PaymentSystem, alice: User, alice_account: Account, place: Any
) -> None:
    order = place(customer=alice)
    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    mine = outbox.register()
    assert [taken.order_id for taken in outbox.claim(relay=mine, limit=5)] == [order.pk]
    assert outbox.claim(relay=mine, limit=5) == []
    PaymentRequest.objects.update(claimed_by=mine - 1 if mine else 1)  # of a session that has ended
    assert [taken.attempts for taken in outbox.claim(relay=mine, limit=5)] == [2]
    from django.db import connection

    connection.close()  # and with it the locks of this test's relay
