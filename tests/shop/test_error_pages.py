"""Every failure is an error page; and who may sign in, from where, and how often."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection
from django.test import Client

from orders.models import Order, Product
from payments.models import Account
from tests.conftest import LONG_WINDOW
from tests.shop.conftest import charged
from tests.support.browserless import Form, Page, Visitor, through
from web.sign_in_limits import ATTEMPTS_PER_ADDRESS

pytestmark = pytest.mark.django_db

NOT_AVAILABLE = "The shop is not available just now"
TOO_OLD = "This page is too old"
TOO_MANY = "Too many pages at once"


@contextmanager
def database_fails(pattern: str = "") -> Iterator[None]:
    """Make the statements fail that match a pattern."""

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if re.search(pattern, sql):
            raise OperationalError("the database is away")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(fail):
        yield


@pytest.fixture
def browser(alice: User) -> Client:
    """Return alice's browser, which gets errors as pages."""
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    return client


def is_error_page(page: Page) -> bool:
    """Return True for an error page of ours, without a traceback or the error's text."""
    return page.says("Charge once") and "Traceback" not in page.text and "is away" not in page.text


# --- The database


@pytest.mark.parametrize(
    "path",
    ["/", "/basket/", "/orders/", "/orders/{id}/", "/orders/{id}/now/", "/orders/{id}/checkout/"],
)
@pytest.mark.parametrize("statement", ["", "django_session", "auth_user", "orders_|shop_"])
def test_a_page_without_a_database_says_so_and_when_to_come_back(
    path: str, statement: str, browser: Client, order: Order
) -> None:
    with database_fails(statement):
        page = through(browser).open(path.format(id=order.pk))

    assert page.status == 503
    assert int(page.headers["Retry-After"]) > 0
    assert page.says(NOT_AVAILABLE)
    assert is_error_page(page)


@pytest.mark.parametrize("statement", ["", "django_session", "orders_order"])
def test_a_form_without_a_database_says_that_it_may_be_retried(
    statement: str, browser: Client, order: Order, alice_account: Account
) -> None:
    shop = through(browser)
    form = shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")

    with database_fails(statement):
        pages = [
            shop.send(form),
            shop.send(Form("/basket/", {"quantity-TEA": "1"}))
            if not statement
            else shop.send(form),
        ]

    assert {page.status for page in pages} == {503}
    assert all(page.says("whatever you send twice is charged once") for page in pages)
    assert all("Retry-After" in page.headers for page in pages)
    assert charged(alice_account) == 0


@pytest.mark.parametrize("path", ["/sign-in/", "/sign-out/", "/nowhere/"])
def test_a_page_around_the_shop_without_a_database_says_so(path: str, browser: Client) -> None:
    with database_fails():
        if path == "/sign-out/":
            page = through(browser).send(Form(path))
        else:
            page = through(browser).open(path)

    assert page.status in {404, 503}
    assert is_error_page(page)


@pytest.mark.parametrize("error", [RuntimeError, IntegrityError])
def test_a_bug_is_a_page_without_a_traceback(
    error: type[Exception], browser: Client, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> Any:
        raise error("is away with it")

    monkeypatch.setattr("shop.views.orders.timeline_of", broken)

    page = through(browser).open(f"/orders/{order.pk}/")

    assert page.status == 500
    assert page.says(NOT_AVAILABLE)
    assert is_error_page(page)


def test_what_is_not_there_is_a_page(browser: Client) -> None:
    for path in ("/nowhere/", "/orders/nothing/", "/basket/1/order/"):
        page = through(browser).open(path)
        assert page.status == 404
        assert page.says("There is no such page")
        assert is_error_page(page)


@pytest.mark.parametrize("fields", [{f"f{n}": "" for n in range(1001)}, {"a": "x" * 3_000_000}])
def test_a_form_that_is_too_long_is_a_page(browser: Client, fields: dict[str, str]) -> None:
    page = through(browser).send(Form("/basket/", fields))

    assert page.status in {400, 413}
    assert page.says("too long")
    assert is_error_page(page)


# --- Too often


def test_more_checkout_pages_than_tokens_are_a_page_that_says_when(
    shop: Visitor, order: Order, settings: Any, alice_account: Account
) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"TOKEN_RATE": (3, LONG_WINDOW)}
    form, *_ = [shop.open(f"/orders/{order.pk}/checkout/").form("/pay/") for _ in range(3)]

    page = shop.open(f"/orders/{order.pk}/checkout/")

    assert page.status == 429
    assert int(page.headers["Retry-After"]) > 0
    assert page.says(TOO_MANY)
    assert is_error_page(page)
    assert shop.send(form).says("charged once, to")
    assert charged(alice_account) == order.amount


