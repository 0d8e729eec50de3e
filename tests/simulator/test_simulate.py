"""The simulator against a live server, and against imitations of the API that break a promise."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from demo.seed import seed
from simulator import http_client
from tests.support.live import LiveServer, free_port

PRICE = 250
REPLAYED = {"Idempotent-Replayed": "true"}
AT_ONCE = {"Retry-After": "0"}
SMALL = ("--orders", "2", "--clicks", "3", "--no-audit")

Reply = tuple[int, dict[str, Any], dict[str, str]] | None  # None hangs up
Simulate = Callable[..., tuple[int, dict[str, Any]]]


class Shop:
    """An honest imitation of the API: an order is charged once, a key has one response."""

    def __init__(self) -> None:
        self.entries: dict[str, list[dict[str, Any]]] = {"alice": [], "bob": [], "carol": []}
        self.responses: dict[str, Reply] = {}
        self.placed = self.clicks = 0

    def reply(self, call: str, who: str, key: str, sent: Any) -> Reply:
        replied: Reply = (200, {"status": "ok"}, {})
        match call.partition("?")[0].strip("/").split("/")[2:]:
            case ["sign-in"]:
                replied = self.sign_in(sent["username"])
            case ["products"]:
                replied = page({"sku": "TEA", "price": PRICE, "currency": "EUR"})
            case ["accounts"]:
                balance = 10_000 - PRICE * len(self.entries[who])
                replied = page({"id": 1, "currency": "EUR", "balance": balance})
            case ["accounts", _, "entries"]:
                replied = page(*reversed(self.entries[who]))
            case ["orders"]:
                self.placed += 1
                replied = 201, {"id": f"order-{self.placed}", "amount": PRICE}, {}
            case ["orders", order, "pay"]:
                self.clicks += 1
                replied = self.pay(who, order, key)
        return replied

    def sign_in(self, who: str) -> Reply:
        return 200, {"token": who}, {}

    def pay(self, who: str, order: str, key: str) -> Reply:
        if first := self.responses.get(key):
            return first[0], first[1], REPLAYED
        if any(entry["order_id"] == order for entry in self.entries[who]):
            return 409, {"type": "/problems/order-already-paid"}, {}
        self.responses[key] = self.charge(who, order)
        return self.responses[key]

    def charge(self, who: str, order: str) -> Reply:
        self.entries[who].append({"id": len(self.entries[who]) + 1, "order_id": order})
        return 200, {"id": order, "status": 2}, {}


class ChargesEveryClick(Shop):
    def pay(self, who: str, order: str, key: str) -> Reply:
        return self.charge(who, order)


class HangsUpOnOneKey(Shop):
    """Never responds to the fifth key: a click of the second row on an order that is paid."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, int] = {}

    def pay(self, who: str, order: str, key: str) -> Reply:
        seen_as = self.keys.setdefault(key, len(self.keys) + 1)
        return None if seen_as == 5 else super().pay(who, order, key)


class ChangesItsMind(Shop):
    def pay(self, who: str, order: str, key: str) -> Reply:
        """Give another body to the third click."""
        replied = super().pay(who, order, key)
        return (200, {"id": order, "status": 3}, REPLAYED) if self.clicks == 3 else replied


