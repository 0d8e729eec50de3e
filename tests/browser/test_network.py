"""The demo's network switch in a real browser: the accident that a visitor chose, and its end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from simulator.chaos import ChaosProxy
from tests.browser.conftest import (
    MOST_BYTES,
    PICTURES,
    Till,
    Visit,
    Visitor,
    bytes_loaded,
    is_narrow,
    violations,
)
from tests.browser.test_pages import headline
from tests.browser.test_shop import at_checkout, ends_paid, order_of, pay
from tests.support.live import LiveServer, descendants, is_running, until

LOSSES = {"loses": "loses responses", "kills": "kills the server after the commit"}
losses = pytest.mark.parametrize("name", LOSSES)

Directly = Callable[..., Visitor]


@pytest.fixture
def directly(visit: Visit, server: LiveServer) -> Directly:
    """Return what opens a browser with nothing between it and the server."""

    def directly(**options: Any) -> Visitor:
        visitor = visit(**options)
        visitor.url = server.url
        return visitor.signed_in()

    return directly


@pytest.fixture
def kills(server: LiveServer) -> Callable[[], int]:
    """Return what counts the processes of the server that have been killed since."""
    workers = set(descendants(server.process.pid))
    return lambda: sum(not is_running(pid) for pid in workers)


def choose(page: Page, name: str) -> None:
    page.get_by_role("button", name=LOSSES[name]).click()
    chosen = page.locator("main button[aria-current=true]")
    expect(chosen).to_have_text(LOSSES[name])


@losses
def test_with_script_the_page_retries_what_was_lost_and_shows_one_charge_of_two_clicks(
    name: str, directly: Directly, kills: Callable[[], int], till: Till
) -> None:
    page = at_checkout(directly(), order_of())
    choose(page, name)
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))

    pay(page).click()

    ends_paid(page)
    assert [url for url in failed if url.endswith("/pay/")], "the browser got no response"
    expect(page.locator(".headline")).to_have_text("2 clicks → 1 charge of €5.00")
    assert headline(page) == {"sent": 2, "executed": 1, "waited": 0, "replayed": 1, "refused": 0}
    assert kills() == (name == "kills")
    till.of_one_order(amount=500)


@losses
def test_without_script_the_browser_shows_its_own_error_and_a_reload_the_charge(
    name: str, directly: Directly, kills: Callable[[], int], till: Till
) -> None:
    page = at_checkout(directly(javascript=False), order_of())
    choose(page, name)

    pay(page).click(no_wait_after=True)
    expect(page).to_have_url("chrome-error://chromewebdata/")
    assert till.taken == 500
    if name == "kills":
        until(kills, what="a process is killed")
    page.reload()

    ends_paid(page)
    page.reload()  # the journal is a second behind
    expect(page.locator(".headline")).to_have_text("2 clicks → 1 charge of €5.00")
    till.of_one_order(amount=500)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_switch_is_usable_on_a_phone_in_both_languages(
    scheme: Any, language: str, directly: Directly
) -> None:
    visitor = directly(color_scheme=scheme, locale=language, viewport={"width": 360, "height": 700})
    page = at_checkout(visitor, order_of())
    page.locator("button[name=network][value=kills]").click()
    expect(page.locator("main button[aria-current=true]")).to_have_attribute("value", "kills")

    page.screenshot(path=PICTURES / f"network-{scheme}-{language}.png", full_page=True)
    assert is_narrow(page)
    assert violations(page) == []


@pytest.fixture
def order_service(proxy: ChaosProxy, tmp_path: Path) -> Iterator[LiveServer]:
    """A server whose pages turn the network: the proxy's, which nobody sends anything through."""
    params = connection.get_connection_params()
    with LiveServer(
        database=params, folder=tmp_path, workers=1, DEMO_NETWORK_URL=proxy.url
    ) as server:
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_network_of_two_services_is_turned_on_any_page_and_by_any_visitor(
    scheme: Any, visit: Visit, order_service: LiveServer, proxy: ChaosProxy
) -> None:
    visitor = visit(color_scheme=scheme, viewport={"width": 360, "height": 700})
    visitor.url = order_service.url
    page = visitor.tab()
    page.goto(f"{visitor.url}/")
    expect(page.locator("main")).to_contain_text("loses 60 % of its responses")
    page.screenshot(path=PICTURES / f"network-between-{scheme}.png", full_page=True)
    assert is_narrow(page)
    assert violations(page) == []
    assert bytes_loaded(page) < MOST_BYTES

    page.get_by_role("button", name="calm", exact=True).click()

    expect(page.locator("main")).to_contain_text("loses nothing")
    assert proxy.is_calm
    assert violations(page) == []