def test_who_orders_more_often_than_tokens_are_issued_ends_on_the_order(
    shop: Visitor, product: Product, settings: Any
) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"TOKEN_RATE": (3, LONG_WINDOW)}
    form = shop.send(Form("/basket/", {"quantity-TEA": "2"})).form("/order/")

    pages = [shop.send(form) for _ in range(5)]

    assert Order.objects.count() == 1
    assert not pages[-1].says("Nothing was done"), "the order was placed"
    assert {page.path for page in pages} == {f"/orders/{Order.objects.get().pk}/checkout/"}


# --- Forms from elsewhere


@pytest.mark.parametrize(
    "path", ["/basket/", "/basket/{id}/order/", "/orders/{id}/pay/", "/orders/{id}/again/"]
)
def test_a_form_without_its_csrf_token_is_a_page_that_says_what_to_do(
    path: str, alice: User, order: Order, alice_account: Account
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)

    page = through(client).send(
        Form(path.format(id=order.pk), {"key": "k", "account": str(alice_account.pk)})
    )

    assert page.status == 403
    assert page.says(TOO_OLD)
    assert is_error_page(page)
    assert charged(alice_account) == 0


def test_a_form_with_its_csrf_token_pays(alice: User, order: Order, alice_account: Account) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    shop = through(client)

    page = shop.send(shop.open(f"/orders/{order.pk}/checkout/").form("/pay/"))

    assert page.says("charged once, to")
    assert charged(alice_account) == order.amount


def test_a_get_request_does_nothing(shop: Visitor, order: Order, alice_account: Account) -> None:
    for action in ("pay", "again"):
        shop.open(f"/orders/{order.pk}/{action}/?key=k&account={alice_account.pk}")

    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert shop.open("/basket/").says("The basket is empty.")
    assert charged(alice_account) == 0


# --- Signing in


@pytest.fixture
def with_password(alice: User) -> User:
    alice.set_password("right-password")
    alice.save()
    return alice


def try_to_sign_in(password: str, name: str = "alice", goal: str = "", client: Any = None) -> Any:
    form = {"username": name, "password": password, "next": goal}
    return (client or Client()).post("/sign-in/", form)


@pytest.mark.usefixtures("with_password")
def test_past_the_limit_of_attempts_the_right_password_is_refused_too(settings: Any) -> None:
    settings.SIGN_IN_RATE = (3, LONG_WINDOW)
    client = Client()
    tried = [try_to_sign_in("wrong", client=client).status_code for _ in range(3)]

    refused = try_to_sign_in("right-password", client=client)

    assert tried == [200, 200, 200]
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "Too many attempts" in refused.text
    assert "_auth_user_id" not in client.session


@pytest.mark.usefixtures("with_password")
def test_the_page_and_the_api_count_the_same_attempts(settings: Any) -> None:
    settings.SIGN_IN_RATE = (3, LONG_WINDOW)
    body = {"username": "alice", "password": "wrong"}
    for _ in range(3):
        Client().post("/api/v1/sign-in/", body, content_type="application/json")

    assert try_to_sign_in("right-password").status_code == 429


@pytest.mark.usefixtures("with_password")
def test_attempts_from_one_address_keep_nobody_out_who_comes_from_another(settings: Any) -> None:
    settings.SIGN_IN_RATE = (1, LONG_WINDOW)
    tried = [try_to_sign_in("wrong").status_code for _ in range(2)]

    elsewhere = try_to_sign_in("right-password", client=Client(REMOTE_ADDR="192.0.2.1"))

    assert tried == [200, 429]
    assert elsewhere.status_code == 302


@pytest.mark.usefixtures("with_password")
def test_an_address_may_not_try_one_name_after_the_other(settings: Any) -> None:
    settings.SIGN_IN_RATE = (1, LONG_WINDOW)
    tried = [try_to_sign_in("wrong", f"name-{n}").status_code for n in range(ATTEMPTS_PER_ADDRESS)]

    assert set(tried) == {200}
    assert try_to_sign_in("right-password").status_code == 429


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "alice\0", "\ud7ff"])
def test_nonsense_for_a_name_is_an_error_in_the_form(name: str) -> None:
    response = try_to_sign_in("wrong", name)

    assert response.status_code == 200
    assert "match" in response.text