class RefusesTheFirstClick(Shop):
    """Responds to the first four requests to pay with a reason to retry."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[Reply] = [
            None,
            (503, {"type": "/problems/temporarily-unavailable"}, AT_ONCE),
            (409, {"type": "/problems/idempotency-key-in-use"}, AT_ONCE),
            (202, {"status": 1}, AT_ONCE),
        ]
        self.keys: set[str] = set()

    def pay(self, who: str, order: str, key: str) -> Reply:
        self.keys.add(key)
        return self.reasons.pop() if self.reasons else super().pay(who, order, key)


class LetsNobodyIn(Shop):
    def sign_in(self, who: str) -> Reply:
        return 401, {"type": "/problems/not-authenticated"}, {}


class PaymentSystem(Shop):
    """A payment system on a server of its own, and the proxy that loses its first responses."""

    def __init__(self, charges: int = 1) -> None:
        super().__init__()
        self.charges = charges
        before = {"requests": 7, "reached": 5, "happened": {"drop-request": 2}}
        self.passed: dict[str, Any] = before

    def reply(self, call: str, who: str, key: str, sent: Any) -> Reply:
        if call == "/chaos":
            return 200, self.passed, {}
        if "/orders/" in call or "/products/" in call:
            return 404, {"type": "/problems/not-found"}, {}
        return super().reply(call, who.removesuffix(" at the bank"), key, sent)

    def sign_in(self, who: str) -> Reply:
        return 200, {"token": f"{who} at the bank"}, {}

    def pay_by_relay(self, who: str, order: str) -> None:
        """Get a payment request twice: the first response is lost, and so is one to an inquiry."""
        for _ in range(self.charges):
            self.charge(who, order)
        now = self.passed
        lost = now["happened"].get("cut-response", 0) + 2
        self.passed = {"requests": now["requests"] + 4, "reached": now["reached"] + 2}
        self.passed["happened"] = {"drop-request": 2, "cut-response": lost}


class OrderSystem(Shop):
    """An order system that another server's payments are behind: it accepts first."""

    def __init__(self, bank: PaymentSystem) -> None:
        super().__init__()
        self.bank = bank
        self.accepted: set[str] = set()

    def reply(self, call: str, who: str, key: str, sent: Any) -> Reply:
        if "/accounts/" in call:
            return 404, {"type": "/problems/not-found"}, {}
        return super().reply(call, who, key, sent)

    def pay(self, who: str, order: str, key: str) -> Reply:
        if key in self.accepted:
            return 200, {"id": order, "status": 2}, {}
        self.accepted.add(key)
        self.bank.pay_by_relay(who, order)
        return 202, {"id": order, "status": 1}, AT_ONCE


