"""The pages as people meet them: two languages, with and without script, by keyboard and phone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from demo import seed as demo
from idempotency.models import Token
from orders.models import Order
from orders.services import pay_order
from payments.models import Account
from shop.models import Basket
from simulator.chaos import ChaosProxy
from tests.browser.conftest import (
    MOST_BYTES,
    PICTURES,
    Till,
    Visit,
    Visitor,
    arrives,
    bytes_loaded,
    is_narrow,
    violations,
)
from tests.browser.test_shop import CHECKOUT, ORDER, PAYS, at_checkout, ends_paid, order_of, pay
from tests.support.languages import untranslated
from tests.support.live import LiveServer, until
from tests.support.network import Network
from web import api_tokens

PRODUCTS = [name for _sku, name, *_price in demo.PRODUCTS]
NAMES = [*PRODUCTS, "seed_demo"]  # what the demo calls its API tokens
BASKET = re.compile(r"/basket/$")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def account_of(name: str) -> int:
    return Account.objects.get(owner__username=name, currency="EUR").pk


def orders_of_each_kind(name: str) -> dict[str, str]:
    """Return the addresses of an order that is not paid, one that is paid, and one that failed."""
    customer = User.objects.get(username=name)
    submitted, paid, failed = order_of(name), order_of(name), order_of(name, teas=1000)
    for order_id in (paid, failed):
        pay_order(customer=customer, order_id=order_id, account_id=account_of(name))
    kinds = {"submitted": submitted, "paid": paid, "failed": failed}
    return {kind: f"/orders/{order_id}/" for kind, order_id in kinds.items()}


def placed_by_hand(visitor: Visitor) -> Page:
    """Fill the basket with two teas and place the order; return the page at its checkout."""
    page = visitor.tab()
    page.goto(f"{visitor.url}/")
    page.get_by_label("Green tea").fill("2")
    page.get_by_role("button", name="Put into the basket").click()
    arrives(page, BASKET)
    page.get_by_role("button", name="Place the order").click()
    expect(page).to_have_url(CHECKOUT)
    return page


def all_pages(visitor: Visitor) -> Iterator[tuple[str, Page]]:
    """Go through every page of the shop as dave, whose money is enough for one tea."""
    page = visitor.tab()
    for name, path in (("catalogue-anonymous", "/"), ("sign-in", "/sign-in/")):
        page.goto(visitor.url + path)
        yield name, page
    visitor.signed_in("dave")
    addresses = {"catalogue": "/", "basket-empty": "/basket/", "orders-none": "/orders/"}
    for name, path in addresses.items():
        page.goto(visitor.url + path)
        yield name, page
    dave = User.objects.get(username="dave")
    Basket.objects.update_or_create(customer=dave, order=None, defaults={"lines": {"CUP": 2}})
    made = orders_of_each_kind("dave")
    addresses = {"basket": "/basket/", "checkout": f"{made['submitted']}checkout/", **made}
    api_tokens.add(dave, "a token of dave's, whom this test signs in", name="dave")
    addresses |= {"orders": "/orders/", "account": "/account/", "password": "/account/password/"}
    for name, path in addresses.items():
        page.goto(visitor.url + path)
        yield name, page


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_page_of_the_shop_is_there_in_both_languages_and_asks_nobody_else(
    javascript: bool, language: str, visit: Visit
) -> None:
    visitor = visit(javascript=javascript, locale=language)
    seen = set()

    for name, page in all_pages(visitor):
        seen.add(name)
        assert page.locator("h1").count() == 1, name
        if language == "en":
            shown = page.locator("main").inner_text()
            assert not CHINESE.search(shown), name
        else:
            assert untranslated(page.content(), names=NAMES) == [], name

    assert len(seen) == 13


def test_the_language_is_switched_by_a_button_and_stays(visit: Visit) -> None:
    visitor = visit()
    page = visitor.tab()
    page.goto(f"{visitor.url}/")

    page.get_by_role("button", name="简体中文").click()
    page.get_by_role("link", name="登录", exact=True).click()

    expect(page.locator("html")).to_have_attribute("lang", "zh-hans")
    assert untranslated(page.content()) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_shop_has_a_serious_accessibility_violation(
    scheme: str, visit: Visit
) -> None:
    for name, page in all_pages(visit(color_scheme=scheme)):
        assert violations(page) == [], name


def test_axe_would_find_a_violation(visit: Visit) -> None:
    page = visit().tab()
    page.set_content("<html><body><input><img src='data:,'></body></html>")

    assert {"label", "image-alt"} <= set(violations(page))


def test_no_page_of_the_shop_is_wider_than_a_phone(visit: Visit) -> None:
    for name, page in all_pages(visit(viewport={"width": 360, "height": 700})):
        assert is_narrow(page), name


def test_a_page_of_the_shop_is_less_than_sixty_kilobytes_with_all_that_it_loads(
    visit: Visit,
) -> None:
    for name, page in all_pages(visit()):
        assert bytes_loaded(page) < MOST_BYTES, name


def test_from_the_first_page_to_paid_by_keyboard_alone(visit: Visit, till: Till) -> None:
    visitor = visit()
    page = visitor.tab()
    page.goto(f"{visitor.url}/")

    def tab_to(role: Any, name: str) -> None:
        target = page.get_by_role(role, name=name)
        for _ in range(40):
            page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"{name} is not reached with the Tab key")

    tab_to("link", "Sign in to order")
    page.keyboard.press("Enter")
    arrives(page, re.compile(r"/sign-in/$"))
    tab_to("button", "alice")
    page.keyboard.press("Enter")
    arrives(page, f"{visitor.url}/")
    tab_to("spinbutton", "Green tea")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    arrives(page, BASKET)
    tab_to("button", "Place the order")
    page.keyboard.press("Enter")
    arrives(page, CHECKOUT)
    tab_to("button", "Pay €5.00")
    page.keyboard.press("Enter")

    ends_paid(page)
    till.of_one_order(amount=500)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_a_click_revokes_an_api_token_and_a_second_one_does_no_harm(
    javascript: bool, visit: Visit
) -> None:
    for name in ("phone", "laptop"):
        api_tokens.add(User.objects.get(username="alice"), name, name=name)
    visitor = visit(javascript=javascript).signed_in()
    page = visitor.tab()
    page.goto(f"{visitor.url}/")

    page.get_by_role("link", name="alice").click()
    page.get_by_role("button", name="Revoke phone").dblclick(no_wait_after=True)

    arrives(page, re.compile(r"/account/\?note=revoked$"))
    expect(page.get_by_role("status")).to_contain_text("revoked")
    assert api_tokens.authenticate("phone") is None
    assert api_tokens.authenticate("laptop") is not None


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_a_basket_in_two_tabs_becomes_one_order(javascript: bool, visit: Visit, till: Till) -> None:
    visitor = visit(javascript=javascript).signed_in()
    first = visitor.tab()
    first.goto(f"{visitor.url}/")
    first.get_by_label("Green tea").fill("2")
    first.get_by_role("button", name="Put into the basket").click()
    arrives(first, BASKET)
    second = visitor.tab()
    second.goto(first.url)

    for page in (first, second):
        page.get_by_role("button", name="Place the order").dblclick(no_wait_after=True)
    for page in (first, second):
        expect(page).to_have_url(CHECKOUT)

    assert first.url == second.url
    assert Order.objects.filter(customer__username="alice").count() == 1
    assert till.taken == 0


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_an_orders_page_shows_its_result_by_itself(
    javascript: bool, visit: Visit, server: LiveServer, till: Till
) -> None:
    order_id = order_of()
    visitor = visit(javascript=javascript).signed_in()
    paying, watching = at_checkout(visitor, order_id), visitor.tab()
    server.arm("order-claimed", "hold")

    pay(paying).click(no_wait_after=True)
    until(lambda: server.hits("order-claimed"), what="the first click is held")
    watching.goto(f"{visitor.url}/orders/{order_id}/")
    expect(watching.get_by_role("status").first).to_contain_text("payment pending")
    server.release("order-claimed")

    ends_paid(watching)
    till.of_one_order(amount=500)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_as_two_systems_the_page_follows_the_payment_systems_response(
    javascript: bool, chromium: Any, network: Network, till_of_two: Till
) -> None:
    order_id = order_of()
    context = chromium.new_context(java_script_enabled=javascript)
    page = at_checkout(Visitor(context, network.server.url).signed_in(), order_id)
    page.get_by_label("Pay from").fill(str(account_of("alice")))
    pay(page).click()
    arrives(page, ORDER)
    expect(page.get_by_role("status").first).to_contain_text("payment pending")

    network.relay()

    ends_paid(page)
    context.close()
    till_of_two.of_one_order(amount=500)


def test_a_killed_process_costs_the_customer_a_second_and_nothing_else(
    visit: Visit, server: LiveServer, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    server.arm("payment-decided", "kill")

    pay(page).dblclick(no_wait_after=True)

    ends_paid(page)
    assert server.hits("payment-decided") == 1
    till.of_one_order(amount=500)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_a_failed_order_says_so_and_can_be_ordered_again(javascript: bool, visit: Visit) -> None:
    order_id = order_of("dave", teas=4)
    page = at_checkout(visit(javascript=javascript).signed_in("dave"), order_id)

    pay(page).dblclick(no_wait_after=True)

    arrives(page, ORDER)
    expect(page.get_by_role("status").first).to_contain_text("Nothing was charged")
    page.get_by_role("button", name="Order again").dblclick(no_wait_after=True)
    arrives(page, BASKET)
    expect(page.get_by_label("Green tea")).to_have_value("4")
    assert Till("dave").taken == 0
    assert Order.objects.get().status == Order.Status.FAILED


def test_a_page_that_was_open_for_too_long_is_renewed_and_says_so(visit: Visit, till: Till) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    Token.objects.all().delete()

    pay(page).click()
    arrives(page, re.compile(r"/checkout/\?note=renewed$"))
    expect(page.get_by_role("status").first).to_contain_text("open for too long")
    pay(page).click()

    ends_paid(page)
    till.of_one_order(amount=500)


def headline(page: Page) -> dict[str, int]:
    """Return the numbers of an order's headline."""
    named = ("sent", "executed", "waited", "replayed", "refused")
    shown = page.locator(".headline")
    return {name: int(shown.get_attribute(f"data-{name}") or "") for name in named}


