"""Who may do what: one row a route, by method. A new route gets a row here.

A row says for each method whose requests get in; a method that it leaves out gets nobody in.
"""

from dataclasses import dataclass
from typing import Any, Literal

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model

from orders.models import Product
from tests.surface.conftest import model_routes
from web.models import ApiToken

Outcome = Literal["in", "sign in", "forbidden", "missing"]
Who = Literal["everybody", "whoever sends", "signed in", "owner", "caller", "staff"]


@dataclass(frozen=True)
class Access:
    """Who gets in.

    everybody      anonymous visitors too
    whoever sends  the same, and no credentials are read
    signed in      every user, for rows of their own
    owner          whose object it is; for everybody else it is missing
    caller         a user of the API with one of the permissions
    staff          with one of the permissions, or with any if there are none

    :param any_of: the sets of permissions of which one is enough
    :param then: what becomes of those who get in
    :param without: what becomes of the staff who have none of the permissions
    """

    who: Who
    any_of: tuple[frozenset[str], ...] = ()
    then: Outcome = "in"
    without: Outcome = "forbidden"


def staff(*any_of: str, **others: Any) -> Access:
    return Access("staff", tuple(frozenset({each}) for each in any_of), **others)


def staff_with_all(*permissions: str) -> Access:
    return Access("staff", (frozenset(permissions),))


EVERYBODY, WHOEVER_SENDS = Access("everybody"), Access("whoever sends")
SIGNED_IN, OWNER, STAFF = Access("signed in"), Access("owner"), staff()
NOBODY = staff_with_all("nobody.has_this")
NOTHING_THERE = staff(then="missing")
READ, WRITE = "GET", "POST"