def page(*results: dict[str, Any]) -> Reply:
    return 200, {"next": None, "previous": None, "results": results}, {}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, shop: Shop) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.shop, self.lock = shop, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        who = self.headers.get("Authorization", "").removeprefix("Token ")
        with self.server.lock:
            key = self.headers.get("Idempotency-Key", "")
            replied = self.server.shop.reply(self.path, who, key, sent)
        if replied is None:
            self.close_connection = True
            return
        status, content, headers = replied
        body = json.dumps(content).encode()
        self.send_response(status)
        sizes = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in (sizes | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def served(shop: Shop) -> Iterator[str]:
    """Serve an imitation; yields its address."""
    with Server(shop) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        try:
            yield server.url
        finally:
            server.shutdown()


@pytest.fixture
def simulate(tmp_path: Path, settings: LazySettings) -> Simulate:
    """Run the command; return its exit code and what it wrote to its JSON file."""
    settings.DEMO_PASSWORD = settings.DEMO_PASSWORD or "only-for-the-demo"

    def simulate(url: str, *arguments: str, scenario: str = "double_click") -> Any:
        file = tmp_path / "report.json"
        code: Any = 0
        try:
            call_command("simulate", scenario, "--base-url", url, "--json", str(file), *arguments)
        except SystemExit as stopped:
            code = stopped.code
        return code, json.loads(file.read_text()) if file.exists() else {}

    return simulate


@pytest.fixture
def simulate_at(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command with 2 orders and 3 clicks, by an impatient client, against a shop."""
    monkeypatch.setattr(http_client, "RETRY_SECONDS_MAX", 1.5)

    def simulate_at(shop: Shop, scenario: str = "double_click", *arguments: str) -> Any:
        with served(shop) as url:
            return simulate(url, *SMALL, *arguments, scenario=scenario)

    return simulate_at


@pytest.fixture
def simulate_between(simulate_at: Callable[..., Any]) -> Callable[..., Any]:
    """Run rpc_retry against an order system and this payment system, behind a proxy."""

    def simulate_between(bank: PaymentSystem) -> Any:
        with served(bank) as url:
            addresses = "--payments-url", url, "--chaos-url", url
            return simulate_at(OrderSystem(bank), "rpc_retry", *addresses)

    return simulate_between


@pytest.mark.django_db(transaction=True)
def test_many_clicks_on_a_live_server_charge_once(
    server: LiveServer, simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    seed()

    code, report = simulate(server.url, "--orders", "4", "--clicks", "6")

    one_key, two_tabs = report["rows"]
    assert (one_key["responses"], one_key["replays"]) == ({"200": 24}, 20)
    assert (two_tabs["responses"], two_tabs["replays"]) == ({"200": 4, "409": 20}, 0)
    assert report["audit"] == {"ok": True, "breaches": 0}
    assert "Every order was charged once." in capsys.readouterr().out
    assert (code, report["ok"]) == (0, True)
    assert [row["charges"] for row in report["rows"]] == [4, 4]


@pytest.mark.django_db(transaction=True)
def test_the_contrast_is_a_row_above_the_others_and_no_failure(
    simulate: Simulate, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    shop = Shop()
    with served(shop) as url:
        code, report = simulate(url, *SMALL, "--contrast")

    assert report["contrast"] == {"clicks": 3, "charges": [3, 3]}, "naive charges every click"
    rows = [line for line in capsys.readouterr().out.splitlines() if "  6  " in line]
    assert rows[0].split() == ["naive,", "the", "same", "clicks", "2", "6", "6", "2"]
    assert code == 0
    settings.LAB_ENABLED = False
    with served(shop) as url:
        code, report = simulate(url, *SMALL, "--contrast")
    assert (code, report["contrast"]) == (0, None)
    assert "Without the naive row. The lab can't run" in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_costs_retries_and_no_second_charge(
    server: LiveServer, simulate: Simulate
) -> None:
    seed()
    server.arm("order-settled", "kill")

    code, report = simulate(server.url, "--orders", "2", "--clicks", "6")

    assert server.hits("order-settled") == 1
    assert report["rows"][0]["retries"] > 0
    assert (code, report["ok"]) == (0, True)
    assert [row["charges"] for row in report["rows"]] == [2, 2]


@pytest.mark.django_db(transaction=True)
def test_a_resubmit_after_the_response_is_a_replay(server: LiveServer, simulate: Simulate) -> None:
    seed()
    load = "--orders", "3", "--clicks", "4", "--concurrency", "2"

    code, report = simulate(server.url, *load, scenario="back_and_resubmit")

    (row,) = report["rows"]
    assert (row["responses"], row["replays"], row["retries"]) == ({"200": 12}, 9, 0)
    assert (code, row["charges"]) == (0, 3)


@pytest.mark.django_db(transaction=True)
def test_without_a_proxy_or_another_server_rpc_retry_plays_as_well(
    server: LiveServer, simulate: Simulate
) -> None:
    seed()

    code, report = simulate(server.url, "--orders", "2", "--clicks", "3", scenario="rpc_retry")

    (row,) = report["rows"]
    assert (code, row["responses"], row["charges"]) == (0, {"200": 6}, 2)
    assert (row["requests"], row["responses_lost"], row["duplicates"]) == (None, None, None)
    assert report["payments_url"] == report["base_url"]


def test_what_passes_between_two_systems_is_counted_and_accepted_clicks_are_retried(
    simulate_between: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = simulate_between(PaymentSystem())

    (row,) = report["rows"]
    assert (row["requests"], row["responses_lost"], row["duplicates"]) == (8, 4, 2)
    assert (row["responses"], row["retries"], row["unfinished_clicks"]) == ({"200": 6}, 0, 0)
    assert (row["charges"], row["double_charges"], row["money_missing"]) == (2, 0, 0)
    assert (code, report["ok"]) == (0, True)
    headings = next(line for line in capsys.readouterr().out.splitlines() if "clicks" in line)
    assert headings.split()[2:7] == ["responses", "requests", "responses", "lost", "duplicates"]


def test_a_payment_system_that_charges_again_for_a_duplicate_fails(
    simulate_between: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = simulate_between(PaymentSystem(charges=2))

    (row,) = report["rows"]
    assert (row["charges"], row["double_charges"], row["money_missing"]) == (4, 2, 2 * PRICE)
    assert (
        "same key, responses lost: 2 orders were charged more than once." in capsys.readouterr().out
    )
    assert (code, report["ok"]) == (1, False)


def test_a_server_that_is_no_proxy_is_reported_in_one_line(
    simulate_at: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with served(Shop()) as url:
        code, _ = simulate_at(Shop(), "rpc_retry", "--chaos-url", url)

    assert capsys.readouterr().err.splitlines() == [f"{url} is no proxy that counts."]
    assert code == 2


def test_an_honest_shop_passes(simulate_at: Callable[..., Any]) -> None:
    code, report = simulate_at(Shop())

    assert (code, report["ok"], report["audit"]) == (0, True, None)


def test_a_shop_that_charges_every_click_fails(
    simulate_at: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = simulate_at(ChargesEveryClick())

    one_key, two_tabs = report["rows"]
    assert (one_key["wrong_responses"], two_tabs["wrong_responses"]) == (0, 4)
    assert "same key: 2 orders were charged more than once." in capsys.readouterr().out
    assert (code, report["ok"]) == (1, False)
    assert [row["charges"] for row in report["rows"]] == [6, 6]
    assert [row["double_charges"] for row in report["rows"]] == [2, 2]
    assert [row["money_missing"] for row in report["rows"]] == [4 * PRICE, 4 * PRICE]


def test_a_click_that_never_gets_a_response_fails(simulate_at: Callable[..., Any]) -> None:
    code, report = simulate_at(HangsUpOnOneKey())

    one_key, two_tabs = report["rows"]
    assert (one_key["unfinished_clicks"], two_tabs["unfinished_clicks"]) == (0, 1)
    assert two_tabs["retries"] > 0
    assert (code, report["ok"]) == (1, False)


def test_a_response_that_differs_from_the_first_fails(simulate_at: Callable[..., Any]) -> None:
    code, report = simulate_at(ChangesItsMind())

    one_key, two_tabs = report["rows"]
    assert one_key["wrong_responses"] > 0
    assert two_tabs["wrong_responses"] == 0
    assert (code, report["ok"]) == (1, False)


def test_a_click_that_is_refused_for_now_is_retried_with_its_key(
    simulate_at: Callable[..., Any],
) -> None:
    shop = RefusesTheFirstClick()

    code, report = simulate_at(shop, "back_and_resubmit")

    (row,) = report["rows"]
    assert len(shop.keys) == 2
    assert row["retries"] == 3  # a 202 is no refusal
    assert (code, row["responses"]) == (0, {"200": 6})


def test_a_shop_that_lets_nobody_in_is_reported_in_one_line(
    simulate_at: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = simulate_at(LetsNobodyIn())

    (line,) = capsys.readouterr().err.splitlines()
    assert ": 401 not-authenticated to POST sign-in/ as alice" in line
    assert code == 2


def test_a_server_that_is_not_there_is_reported_in_one_line(
    simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    code, _ = simulate(url, "--no-audit")

    expected = f"No server responds at {url}. Start one: make serve"
    assert capsys.readouterr().err.splitlines() == [expected]
    assert code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ["double_charge"],
        ["--orders", "0"],
        ["--clicks", "1001"],
        ["--concurrency", "-1"],
        ["--base-url", "127.0.0.1:8000"],
        ["--payments-url", "127.0.0.1:8001"],
        ["--chaos-url", "127.0.0.1:8002"],
        ["--json", "/no/such/folder/report.json"],
    ],
    ids=" ".join,
)
def test_an_argument_out_of_range_is_refused(wrong: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("simulate", *wrong)
