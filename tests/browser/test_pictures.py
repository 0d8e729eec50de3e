"""The pictures in the README, from a real run: `make screenshots`. Otherwise they go to build/."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from idempotency.journal.models import JournaledRequest
from orders.models import PaymentRequest
from orders.services import pay_order
from simulator.chaos import ChaosProxy
from tests.browser.conftest import PICTURES, Till, Visit
from tests.browser.test_lab import watch
from tests.browser.test_pages import account_of, placed_by_hand
from tests.browser.test_shop import ends_paid, order_of, pay

FOLDER = Path(os.environ.get("SCREENSHOTS", PICTURES)).absolute()
MOST_BYTES = 250_000
SIZE = {"width": 880, "height": 660}


@pytest.fixture(autouse=True)
def _folder() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)


def picture(page: Page, name: str) -> None:
    """Take a picture of what a visitor sees first."""
    page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
    assert (FOLDER / f"{name}.png").stat().st_size < MOST_BYTES


def test_picture_of_the_checkout_and_of_an_order_after_ten_clicks(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    page = placed_by_hand(visit(viewport=SIZE).signed_in())
    picture(page, "checkout")
    proxy.delay_ms, proxy.chance = 300, {"delay": 1.0}

    pay(page).click(click_count=10, no_wait_after=True)
    ends_paid(page)
    proxy.calm()
    expect(page.locator(".headline")).to_contain_text("10 clicks")
    picture(page, "order")

    till.of_one_order(amount=500)


def test_picture_of_the_lab(visit: Visit) -> None:
    page = watch(visit(viewport=SIZE), "naive", "request_id")
    page.evaluate("document.querySelector('#naive').scrollIntoView()")

    picture(page, "lab")


def test_picture_of_the_dashboard(visit: Visit, till: Till, settings: Any) -> None:
    settings.PAYMENTS_URL = "http://payments.example"  # so that a payment is requested, in vain
    for name in ("alice", "bob", "carol"):
        customer = User.objects.get(username=name)
        pay_order(customer=customer, order_id=order_of(name), account_id=account_of(name))
    refused = PaymentRequest.objects.filter(order__customer__username="bob")
    refused.update(dead_lettered=True, attempts=1, last_error="404: There is no such object.")
    facts = {"scope": "", "milliseconds": 1, "waited_milliseconds": 0, "steps": []}
    for hours, (replays, conflicts) in enumerate([(9, 2), (14, 0), (3, 1), (22, 5), (7, 0)]):
        at = timezone.now() - timedelta(hours=hours)
        JournaledRequest.objects.bulk_create(
            JournaledRequest(received_at=at, outcome=outcome, **facts)
            for outcome in ["replayed"] * replays + ["in-use"] * conflicts
        )
    visitor = visit(viewport={"width": 1100, "height": 1240}).signed_in("admin")
    page = visitor.tab()
    page.goto(f"{visitor.url}/admin/dashboard/")
    page.locator("#toggle-nav-sidebar").click()

    picture(page, "dashboard")

    assert till.taken == 0