def test_a_script_that_somebody_signs_in_with_is_shown_and_not_run(
    visit: Callable[[User], Visitor],
) -> None:
    script = '"><script>alert(1)</script>'
    stranger = through(Client())
    pages = [
        stranger.open(f"/sign-in/?{urlencode({'next': f'/{script}'})}"),
        stranger.send(Form("/sign-in/", {"username": script, "password": "wrong"})),
        visit(User.objects.create_user(script)).open("/"),
    ]

    assert not [page.path for page in pages if script in page.text]
    assert all("&quot;&gt;&lt;script&gt;" in page.text for page in pages)


def test_the_demos_people_sign_in_with_one_click_where_it_is_a_demo(settings: Any) -> None:
    settings.DEMO_SIGN_IN = True
    User.objects.create_user("carol", password=settings.PUBLIC_PASSWORD)
    visitor = through(Client())

    page = visitor.open("/sign-in/?next=/basket/")
    form = next(form for form in page.forms if form.fields.get("username") == "carol")
    home = visitor.send(Form(page.path, form.fields))

    assert home.path == "/basket/"
    assert home.says("carol")


def test_the_sign_in_form_itself_says_where_to_go_back_to() -> None:
    page = through(Client()).open("/sign-in/?next=/basket/")

    form = next(form for form in page.forms if form.fields.get("username") == "")

    assert form.fields["next"] == "/basket/"


def test_no_password_and_no_name_is_in_the_page_where_it_is_no_demo(settings: Any) -> None:
    settings.DEMO_SIGN_IN = False

    page = through(Client()).open("/sign-in/")

    assert settings.PUBLIC_PASSWORD not in page.text
    assert "carol" not in page.text
    assert {form.fields.get("password", "") for form in page.forms} == {""}


@pytest.mark.usefixtures("with_password")
@pytest.mark.parametrize(
    "goal",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "http:///evil.example",
        "javascript:alert(1)",
        "\x08//evil.example",
        "https:evil.example",
    ],
)
def test_signing_in_leads_nowhere_else(goal: str) -> None:
    response = try_to_sign_in("right-password", goal=goal)

    assert (response.status_code, response["Location"]) == (302, "/")


@pytest.mark.parametrize("goal", ["//evil.example", "https://evil.example/"])
def test_changing_the_language_leads_nowhere_else(goal: str) -> None:
    response = Client().post("/language/", {"language": "zh-hans", "next": goal})

    assert response["Location"] == "/"


# --- What every page is


@pytest.fixture
def every_page(shop: Visitor, order: Order, product: Product) -> list[Page]:
    """Return every page of the shop, in each of its states."""
    home = shop.open("/")
    basket = shop.send(home.form("/basket/").filled(quantity__TEA=2))
    checkout = shop.open(f"/orders/{order.pk}/checkout/")
    unpaid = shop.open(f"/orders/{order.pk}/")
    paid = shop.send(checkout.form("/pay/"))
    stranger = through(Client())
    return [
        home,
        basket,
        checkout,
        unpaid,
        paid,
        shop.open(f"/orders/{order.pk}/now/"),
        shop.open("/orders/"),
        shop.open(f"/orders/{uuid4()}/"),  # nobody's
        shop.open("/nowhere/"),
        stranger.open("/"),
        stranger.open("/sign-in/"),
        through(Client(enforce_csrf_checks=True)).send(Form("/basket/")),
    ]


def test_pages_have_no_inline_script_or_style_and_ask_nobody_else(every_page: list[Page]) -> None:
    for page in every_page:
        assert not re.search(r"<script(?![^>]*\ssrc=)", page.text), page.path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page.text), page.path
        assert not re.search(r'(?:src|href|action)="(?:[a-z]+:)?//', page.text), page.path


def test_every_page_carries_the_policy_that_forbids_the_rest(every_page: list[Page]) -> None:
    for page in every_page:
        policy = page.headers["Content-Security-Policy"]
        for part in ("default-src", "frame-ancestors", "base-uri"):
            assert f"{part} 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy


def test_pages_of_a_customer_are_stored_by_no_shared_cache(every_page: list[Page]) -> None:
    for page in every_page[:8]:
        assert "private" in page.headers["Cache-Control"], page.path


def test_pages_are_in_the_readers_language(
    alice: User, order: Order, alice_account: Account, visit: Callable[[User], Visitor]
) -> None:
    client = Client(headers={"Accept-Language": "zh-hans"})
    client.force_login(alice)

    text = through(client).open(f"/orders/{order.pk}/checkout/").text

    assert 'lang="zh-hans"' in text
