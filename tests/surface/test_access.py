"""Every route × everybody who may try it: the table in `access.py`, walked through the URL conf."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.test import Client, RequestFactory
from django.urls import resolve
from rest_framework.test import APIClient

from tests.support.routes import Route, routes
from tests.surface.access import NOBODY, Access, Outcome, table
from tests.surface.conftest import World

ROUTES = routes()
TABLE = table()
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOT_TRIED = {
    ("lab/runs/", "POST"),  # it starts processes
    ("admin/logout/", "GET"),  # leads visitors to the admin, and is none of its methods for staff
}
ALICES = "alice"  # whose all the objects are


@dataclass(frozen=True)
class Person:
    """Somebody who tries, as the table sees them."""

    name: str
    is_signed_in: bool = True
    is_known_to_pages: bool = True
    is_staff: bool = False
    is_all_powerful: bool = False
    has_wrong_token: bool = False
    permissions: frozenset[str] = field(default_factory=frozenset)

    def may(self, access: Access) -> bool:
        if self.is_all_powerful:
            return bool(access.any_of) and access != NOBODY
        return any(each <= self.permissions for each in access.any_of)


def expected(route: Route, access: Access | None, person: Person) -> Outcome:  # noqa: PLR0911
    """Return what becomes of a person's request, by the table."""
    if access is None:
        return "missing"
    if access.who == "whoever sends" or (access.who == "everybody" and not person.has_wrong_token):
        return access.then
    if access.who == "everybody":
        return "sign in" if route.text.startswith("api/") else access.then
    is_known = person.is_signed_in and (person.is_known_to_pages or route.text.startswith("api/"))
    if not is_known or (access.who == "staff" and not person.is_staff):
        return "sign in"
    if access.who == "signed in" or person.may(access):
        return access.then
    if access.who == "owner":
        return access.then if person.name == ALICES else "missing"
    if access.who == "staff" and not access.any_of:
        return access.then
    return access.without


def outcome(response: Any) -> Outcome:
    """Return what became of a request, by its response."""
    assert response.status_code < 500, response
    if response.status_code in {401, 302} and _leads_to_sign_in(response):
        return "sign in"
    if response.status_code == 403:
        return "forbidden"
    return "missing" if response.status_code in {404, 405} else "in"


def _leads_to_sign_in(response: Any) -> bool:
    location: str = response.get("Location", "")
    is_refused: bool = response.status_code == 401
    return is_refused or location.startswith(("/sign-in/?", "/admin/login/?"))


@contextmanager
def undone() -> Iterator[None]:
    """Undo what a request has done: the next one finds everything as it was."""
    point = transaction.savepoint()  # no atomic block, in which no request's may be the outermost
    yield
    transaction.savepoint_rollback(point)


Ask = Callable[[str, str, Any], Any]


def through(client: Any) -> Ask:
    """Return how a client sends a request; its cookies stay, whatever a response does to them."""
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}

    def ask(method: str, path: str, body: Any) -> Any:
        client.cookies = SimpleCookie(cookies)
        sent = json.dumps(body).encode()
        key = {"Idempotency-Key": "k-of-the-matrix"}
        return client.generic(method, path, sent, "application/json", headers=key)

    return ask


@pytest.fixture(
    params=["nobody", "wrong token", "alice", "bob", "bob's token", "staff", "superuser"]
)
def visitor(request: Any, alice: User, bob: User, sign_in: Any) -> tuple[Person, Ask]:
    """Somebody with the credentials that there are, and how they send a request."""
    name: str = request.param
    browser = Client()
    if name == "nobody":
        return Person(name, is_signed_in=False), through(browser)
    if name == "wrong token":
        api = APIClient(headers={"Authorization": "Token nonsense"})
        return Person(name, is_signed_in=False, has_wrong_token=True), through(api)
    if name == "bob's token":
        return Person(name, is_known_to_pages=False), through(sign_in(bob))
    users = {
        "alice": lambda: alice,
        "bob": lambda: bob,
        "staff": lambda: User.objects.create_user("clerk", is_staff=True),
        "superuser": lambda: User.objects.create_superuser("root"),
    }
    user: User = users[name]()
    browser.force_login(user)
    person = Person(name, is_staff=user.is_staff, is_all_powerful=user.is_superuser)
    return person, through(browser)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {route.text for route in ROUTES} == TABLE.keys()


def test_whoever_tries_gets_what_the_table_says(visitor: tuple[Person, Ask], world: World) -> None:
    person, ask = visitor
    wrong = {}
    for route, method, access in _attempts():
        with undone():
            got = outcome(ask(method, world.path(route), world.bodies.get(route.text, {})))
        wanted = expected(route, access, person)
        if wanted != got and not (access is None and got != "in"):
            wrong[route.text, method] = f"{got}, not {wanted}"
    assert wrong == {}


def _attempts() -> Iterator[tuple[Route, str, Access | None]]:
    """Yield each route with each method; a page's other methods are as good as a GET."""
    for route in ROUTES:
        is_api = route.text.startswith("api/")
        for method in METHODS if is_api else METHODS[:2]:
            if (route.text, method) not in NOT_TRIED:
                yield route, method, TABLE[route.text].get(method)


