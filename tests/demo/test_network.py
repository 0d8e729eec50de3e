"""The network switch: what a visitor's bad network loses was committed, once; the retry has it."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from django.contrib.auth.models import User
from django.core.signing import get_cookie_signer
from django.http import HttpResponse
from django.test import Client, RequestFactory

from demo import network
from demo.network import COOKIE, NETWORKS, SLOW_SECONDS, VisitorsNetwork
from idempotency.journal.models import JournaledRequest
from orders.models import Order, Product
from payments.models import Account, Payment
from tests.shop.conftest import charged
from tests.support.browserless import Form, Page, Visitor, signed_in, through
from tests.support.live import LiveServer, descendants, is_running, until
from tests.support.settings import MIDDLEWARE

NAMES = [each.name for each in NETWORKS]
FAULTS = ["loses", "kills"]
ELSEWHERE = [
    "//evil.example",
    "https://evil.example/",
    "javascript:alert(1)",
    "/\\evil.example",
    "",
]


class Connection:
    """What gunicorn gives the application as a client's connection."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)

    def shutdown(self, how: int) -> None:
        self.is_closed = True

    @property
    def is_whole(self) -> bool:
        return not self.sent and not self.is_closed


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that would have been killed: this one."""
    killed: list[int] = []
    monkeypatch.setattr("demo.network.os.kill", lambda pid, _signal: killed.append(pid))
    return killed


@pytest.fixture
def browser(alice: User, connection: Connection, kills: list[int]) -> Client:
    """Return alice's browser, whose connection is that of a server that there isn't."""
    return browser_of(alice, connection)


def browser_of(user: User, connection: Connection) -> Client:
    on: Any = {"gunicorn.socket": connection}
    client = Client(**on)
    client.force_login(user)
    return client


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each request waited; nobody really waits."""
    waited: list[float] = []
    monkeypatch.setattr("demo.network.time.sleep", waited.append)
    return waited


def choose(client: Client, name: str, page: str = "/") -> Any:
    return client.post("/demo/network/", {"network": name, "next": page})


def choice_of(visitor: Visitor, name: str, path: str) -> Page:
    """Choose a network on a page, and return where that leads."""
    form = visitor.open(path).form("/demo/network/")
    return visitor.send(Form(form.action, form.fields | {"network": name}))


def pay_form(client: Client, order: Order) -> Form:
    return through(client).open(f"/orders/{order.pk}/checkout/").form("/pay/")


# --- The switch


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", ["", "checkout/"])
def test_a_choice_leads_back_to_its_page_which_shows_it_and_its_effect(
    name: str, page: str, browser: Client, order: Order, alice_account: Account
) -> None:
    path = f"/orders/{order.pk}/{page}"

    shown = choice_of(through(browser), name, path)

    assert (shown.status, shown.path) == (200, path)
    assert shown.text.count('aria-current="true">') == 2  # and the language
    assert f'value="{name}" class="plain" aria-current="true">' in shown.text
    assert shown.says(str(network.BY_NAME[name].effect))


@pytest.mark.django_db
@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_choice_leads_to_no_other_server(page: str, client: Client) -> None:
    assert choose(client, "slow", page)["Location"] == "/"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "Calm", "nonsense"])
def test_an_unknown_network_is_refused_and_changes_nothing(name: str, client: Client) -> None:
    choose(client, "slow")

    refused = choose(client, name)

    assert refused.status_code == 400
    assert COOKIE not in refused.cookies


@pytest.mark.django_db
def test_a_choice_without_the_forms_csrf_token_is_refused() -> None:
    refused = choose(Client(enforce_csrf_checks=True), "kills")

    assert refused.status_code == 403
    assert COOKIE not in refused.cookies


@pytest.mark.django_db
def test_to_look_at_the_choice_changes_nothing(client: Client) -> None:
    shown = client.get("/demo/network/", {"network": "kills"})

    assert (shown.status_code, COOKIE in shown.cookies) == (302, False)


