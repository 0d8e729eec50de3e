"""The demo's people, money and products, as far as their tables are here. Seeding is idempotent."""

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from web import api_tokens
from web.models import ApiToken

ORDERS, PAYMENTS = apps.is_installed("orders"), apps.is_installed("payments")
if ORDERS:
    from orders.models import Product
if PAYMENTS:
    from payments.models import Account
    from payments.services import open_account


@dataclass(frozen=True)
class SeedCustomer:
    username: str
    opening_balances: dict[str, int]


CUSTOMERS = (
    SeedCustomer("alice", {"EUR": 100_000_000, "USD": 50_000_000}),
    SeedCustomer("bob", {"EUR": 100_000_000}),
    SeedCustomer("carol", {"EUR": 100_000_000}),
    SeedCustomer("dave", {"EUR": 300}),  # can pay for a tea, not for a kettle
)
PRODUCTS = (
    ("TEA", "Green tea", 250, "EUR"),
    ("CUP", "Cup", 1_200, "EUR"),
    ("KETTLE", "Kettle", 4_990, "EUR"),
    ("BOOK", "The book of tea", 1_500, "USD"),
)
ADMIN = "admin"
SERVICE = "order-service"


@transaction.atomic
def seed() -> dict[str, Any]:
    """Create the demo data that is missing, and return how to use it; safe to call again."""
    with connection.cursor() as cursor:  # two at once must not open two accounts each
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('seed-demo'))")
    encoded = _encoded_password()
    _user(ADMIN, encoded, is_staff=True, is_superuser=True)
    return {
        "users": [_customer(customer, encoded) for customer in CUSTOMERS],
        "admin": {"username": ADMIN, "password": settings.DEMO_PASSWORD},
        "service_token": _token(_service(encoded)) if PAYMENTS else None,
        "products": _products() if ORDERS else [],
    }


def _products() -> list[dict[str, Any]]:
    for sku, name, price, currency in PRODUCTS:
        Product.objects.get_or_create(
            sku=sku, defaults={"name": name, "price": price, "currency": currency}
        )
    products = Product.objects.filter(sku__in=[sku for sku, *_ in PRODUCTS]).order_by("sku")
    return [dict(product) for product in products.values("sku", "price", "currency")]


def _customer(customer: SeedCustomer, encoded: str) -> dict[str, Any]:
    user = _user(customer.username, encoded)
    return {
        "username": user.username,
        "password": settings.DEMO_PASSWORD,
        "token": _token(user),
        "accounts": _accounts(user, customer.opening_balances) if PAYMENTS else [],
    }


def _accounts(user: User, opening_balances: dict[str, int]) -> list[dict[str, Any]]:
    for currency, amount in opening_balances.items():
        if not Account.objects.filter(owner=user, currency=currency).exists():
            open_account(owner=user, currency=currency, opening_balance=amount)
    accounts = Account.objects.filter(owner=user).order_by("id")
    return [dict(account) for account in accounts.values("id", "currency", "balance")]


def _service(encoded: str) -> User:
    user = _user(SERVICE, encoded)
    user.user_permissions.add(Permission.objects.get(codename="charge"))
    return user


def _encoded_password() -> str:
    """Return the hash of the one password of all: a customer's who still has it, or a new one.

    A hash takes half a second. Whoever has the seed's token has not changed the password since.
    """
    username = CUSTOMERS[0].username
    token = ApiToken.objects.filter(digest=api_tokens.digest(_derived_token(username)))
    known = User.objects.filter(username=username, pk__in=token.values("user"))
    return known.values_list("password", flat=True).first() or make_password(settings.DEMO_PASSWORD)


def _user(username: str, encoded: str, **flags: Any) -> User:
    facts = flags | {"password": encoded, "email": f"{username}@example.com"}
    user, _ = User.objects.get_or_create(username=username, defaults=facts)
    if user.password != encoded:
        user.password = encoded
        user.save(update_fields=["password"])
    return user


def _token(user: User) -> str:
    """Return the user's token, the same each time."""
    token = _derived_token(user.username)
    api_tokens.add(user, token, name="seed_demo")
    return token


def _derived_token(username: str) -> str:
    """Return a token that is derived, for only its digest is stored.

    The password is part of it: where that is no public one, neither is the token.
    """
    message = f"{username}|{settings.DEMO_PASSWORD}"
    derived = salted_hmac("demo.seed", message, algorithm="sha256").hexdigest()
    return f"{api_tokens.PREFIX}{derived}"
