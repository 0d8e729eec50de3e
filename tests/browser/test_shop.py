"""Every gesture of an impatient customer, in a real browser: one order, one charge, one result."""

import contextlib
import re
from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Locator, Page, expect

from orders.models import Order
from orders.requests import RequestsOf
from orders.services import Line, place_order
from simulator.chaos import ChaosProxy
from tests.browser.conftest import Till, Visit, Visitor
from tests.support.live import until

TEAS = 500  # what two cost
ORDER = re.compile(r"/orders/[0-9a-f-]+/$")
CHECKOUT = re.compile(r"/orders/[0-9a-f-]+/checkout/$")
PAYS = b"/pay/ HTTP"

Gesture = Callable[[Page], Page]


def order_of(name: str = "alice", *, teas: int = 2) -> UUID:
    customer = User.objects.get(username=name)
    return place_order(customer=customer, lines=[Line("TEA", teas)]).pk


def at_checkout(visitor: Visitor, order_id: UUID) -> Page:
    page = visitor.tab()
    page.goto(f"{visitor.url}/orders/{order_id}/checkout/")
    return page


def pay(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^Pay "))


def ends_paid(page: Page) -> None:
    """Wait until the page is the order's, and says that it is paid."""
    expect(page).to_have_url(ORDER)
    expect(page.get_by_role("status").first).to_contain_text("was charged once")


def outcomes_of_clicks(order_id: UUID) -> list[str]:
    """Return the outcome of each click that reached the server, once none is in flight."""
    clicks = RequestsOf(Order.objects.get(pk=order_id)).to_pay
    return [click.outcome for click in clicks.shown]


def double_click(page: Page) -> Page:
    pay(page).dblclick(no_wait_after=True)
    return page


def triple_click(page: Page) -> Page:
    pay(page).click(click_count=3, no_wait_after=True)
    return page


def ten_rapid_clicks(page: Page) -> Page:
    pay(page).click(click_count=10, no_wait_after=True)
    return page


def enter_twice(page: Page) -> Page:
    pay(page).focus()
    for _ in range(2):
        page.keyboard.press("Enter")
    return page


def back_and_resubmit(page: Page) -> Page:
    pay(page).click()
    ends_paid(page)
    page.go_back()
    if CHECKOUT.search(page.url):
        pay(page).click()
    return page


def reload_the_result(page: Page) -> Page:
    pay(page).click()
    ends_paid(page)
    page.reload()
    return page


def second_tab(page: Page) -> Page:
    other = page.context.new_page()
    other.goto(page.url)
    pay(page).click(no_wait_after=True)
    pay(other).click(no_wait_after=True)
    ends_paid(page)
    return other


def close_and_reopen(page: Page) -> Page:
    address = page.url
    pay(page).click(no_wait_after=True)
    reopened = page.context.new_page()
    with contextlib.suppress(PlaywrightError):  # the response may arrive just now
        page.goto("about:blank")  # a page that is closed on its way somewhere may never be gone
    page.close()
    reopened.goto(address)
    if CHECKOUT.search(reopened.url):
        pay(reopened).click()
    return reopened


GESTURES: list[Gesture] = [
    double_click,
    triple_click,
    ten_rapid_clicks,
    enter_twice,
    back_and_resubmit,
    reload_the_result,
    second_tab,
    close_and_reopen,
]
gestures = pytest.mark.parametrize("gesture", GESTURES, ids=lambda gesture: gesture.__name__)
scripted = pytest.mark.parametrize("javascript", [True, False], ids=["script", "no_script"])


@gestures
@scripted
@pytest.mark.parametrize("delay_ms", [0, 250], ids=["fast", "slow"])
def test_whatever_a_customer_does_with_the_page_it_ends_paid_once(
    gesture: Gesture,
    javascript: bool,
    delay_ms: int,
    visit: Visit,
    proxy: ChaosProxy,
    till: Till,
) -> None:
    order_id = order_of()
    page = at_checkout(visit(javascript=javascript).signed_in(), order_id)
    proxy.delay_ms, proxy.chance = delay_ms, {"delay": float(delay_ms > 0)}

    result = gesture(page)

    ends_paid(result)
    assert bool(proxy.happened["delay"]) is bool(delay_ms)
    assert outcomes_of_clicks(order_id).count("executed") == 1
    till.of_one_order(amount=TEAS)


@gestures
def test_with_the_first_response_cut_the_page_retries_and_ends_paid_once(
    gesture: Gesture, visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    proxy.arm("cut-response", PAYS)

    result = gesture(page)

    ends_paid(result)
    until(lambda: proxy.happened["cut-response"] == 1, what="the response is cut")
    assert outcomes_of_clicks(order_id).count("executed") == 1
    till.of_one_order(amount=TEAS)


def test_ten_rapid_clicks_on_pay_with_the_first_response_cut_are_one_charge(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit().signed_in(), order_id)
    proxy.delay_ms, proxy.chance = 300, {"delay": 1.0}  # so that all ten are there together
    proxy.arm("cut-response", PAYS)

    ten_rapid_clicks(page)

    ends_paid(page)
    assert proxy.happened["cut-response"] == 1
    # More than one click and its retry; the journal is a second behind.
    until(lambda: len(outcomes_of_clicks(order_id)) > 2, what="the clicks are journaled")
    outcomes = outcomes_of_clicks(order_id)
    assert outcomes.count("executed") == 1
    till.of_one_order(amount=TEAS)


def test_without_script_a_lost_response_is_retried_by_the_customer(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    order_id = order_of()
    page = at_checkout(visit(javascript=False).signed_in(), order_id)
    address = page.url
    proxy.arm("cut-response", PAYS, times=4)  # the browser itself may retry a request that was cut

    pay(page).click(no_wait_after=True)
    expect(page).to_have_url("chrome-error://chromewebdata/")
    assert proxy.happened["cut-response"]
    proxy.calm()
    page.goto(address)

    ends_paid(page)
    till.of_one_order(amount=TEAS)