@pytest.mark.django_db
def test_where_it_is_no_demo_there_is_no_choice(settings: Any, client: Client) -> None:
    settings.MIDDLEWARE = [each for each in MIDDLEWARE if "demo" not in each]

    responses = [choose(client, "kills"), client.get("/demo/network/")]

    assert [each.status_code for each in responses] == [404, 404]
    assert COOKIE not in responses[0].cookies


@pytest.mark.django_db
def test_without_the_middleware_there_is_no_switch_and_no_effect_of_a_cookie(
    settings: Any, alice: User, connection: Connection, kills: list[int], order: Order
) -> None:
    settings.MIDDLEWARE = [each for each in MIDDLEWARE if "demo" not in each]
    assert len(settings.MIDDLEWARE) == len(MIDDLEWARE) - 1
    browser = browser_of(alice, connection)
    choose(browser, "kills")

    page = through(browser).open(f"/orders/{order.pk}/checkout/")
    paid = through(browser).send(page.form("/pay/"))

    assert "/demo/network/" not in page.text
    assert paid.says("charged once")
    assert connection.is_whole
    assert kills == []


# --- What it does to requests


@pytest.mark.django_db
@pytest.mark.parametrize("cookie", ["kills", "kills:forged", None])
def test_a_cookie_that_no_choice_made_is_a_calm_network(
    cookie: str | None,
    browser: Client,
    connection: Connection,
    kills: list[int],
    order: Order,
) -> None:
    signer = get_cookie_signer(salt=COOKIE)
    browser.cookies[COOKIE] = cookie or signer.sign("a network of old")

    page = through(browser).send(pay_form(browser, order))

    assert page.says("charged once")
    assert connection.is_whole
    assert kills == []


@pytest.mark.django_db
def test_what_pays_or_places_waits_in_a_slow_network_and_nothing_else_does(
    browser: Client, waits: list[float], order: Order, product: Product
) -> None:
    choose(browser, "slow")
    visitor = through(browser)
    basket = visitor.send(visitor.open("/").form("/basket/").filled(quantity__TEA=3))
    browser.get(f"/orders/{order.pk}/pay/")
    assert waits == []

    placed = visitor.send(basket.form("/order/"))
    assert waits == [SLOW_SECONDS]
    visitor.send(placed.form("/pay/"))
    assert waits == [SLOW_SECONDS] * 2


@pytest.mark.django_db
def test_a_slow_request_waits_before_anything_is_done_for_it(
    browser: Client, monkeypatch: pytest.MonkeyPatch, order: Order, alice_account: Account
) -> None:
    choose(browser, "slow")
    form, done = pay_form(browser, order), []
    monkeypatch.setattr("demo.network.time.sleep", lambda _: done.append(Payment.objects.count()))

    through(browser).send(form)

    assert done == [0]
    assert charged(alice_account) == order.amount


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["calm", "slow"])
def test_a_network_that_loses_nothing_leaves_every_connection_alone(
    name: str, browser: Client, connection: Connection, waits: list[float], order: Order
) -> None:
    choose(browser, name)

    through(browser).send(pay_form(browser, order))

    assert connection.is_whole


@pytest.mark.django_db
def test_the_first_response_of_a_key_is_lost_and_its_replay_arrives(
    browser: Client, connection: Connection, order: Order, alice_account: Account
) -> None:
    choose(browser, "loses")
    form = pay_form(browser, order)
    assert connection.is_whole, "no page is lost"

    through(browser).send(form)
    assert connection.is_closed
    assert connection.sent == [b"H"]
    connection.is_closed = False
    page = through(browser).send(form)

    assert (page.replayed, connection.is_closed) == (True, False)
    assert page.says("charged once")
    assert charged(alice_account) == order.amount


