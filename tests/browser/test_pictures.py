"""The pictures in the README, from a real run: `make screenshots`. Otherwise they go to build/."""

import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from PIL import Image
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


def frame(page: Page) -> Image.Image:
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    return shot.convert("RGB").resize((640, 480)).quantize(64)


def animated(frames: list[Image.Image], name: str, *, seconds: list[float]) -> None:
    """Make a picture that plays some frames, again and again."""
    first, *others = frames
    file = FOLDER / f"{name}.gif"
    times = [int(1000 * each) for each in seconds]
    first.save(file, save_all=True, append_images=others, duration=times, loop=0)
    assert file.stat().st_size < MOST_BYTES


def test_pictures_of_ten_clicks_and_of_their_order(
    visit: Visit, proxy: ChaosProxy, till: Till
) -> None:
    page = placed_by_hand(visit(viewport=SIZE).signed_in())
    frames = [frame(page)]
    proxy.delay_ms, proxy.chance = 2_000, {"delay": 1.0}

    for clicks in range(1, 11):
        pay(page).click(no_wait_after=True)
        expect(page.locator("form [role=status]")).to_contain_text(
            "Sent" if clicks == 1 else f"{clicks} clicks"
        )
        frames.append(frame(page))
    ends_paid(page)
    proxy.calm()
    expect(page.locator(".headline")).to_contain_text("10 clicks → 1 charge")
    frames.append(frame(page))
    picture(page, "order")
    page.get_by_role("button", name="And without this?").click()
    expect(page.locator(".headline.lost")).to_contain_text("10 charges", timeout=30_000)
    page.locator(".headline.lost").scroll_into_view_if_needed()
    frames.append(frame(page))
    animated(frames, "ten-clicks", seconds=[1.2, *[0.35] * 10, 3.5, 3.5])

    till.of_one_order(amount=500)


def test_picture_of_the_lab(visit: Visit) -> None:
    page = watch(visit(viewport=SIZE, reduced_motion="reduce"), "naive", "request_id")
    page.evaluate("document.querySelector('#lanes').scrollIntoView()")

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
    page.evaluate("window.scrollTo(0, 0)")

    picture(page, "dashboard")

    assert till.taken == 0
