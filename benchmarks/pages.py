"""Load every page of the admin that reads much, in a process with a system's environment.

Prints the status of each, and how many ms it took. The lists are those of all registered models,
each plain, with each of its filters, sorted by each column that it offers, and searched.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

TIMES = 2  # the faster one counts: the first loads templates and plans statements


def main() -> None:
    """Print each page's status and milliseconds as JSON."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client

    user = User.objects.create_superuser(f"operator{time.time_ns()}", password=None)
    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(user)
    paths = dict.fromkeys(_paths())
    loaded = {path: min(_load(client, path) for _ in range(TIMES)) for path in paths}
    sys.stdout.write(json.dumps(loaded))


def _load(client: Any, path: str) -> tuple[int, float]:
    """Return a page's status and its milliseconds."""
    started = time.perf_counter()
    response = client.get(path)
    return response.status_code, round(1000 * (time.perf_counter() - started), 1)


def _paths() -> Iterator[str]:
    """Yield the pages; what is searched for is the oldest row of its kind."""
    from django.contrib import admin
    from django.urls import reverse

    from orders.models import Order

    order = Order.objects.order_by("pk").first()
    assert order is not None
    customer, day = order.customer.username, f"{order.created_at:%Y-%m-%d}"
    texts = [str(order.pk), str(order.pk)[-8:], customer, f"{customer}+2.50", "2.50", day]
    texts += [f"{day}+12:00", f"{customer}@example.com", "nobody-has-this"]
    dashboard = reverse("admin:dashboard")
    yield dashboard
    yield from (f"{dashboard}?q={text}" for text in texts)
    for model, its_admin in admin.site._registry.items():
        yield from _pages_of(model, its_admin, texts)


def _pages_of(model: Any, its_admin: Any, texts: list[str]) -> Iterator[str]:
    from django.urls import reverse

    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = reverse(f"{name}_changelist")
    yield listed
    if its_admin.search_fields:
        yield from (f"{listed}?q={text}" for text in texts)
    yield from (f"{listed}?o={sort}{n}" for n in _sortable(its_admin) for sort in ("", "-"))
    yield from (f"{listed}{choice}" for choice in _choices(its_admin, listed))
    if (row := model.objects.order_by("pk").first()) is not None:
        yield reverse(f"{name}_change", args=[row.pk])


def _sortable(its_admin: Any) -> Iterator[int]:
    offered = its_admin.list_display if its_admin.sortable_by is None else its_admin.sortable_by
    for number, column in enumerate(its_admin.list_display, start=1):
        own = getattr(its_admin, str(column), None)
        is_a_field = own is None and column != "__str__"
        if column in offered and (is_a_field or getattr(own, "admin_order_field", None)):
            yield number


def _choices(its_admin: Any, listed: str) -> Iterator[str]:
    """Yield the query of every choice that the list's filters offer."""
    from django.contrib.auth.models import User
    from django.test import RequestFactory

    request = RequestFactory().get(listed)
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    changes = its_admin.get_changelist_instance(request)
    for each in changes.filter_specs:
        yield from (choice["query_string"] for choice in each.choices(changes))


if __name__ == "__main__":
    main()