@pytest.mark.django_db
def test_an_order_and_a_declined_payment_are_lost_as_well_and_a_refusal_is_not(
    browser: Client, connection: Connection, place: Callable[..., Order], alice_account: Account
) -> None:
    choose(browser, "loses")
    visitor = through(browser)
    dear = pay_form(browser, place(customer=alice_account.owner, quantity=1000))
    basket = visitor.send(visitor.open("/").form("/basket/").filled(quantity__TEA=3))
    lost = {}
    for name, form in {
        "placed": basket.form("/order/"),
        "declined": dear,
        "no account of hers": dear.filled(account=7),
        "the same key for another account": dear.filled(account=alice_account.pk + 1),
    }.items():
        connection.is_closed = False
        visitor.send(form)
        lost[name] = connection.is_closed

    assert [name for name in lost if lost[name]] == ["placed", "declined"]
    assert Order.objects.count() == 2
    assert Payment.objects.get().outcome == Payment.Outcome.DECLINED


@pytest.mark.django_db
def test_one_visitors_network_is_nobody_elses(
    browser: Client,
    kills: list[int],
    order: Order,
    bob: User,
    bob_account: Account,
    place: Callable[..., Order],
) -> None:
    choose(browser, "kills")
    connection = Connection()
    other = browser_of(bob, connection)

    page = through(other).send(pay_form(other, place(customer=bob)))
    assert page.says("charged once")
    assert connection.is_whole
    assert kills == []
    through(browser).send(pay_form(browser, order))

    assert kills == [os.getpid()]


@pytest.mark.parametrize(
    ("status", "is_lost"),
    [(200, True), (201, True), (202, True), (402, True), (303, False), (409, False), (503, False)],
)
def test_of_the_final_responses_those_are_lost_that_a_retry_gets_again(
    status: int, is_lost: bool, connection: Connection
) -> None:
    page = HttpResponse()
    page.final_response = HttpResponse(status=status)  # type: ignore[attr-defined]
    request = RequestFactory().post("/")
    request.META["gunicorn.socket"] = connection
    request.COOKIES[COOKIE] = get_cookie_signer(salt=COOKIE).sign("loses")

    VisitorsNetwork(lambda _: page)(request)

    assert connection.is_closed is is_lost


def test_it_is_the_outermost_middleware_so_that_what_it_loses_is_complete() -> None:
    assert MIDDLEWARE[0] == f"demo.network.{VisitorsNetwork.__name__}"


# --- On a real server


@pytest.fixture
def shop(server: LiveServer, alice: User) -> Visitor:
    """Alice, who has signed in through the page."""
    alice.set_password("right-password")
    alice.save()
    return signed_in(server.url, username="alice", password="right-password")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", FAULTS)
def test_the_response_to_a_form_is_lost_and_the_retry_shows_one_charge_of_two_requests(
    name: str, server: LiveServer, shop: Visitor, order: Order, alice_account: Account
) -> None:
    workers = set(descendants(server.process.pid))
    form = choice_of(shop, name, f"/orders/{order.pk}/checkout/").form("/pay/")

    with pytest.raises(urllib3.exceptions.ProtocolError):
        shop.send(form)
    assert charged(alice_account) == order.amount, "the response was lost after the commit"
    dead = until_dead(workers) if name == "kills" else set()
    page = shop.send(form)

    assert len(dead) == (name == "kills")
    assert (page.status, page.path, page.replayed) == (200, f"/orders/{order.pk}/", True)
    assert page.says("charged once, to")
    journaled = JournaledRequest.objects.filter(subject=f"order:{order.pk}")
    until(lambda: journaled.count() == 2, what="both are journaled")
    outcomes = journaled.order_by("received_at").values_list("outcome", flat=True)
    assert list(outcomes) == ["executed", "replayed"]
    assert shop.open(page.path).says("2 clicks → 1 charge of €5.00")
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def until_dead(workers: set[int]) -> set[int]:
    """Wait until one of a server's processes is gone; return those that are."""
    dead: set[int] = until(lambda: {pid for pid in workers if not is_running(pid)}, what="a kill")
    return dead


@pytest.mark.django_db(transaction=True)
def test_a_slow_network_takes_its_time(server: LiveServer, shop: Visitor, order: Order) -> None:
    form = choice_of(shop, "slow", f"/orders/{order.pk}/checkout/").form("/pay/")
    started = time.monotonic()

    page = shop.send(form)

    assert time.monotonic() - started >= SLOW_SECONDS
    assert page.says("charged once, to")