API = {
    "api/v1/sign-in/": {WRITE: WHOEVER_SENDS},
    "api/v1/api-tokens/": {READ: SIGNED_IN},
    "api/v1/api-tokens/<int:id>/": {"DELETE": OWNER},
    "api/v1/products/": {READ: WHOEVER_SENDS},
    "api/v1/orders/": {READ: SIGNED_IN, WRITE: SIGNED_IN},
    "api/v1/orders/<uuid:order_id>/": {READ: OWNER},
    "api/v1/orders/<uuid:order_id>/pay/": {WRITE: OWNER},
    "api/v1/payments/": {WRITE: Access("caller", (frozenset({"payments.charge"}),))},
    "api/v1/payments/decline/": {WRITE: Access("caller", (frozenset({"payments.charge"}),))},
    "api/v1/payments/<uuid:order_id>/": {READ: Access("owner", (frozenset({"payments.charge"}),))},
    "api/v1/accounts/": {READ: SIGNED_IN},
    "api/v1/accounts/<int:pk>/": {READ: OWNER},
    "api/v1/accounts/<int:pk>/entries/": {READ: OWNER},
    "api/v1/tokens/": {WRITE: SIGNED_IN},
    "api/v1/keys/<path:key>/": {READ: OWNER},
    "api/schema/": {READ: EVERYBODY},
    "api/docs/": {READ: EVERYBODY},
    "api/": {},
}
PAGES = {
    "healthz": {READ: EVERYBODY, WRITE: EVERYBODY},
    "readyz": {READ: EVERYBODY, WRITE: EVERYBODY},
    "metrics": {READ: EVERYBODY},  # the proxy in front refuses it
    "problems/<slug:slug>": {READ: EVERYBODY, WRITE: EVERYBODY},
    "sign-in/": {READ: EVERYBODY, WRITE: EVERYBODY},
    "sign-out/": {WRITE: EVERYBODY},
    "account/": {READ: SIGNED_IN},
    "account/password/": {READ: SIGNED_IN, WRITE: SIGNED_IN},
    "account/api-tokens/<int:token_id>/revoke/": {WRITE: SIGNED_IN},  # only one's own
    "language/": {READ: EVERYBODY, WRITE: EVERYBODY},
    "": {READ: EVERYBODY, WRITE: EVERYBODY},
    "demo/try/": {READ: EVERYBODY, WRITE: EVERYBODY},  # signs in as alice; in the demo only
    "demo/network/": {READ: EVERYBODY, WRITE: EVERYBODY},  # sets a cookie; in the demo only
    "basket/": {READ: SIGNED_IN, WRITE: SIGNED_IN},
    "basket/<uuid:basket_id>/order/": {READ: SIGNED_IN, WRITE: OWNER},
    "orders/": {READ: SIGNED_IN},
    "orders/<uuid:order_id>/": {READ: OWNER},
    "orders/<uuid:order_id>/now/": {READ: OWNER},
    "orders/<uuid:order_id>/checkout/": {READ: OWNER},
    "orders/<uuid:order_id>/pay/": {READ: OWNER, WRITE: OWNER},
    "orders/<uuid:order_id>/again/": {READ: SIGNED_IN, WRITE: OWNER},
    # In development only; a run belongs to nobody.
    "lab/": {READ: EVERYBODY},
    "lab/runs/": {READ: EVERYBODY},  # a POST would start its processes
    "lab/runs/<uuid:run_id>/": {},
    "lab/runs/<uuid:run_id>/now/": {},
    "lab/source/<str:name>/": {READ: EVERYBODY},
}
ORDER_MODELS = [
    f"orders.{action}_{model}"
    for model in ("order", "statuschange", "paymentrequest")
    for action in ("view", "change")
] + [f"orders.{action}_product" for action in ("view", "change", "add", "delete")]
REQUEUE = staff_with_all("orders.view_paymentrequest", "orders.change_order")
ADMIN = {
    "admin/": {READ: STAFF, WRITE: STAFF},
    "admin/login/": {READ: EVERYBODY, WRITE: EVERYBODY},
    "admin/logout/": {WRITE: EVERYBODY},
    "admin/password_change/": {READ: STAFF, WRITE: STAFF},
    "admin/password_change/done/": {READ: STAFF},
    "admin/autocomplete/": {READ: NOBODY},  # no field uses it
    "admin/jsi18n/": {READ: STAFF},
    "admin/r/<path:content_type_id>/<path:object_id>/": {READ: NOTHING_THERE},
    "admin/<app_label>/": {
        READ: staff(*ORDER_MODELS, without="missing"),
        WRITE: staff(*ORDER_MODELS, without="missing"),
    },
    "admin/<url>": {READ: NOTHING_THERE, WRITE: NOTHING_THERE},
    # The dashboard shows each section to those who may view its rows: tests/operations.
    "admin/dashboard/": {READ: STAFF},
    "admin/desk/": {READ: EVERYBODY, WRITE: EVERYBODY},  # only leads to the dashboard
    "admin/dashboard/<uuid:order_id>/requeue/": {READ: REQUEUE, WRITE: REQUEUE},
    "admin/timeline/<uuid:order_id>/": {READ: staff("orders.view_order")},
    "admin/orders/order/<uuid:order_id>/pay/": {
        READ: staff("orders.change_order"),
        WRITE: staff("orders.change_order"),
    },
    "admin/orders/order/<uuid:order_id>/submit-again/": {
        READ: staff("orders.change_order"),
        WRITE: staff("orders.change_order"),
    },
    "admin/orders/order/<uuid:order_id>/give-up/": {
        READ: staff("orders.change_order"),
        WRITE: staff("orders.change_order"),
    },
    "admin/auth/user/<id>/password/": {
        READ: staff("auth.change_user"),
        WRITE: staff("auth.change_user"),
    },
}
WRITABLE = {Product, User, Group}  # of all models in the admin
DELETABLE = {ApiToken}  # which revokes it


def rows_of(model: type[Model]) -> dict[str, dict[str, Access]]:
    """Return the rows of a model's pages in the admin."""
    start, can = model_routes(model), _permission_of(model)
    view = staff(can("view"), can("change"))
    add, change, delete = (staff(can(action)) for action in ("add", "change", "delete"))
    if model is User:  # Django wants both, or who may add users could add a superuser
        add = staff_with_all(can("add"), can("change"))
    if model not in WRITABLE:
        add = change = NOBODY
        delete = delete if model in DELETABLE else NOBODY
    return {
        start: {READ: view, WRITE: view},
        f"{start}add/": {READ: add, WRITE: add},
        f"{start}<path:object_id>/": {READ: STAFF, WRITE: STAFF},  # leads to the next one
        f"{start}<path:object_id>/change/": {READ: view, WRITE: change},
        f"{start}<path:object_id>/delete/": {READ: delete, WRITE: delete},
        f"{start}<path:object_id>/history/": {READ: view, WRITE: view},
    }


def _permission_of(model: type[Model]) -> Any:
    meta = model._meta
    return lambda action: f"{meta.app_label}.{action}_{meta.model_name}"


def table() -> dict[str, dict[str, Access]]:
    """Return all rows."""
    rows = {**API, **PAGES, **ADMIN}
    for model in admin.site._registry:
        rows |= rows_of(model)
    return rows
