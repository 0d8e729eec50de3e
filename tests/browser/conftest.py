"""A real browser, Debian's Chromium, on a real server with a network that can be broken between."""

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from demo.seed import seed
from lab.page import runs
from operations.audit import check_invariants as audit
from orders.models import Order
from payments.models import Account, Payment
from simulator.chaos import ChaosProxy
from tests.support.live import ROOT, LiveServer
from tests.support.network import Network

# Playwright's synchronous interface runs a loop in this thread, and Django takes it for async code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# As root there is no sandbox; and nothing is loaded that no page requests.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PICTURES = ROOT / "build" / "screenshots"
FAILED = pytest.StashKey[bool]()
LOST = re.compile(
    r"net::ERR_((EMPTY|INVALID_HTTP)_RESPONSE|CONNECTION_(RESET|CLOSED|REFUSED)|ABORTED)"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note that a test failed, so that its pages are pictured before they are closed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("BROWSER") == "required":
            pytest.fail("there is no Chromium, and BROWSER=required")
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


MOST_BYTES = 60_000
TIMEOUT_MS = 20_000
QUIET_MS, QUIET_POLLS = 20, 5  # so long nothing more is asked for, when a page is there
expect.set_options(timeout=TIMEOUT_MS)  # 5 s are short for a busy machine


def violations(page: Page) -> list[str]:
    """Return what is seriously wrong with a page for people who can't see or point."""
    result = Axe().run(page).response["violations"]
    return [each["id"] for each in result if each["impact"] in {"serious", "critical"}]


def arrives(page: Page, address: str | re.Pattern[str]) -> None:
    """Wait until a page is at an address, and there.

    Not `page.wait_for_url`, which fails with the first navigation that another one overtakes,
    as the second click of a double click does without script.
    """
    expect(page).to_have_url(address)
    page.wait_for_load_state()


def is_narrow(page: Page) -> bool:
    """Return True if a page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def bytes_loaded(page: Page) -> float:
    """Reload a page without any cache; return the bytes that came over the network for it."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    started: list[str] = []
    loaded: list[float] = []
    network.on("Network.requestWillBeSent", lambda event: started.append(event["requestId"]))
    network.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.reload(wait_until="load")
    for _ in range(QUIET_POLLS):
        page.wait_for_timeout(QUIET_MS)
        while len(loaded) < len(set(started)):
            page.wait_for_timeout(QUIET_MS)
    network.detach()
    assert len(loaded) >= 2, "the page, and at least its style sheet"
    return sum(loaded)


@dataclass
class Visitor:
    """Somebody at a browser: every console error and every request to elsewhere is noted."""

    context: BrowserContext
    url: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def tab(self) -> Page:
        page = self.context.new_page()
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._note_request(request.url))
        return page

    def signed_in(self, name: str = "alice") -> Self:
        """Be somebody whom the server knows already."""
        client = Client()
        client.force_login(User.objects.get(username=name))
        cookie = client.cookies["sessionid"].value
        self.context.add_cookies([{"name": "sessionid", "value": cookie, "url": self.url}])
        return self

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not LOST.search(message.text):
            self.errors.append(message.text)

    def _note_request(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "data:", "about:")):
            self.elsewhere.append(url)


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(chromium: Browser, proxy: ChaosProxy, request: Any) -> Iterator[Visit]:
    """Return what opens a browser of a person's own; at the end nothing must have gone wrong."""
    visitors: list[Visitor] = []

    def visit(*, javascript: bool = True, **options: Any) -> Visitor:
        options = {"viewport": {"width": 1000, "height": 760}, "locale": "en-GB"} | options
        context = chromium.new_context(java_script_enabled=javascript, **options)
        context.set_default_timeout(TIMEOUT_MS)
        visitors.append(Visitor(context, proxy.url))
        return visitors[-1]

    yield visit
    name = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")[:120]
    for number, visitor in enumerate(visitors):
        if request.node.stash.get(FAILED, False):
            PICTURES.mkdir(parents=True, exist_ok=True)
            for page in visitor.context.pages[-1:]:
                page.screenshot(path=PICTURES / f"{name}-{number}.png")
        visitor.context.close()
    assert [error for visitor in visitors for error in visitor.errors] == []
    assert [url for visitor in visitors for url in visitor.elsewhere] == []


@pytest.fixture(autouse=True)
def _runs_of_the_lab(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the lab's runs where the server keeps them."""
    monkeypatch.setattr(runs, "FOLDER", server.folder / "lab")


@pytest.fixture
def proxy(server: LiveServer) -> Iterator[ChaosProxy]:
    """The network between browser and server, calm until a test breaks it; the demo's people."""
    seed()
    with ChaosProxy(("127.0.0.1", server.port)) as proxy:
        yield proxy
    assert [finding for finding in audit() if finding.breaches] == []


@dataclass(frozen=True)
class Till:
    """What really happened to a customer's money, whatever the page says."""

    owner: str = "alice"

    @property
    def account(self) -> Account:
        return Account.objects.get(owner__username=self.owner, currency="EUR")

    @property
    def taken(self) -> int:
        account = self.account
        assert account.opening_balance is not None
        assert account.balance is not None
        return account.opening_balance - account.balance

    def of_one_order(self, *, amount: int) -> None:
        """Check that there is one order, paid by one payment, and the money gone once."""
        (order,) = Order.objects.filter(customer__username=self.owner)
        assert order.status == Order.Status.PAID
        assert Payment.objects.filter(order_id=order.pk).count() == 1
        assert order.amount == amount
        assert self.taken == amount


@pytest.fixture
def till(proxy: ChaosProxy) -> Till:
    assert User.objects.filter(username="alice").exists()
    return Till()


@pytest.fixture
def till_of_two(network: Network) -> Till:
    """The demo's people, where the payment system is behind a network."""
    seed()
    return Till()