def test_the_page_follows_the_clicks_and_tells_each_of_them(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    proxy.arm("cut-response", PAYS)
    pay(page).click()
    ends_paid(page)

    expect(page.locator(".headline")).to_have_text("2 clicks → 1 charge of €5.00")

    assert headline(page) == {"sent": 2, "executed": 1, "waited": 0, "replayed": 1, "refused": 0}
    expect(page.locator(".outcomes")).to_have_text("1 executed1 got the same response again")
    page.get_by_text("Timeline").click()
    timeline = page.locator("#timeline")
    tags = timeline.locator("li > p:has(strong:text('Request to pay')) .tag").all_inner_texts()
    assert tags == ["executed", "got the same response again"]
    timeline.get_by_text("SQL").first.click()
    expect(timeline).to_contain_text("UPDATE account SET balance = balance - n WHERE balance >= n")
    page.screenshot(path=PICTURES / "the-timeline.png", full_page=True)
    till.of_one_order(amount=500)


def test_ten_clicks_are_one_charge_and_without_the_mechanism_ten(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    proxy.delay_ms, proxy.chance = 300, {"delay": 1.0}  # so that all ten are there together
    pay(page).click(click_count=10, no_wait_after=True)
    expect(page.locator("form [role=status]")).to_have_text("10 clicks, 10 requests on their way")
    ends_paid(page)
    proxy.calm()

    expect(page.locator(".headline")).to_have_text("10 clicks → 1 charge of €5.00")
    shown = headline(page)
    assert shown["sent"] == sum(shown.values()) - shown["sent"] == 10
    assert shown["executed"] == 1
    page.get_by_role("button", name="And without this?").click()
    lost = page.locator(".headline.lost")
    expect(lost).to_have_text("10 clicks → 10 charges, €45.00 too much", timeout=30_000)
    axes = page.locator(".bars, #contrast .timeline").evaluate_all(
        "drawings => drawings.map(each => each.querySelectorAll('.grid').length)"
    )
    assert axes[0] == axes[1], "both have the same axis"
    page.screenshot(path=PICTURES / "ten-clicks.png", full_page=True)
    till.of_one_order(amount=500)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
def test_a_click_on_the_landing_page_opens_the_checkout_of_one_order(
    javascript: bool, visit: Visit, till: Till
) -> None:
    visitor = visit(javascript=javascript)
    page = visitor.tab()
    page.goto(f"{visitor.url}/")

    page.get_by_role("button", name="Try it").dblclick(no_wait_after=True)

    arrives(page, CHECKOUT)
    expect(page.locator("main")).to_contain_text("Green tea")
    assert Order.objects.count() == 1
    pay(page).click()
    ends_paid(page)
    till.of_one_order(amount=250)


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_admin_asks_nobody_else_and_breaks_no_rule_of_the_pages(
    javascript: bool, language: str, visit: Visit, till: Till
) -> None:
    visitor = visit(javascript=javascript, locale=language)
    page = visitor.tab()
    page.goto(f"{visitor.url}/admin/login/")
    alice, order_id = User.objects.get(username="alice"), order_of()
    pay_order(customer=alice, order_id=order_id, account_id=account_of("alice"))
    visitor.signed_in("admin")

    order_page = f"orders/order/{order_id}/change/"
    for path in ("", "dashboard/", "orders/order/", order_page, f"timeline/{order_id}/"):
        page.goto(f"{visitor.url}/admin/{path}")
        assert page.locator("h1").count() == 1, path

    expect(page.locator("#timeline")).to_contain_text("→")
    assert till.taken == 500


def test_the_apis_documentation_can_be_tried_in_the_browser(visit: Visit) -> None:
    visitor = visit().signed_in()
    page = visitor.tab()
    page.goto(f"{visitor.url}/api/docs/")

    page.get_by_role("button", name="GET /api/v1/products/ List the products").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


def test_the_four_steps_of_the_apis_page_lead_to_a_replay(visit: Visit, till: Till) -> None:
    visitor = visit()
    page = visitor.tab()
    page.goto(f"{visitor.url}/api/docs/")
    page.get_by_role("button", name="as alice").click()
    expect(page.locator("#signed-in")).to_contain_text("your accounts: ")

    def execute(operation: str, status: str) -> Locator:
        block = page.locator(f"#operations-orders-{operation}")
        if block.get_by_role("button", name="Execute").count() == 0:
            block.get_by_role("button").first.click()
            block.get_by_role("button", name="Try it out").click()
        return block

    place = execute("place_order", "201")
    place.get_by_role("button", name="Execute").click()
    response = place.locator(".live-responses-table .response-col_status").last
    expect(response).to_contain_text("201")
    pay = execute("pay_order", "200")
    pay.locator('[data-param-name="order_id"] input').fill(str(Order.objects.get().pk))
    pay.locator("textarea").fill(f'{{"account": {account_of("alice")}}}')
    key = pay.locator('[data-param-name="Idempotency-Key"] input')
    before = key.input_value()
    page.get_by_role("button", name="New key").click()
    assert key.input_value() != before
    for _ in range(2):
        pay.get_by_role("button", name="Execute").click()
        response = pay.locator(".live-responses-table .response-col_status").last
        expect(response).to_contain_text("200")
    expect(pay.locator(".live-responses-table")).to_contain_text("idempotent-replayed: true")
    till.of_one_order(amount=500)
