"""A customer of the shop over HTTP: sign in, order, pay, and read the accounts."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any
from uuid import uuid4

from simulator.http_client import HttpClient, LastResponse, ServerUnusable


@dataclass(frozen=True)
class DemoCustomer:
    """A customer's tokens at the order system and at the payment system, which may be one."""

    token: str
    payments_token: str


@dataclass(frozen=True)
class DemoAccount:
    """A customer's account as it was when it was read."""

    id: int
    customer: DemoCustomer
    currency: str
    balance: int
    newest_entry: int | None


@dataclass(frozen=True)
class DemoOrder:
    id: str
    amount: int
    account: DemoAccount


def sign_in(client: HttpClient, username: str, password: str) -> str:
    """Return a customer's token."""
    content = {"username": username, "password": password}
    try:
        return str(client.request_json("POST", "sign-in/", content=content)["token"])
    except ServerUnusable as error:
        hint = f"as {username} with DEMO_PASSWORD; to set both up: manage.py seed_demo"
        raise ServerUnusable(f"{error} {hint}") from error


def accounts_of(client: HttpClient, customer: DemoCustomer) -> Iterator[DemoAccount]:
    """Yield a customer's accounts as they are now."""
    token = customer.payments_token
    for row in client.items("accounts/", token=token):
        newest = next((entry["id"] for entry in _entries(client, row["id"], token)), None)
        yield DemoAccount(row["id"], customer, row["currency"], row["balance"], newest)


def entries_since(client: HttpClient, account: DemoAccount) -> Iterator[dict[str, Any]]:
    """Yield the entries that an account got since it was read, newest first."""
    entries = _entries(client, account.id, account.customer.payments_token)
    return takewhile(lambda entry: entry["id"] != account.newest_entry, entries)


def _entries(client: HttpClient, account_id: int, token: str) -> Iterator[dict[str, Any]]:
    return client.items(f"accounts/{account_id}/entries/?page_size=200", token=token)


def place_order(client: HttpClient, account: DemoAccount, sku: str) -> DemoOrder:
    """Order one piece, to be paid from an account."""
    content, key = {"lines": [{"sku": sku, "quantity": 1}]}, str(uuid4())
    order = client.request_json(
        "POST", "orders/", token=account.customer.token, key=key, content=content
    )
    return DemoOrder(order["id"], order["amount"], account)


def pay(client: HttpClient, order: DemoOrder, key: str) -> LastResponse:
    """Click on pay."""
    token, content = order.account.customer.token, {"account": order.account.id}
    return client.send("POST", f"orders/{order.id}/pay/", token=token, key=key, content=content)