def test_a_role_with_a_single_permission_gets_in_where_the_table_says(world: World) -> None:
    """Asks the views of the admin and the permission to charge, as Django's handler does.

    Permissions only ever add something, so one role has all that no row names, and gets nowhere.
    """
    asked = 0
    wrong = {}
    for role, names in _roles():
        person = Person(role.username, is_staff=True, permissions=names)
        for route, method, access in _attempts():
            if access is None or access.who not in {"staff", "caller"}:
                continue
            with undone() if method == "POST" else nullcontext():
                got = _outcome_of_view(role, method, world.path(route))
            asked += 1
            if got != (wanted := expected(route, access, person)):
                wrong[role.username, route.text, method] = f"{got}, not {wanted}"
    assert wrong == {}
    assert asked > 3000


def _roles() -> Iterator[tuple[User, frozenset[str]]]:
    named = set().union(
        *(each for row in TABLE.values() for a in row.values() for each in a.any_of)
    )
    others = User.objects.create_user("all others", is_staff=True)
    unnamed = {}
    for each in Permission.objects.select_related("content_type"):
        name = f"{each.content_type.app_label}.{each.codename}"
        if name not in named:
            unnamed[name] = each
            continue
        role = User.objects.create_user(name, is_staff=True)
        role.user_permissions.add(each)
        yield role, frozenset({name})
    others.user_permissions.set(unnamed.values())
    yield others, frozenset(unnamed)


def _outcome_of_view(user: User, method: str, path: str) -> Outcome:
    """Return what becomes of a user's request at the view itself: no session, one look-up less."""
    request = RequestFactory().generic(method, path, b"{}", "application/json")
    request.user = user
    request.session = SessionStore()
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    match = resolve(path)
    try:
        return outcome(match.func(request, *match.args, **match.kwargs))
    except PermissionDenied:
        return "forbidden"
    except Http404:
        return "missing"


@pytest.fixture
def manager(db: None) -> Client:
    """A browser of a member of staff who may add and change users and groups, and no more."""
    manager = User.objects.create_user("manager", is_staff=True)
    names = ("add_user", "change_user", "view_user", "change_group", "add_group", "delete_user")
    manager.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser = Client()
    browser.force_login(manager)
    return browser


def test_who_may_change_users_can_grant_nothing(manager: Client) -> None:
    group = Group.objects.create(name="clerks")
    charge = Permission.objects.get(codename="charge").pk
    user = User.objects.get(username="manager")
    before = user.get_all_permissions()
    granted = {"is_superuser": "on", "is_staff": "on", "groups": group.pk}
    form = {"username": "manager", "email": "m@shop.example", "user_permissions": charge}
    dates = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00", "is_active": "on"}

    changed = manager.post(f"/admin/auth/user/{user.pk}/change/", form | granted | dates)
    manager.post(f"/admin/auth/group/{group.pk}/change/", {"name": "c", "permissions": charge})

    user = User.objects.get(pk=user.pk)
    assert changed.status_code == 302
    assert user.email == "m@shop.example"
    assert not user.is_superuser
    assert user.get_all_permissions() == before
    assert not user.groups.exists()
    assert not group.permissions.exists()


@pytest.mark.parametrize("page", ["change", "delete", "password"])
def test_who_may_change_users_gets_at_no_superuser(page: str, manager: Client) -> None:
    root = User.objects.create_superuser("root", password="right-password")
    passwords = {"password1": "another-one-1", "password2": "another-one-1", "post": "yes"}
    path = f"/admin/auth/user/{root.pk}/{page}/"

    assert manager.post(path, passwords | {"username": "x"}).status_code == 403

    assert User.objects.get(pk=root.pk).check_password("right-password")


def test_a_superuser_grants(alice: User) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    form = {"username": "alice", "is_staff": "on", "is_active": "on"}
    dates = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00"}

    browser.post(f"/admin/auth/user/{alice.pk}/change/", form | dates)

    assert User.objects.get(pk=alice.pk).is_staff


def test_the_table_knows_every_action_of_the_admin() -> None:
    actions = {
        (model.__name__, name)
        for model, model_admin in admin.site._registry.items()
        for name in model_admin.actions or ()
    }
    exported = ("Account", "Entry", "Order", "Payment", "PaymentRequest", "StatusChange")
    assert actions == {
        ("PaymentRequest", "requeue"),
        *((name, "export_csv") for name in exported),
    }


@pytest.mark.parametrize("page", ["change", "delete", "password"])
def test_who_may_change_users_gets_at_no_colleague(page: str, manager: Client) -> None:
    """By another's password they would become whatever that colleague may do."""
    colleague = User.objects.create_user("colleague", password="right-password", is_staff=True)
    passwords = {"password1": "another-one-1", "password2": "another-one-1", "post": "yes"}
    path = f"/admin/auth/user/{colleague.pk}/{page}/"

    assert manager.post(path, passwords | {"username": "x"}).status_code == 403

    assert User.objects.get(pk=colleague.pk).check_password("right-password")
