"""API tokens: several a user, digests at rest, an end by the database's clock, and revocation."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from demo.seed import seed
from idempotency.tests.support import read_only
from tests.support.api_tokens import api_token_of
from tests.support.together import together
from web import api_tokens
from web.checks import old_tokens
from web.models import ApiToken

PASSWORD, OTHER = "right-password-1", "another-password-2"
TOKENS = "/api/v1/api-tokens/"


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_superuser("owner", password=PASSWORD)


def sign_in(**body: str) -> Any:
    credentials = {"username": "owner", "password": PASSWORD}
    return APIClient().post("/api/v1/sign-in/", credentials | body)


def caller(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def works(token: str) -> bool:
    status = caller(token).get(TOKENS).status_code
    assert status in {200, 401}
    return status == 200


def in_browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- Issued, stored, listed


@pytest.mark.usefixtures("owner")
def test_a_user_has_several_tokens_with_names_and_ends() -> None:
    phone, laptop = sign_in(name="phone").json(), sign_in(name="laptop").json()

    listed = caller(phone["token"]).get(TOKENS).json()["results"]

    assert [(each["id"], each["name"]) for each in listed] == [
        (laptop["id"], "laptop"),
        (phone["id"], "phone"),
    ]
    assert works(phone["token"])
    assert works(laptop["token"])
    for each in listed:
        assert set(each) == {"id", "name", "created_at", "expires_at", "last_used_at"}
        life = datetime.fromisoformat(each["expires_at"]) - datetime.fromisoformat(
            each["created_at"]
        )
        assert life == timedelta(days=90)
    assert [bool(each["last_used_at"]) for each in listed] == [False, True]


@pytest.mark.usefixtures("owner")
def test_what_the_database_holds_of_a_token_is_no_token() -> None:
    token = sign_in().json()["token"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT token::text FROM web_apitoken token")
        stored = " ".join(row for (row,) in cursor.fetchall())

    stolen = list(ApiToken.objects.values_list("digest", flat=True))

    assert token not in stored
    assert token.removeprefix(api_tokens.PREFIX) not in stored
    assert not [digest for digest in stolen if works(digest) or works(f"api_{digest}")]
    assert works(token)


@pytest.mark.usefixtures("owner")
def test_beyond_a_number_of_tokens_the_one_that_was_longest_unused_goes(settings: Any) -> None:
    lifetime = timedelta(days=1)
    user = User.objects.get()
    forever = api_tokens.issue(user, name="", lifetime=None)
    issued = [
        api_tokens.issue(user, name="", lifetime=lifetime)
        for _ in range(api_tokens.EXPIRING_PER_USER_MAX)
    ]
    tokens = [each.token for each in issued if each]
    ApiToken.objects.update(created_at=F("created_at") - timedelta(hours=2))
    assert works(tokens[0])  # the first one issued is used last

    newest = sign_in().json()["token"]

    assert [works(token) for token in tokens] == [True, False, *[True] * 18]
    assert works(newest)
    assert forever is not None
    assert works(forever.token)


def test_a_token_that_has_expired_goes_before_any_that_is_valid(owner: User) -> None:
    lifetime = timedelta(days=1)
    issued = [
        api_tokens.issue(owner, name="", lifetime=lifetime)
        for _ in range(api_tokens.EXPIRING_PER_USER_MAX)
    ]
    expired, *valid = [each.token for each in issued if each]
    assert works(expired)  # used after all others were
    earlier = {name: F(name) - timedelta(days=2) for name in ("created_at", "expires_at")}
    ApiToken.objects.filter(digest=api_tokens.digest(expired)).update(**earlier)

    api_tokens.issue(owner, name="", lifetime=lifetime)

    assert all(works(token) for token in valid)
    assert ApiToken.objects.count() == api_tokens.EXPIRING_PER_USER_MAX


def test_a_sign_in_takes_no_token_from_another_user(owner: User) -> None:
    lifetime = timedelta(days=1)
    for _ in range(api_tokens.EXPIRING_PER_USER_MAX):
        api_tokens.issue(owner, name="", lifetime=lifetime)

    api_tokens.issue(User.objects.create_user("another"), name="", lifetime=lifetime)

    assert ApiToken.objects.filter(user=owner).count() == api_tokens.EXPIRING_PER_USER_MAX


@pytest.mark.django_db(transaction=True)
def test_the_number_of_tokens_is_exact_however_many_sign_in_at_once() -> None:
    user = User.objects.create_user("owner", password=PASSWORD)
    lifetime = timedelta(days=1)
    for _ in range(api_tokens.EXPIRING_PER_USER_MAX):
        api_tokens.issue(user, name="", lifetime=lifetime)

    together(8, lambda _: api_tokens.issue(user, name="new", lifetime=lifetime))

    assert ApiToken.objects.count() == api_tokens.EXPIRING_PER_USER_MAX
    assert ApiToken.objects.filter(name="new").count() == 8


# --- One statement, and the use


def statements(client: APIClient, path: str = TOKENS) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def test_a_token_costs_one_statement_and_its_use_is_noted_once_an_hour(owner: User) -> None:
    client = caller(sign_in().json()["token"])
    path = "/api/v1/accounts/"

    first, second = statements(client, path), statements(client, path)
    ApiToken.objects.update(last_used_at=F("last_used_at") - timedelta(minutes=61))
    an_hour_later = statements(client, path)

    assert len(second) == 2  # whose token it is, and the accounts
    assert [len(first), len(an_hour_later)] == [5, 5]  # a savepoint here, a transaction elsewhere
    assert [sql for sql in second if sql.startswith(("UPDATE", "INSERT", "SAVEPOINT"))] == []


def test_of_two_requests_at_once_one_notes_the_use(owner: User) -> None:
    api_tokens.issue(owner, name="", lifetime=None)
    token = ApiToken.objects.get()
    api_tokens.note_use(token.pk)
    ApiToken.objects.update(last_used_at=F("last_used_at") - timedelta(minutes=1))
    first = ApiToken.objects.get().last_used_at

    api_tokens.note_use(token.pk)

    assert ApiToken.objects.get().last_used_at == first


@pytest.mark.django_db(transaction=True)
def test_where_nothing_can_be_written_a_token_works_and_its_use_is_not_noted() -> None:
    User.objects.create_user("owner", password=PASSWORD)
    token = sign_in().json()["token"]

    with read_only():
        assert works(token)

    assert ApiToken.objects.get().last_used_at is None
    assert works(token)
    assert ApiToken.objects.get().last_used_at is not None


def noted_uses(token_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(api_tokens.NOTE_USE, {"id": token_id})
        return int(cursor.rowcount)


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_being_changed_elsewhere_holds_no_request_up() -> None:
    user = User.objects.create_user("owner", password=PASSWORD)
    token = sign_in().json()["token"]

    with transaction.atomic():
        ApiToken.objects.select_for_update().get()
        (found,) = together(1, lambda _: api_tokens.authenticate(token))
        (noted,) = together(1, lambda _: noted_uses(found[1]))  # an error if it waited

    assert found[0] == user
    assert noted == 0
    assert ApiToken.objects.get().last_used_at is None


def test_the_user_of_a_token_is_the_same_as_djangos_own(owner: User) -> None:
    found = api_tokens.authenticate(api_token_of(owner))

    assert found is not None
    loaded = User.objects.get()
    for field in User._meta.concrete_fields:
        assert getattr(found[0], field.attname) == getattr(loaded, field.attname)
    assert found[0]._state.db == loaded._state.db
    assert not found[0]._state.adding


# --- The end


@pytest.mark.parametrize("hours", [-1000, 1000])
def test_the_databases_clock_alone_decides_when_a_token_ends(
    hours: int, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived, lives = (api_tokens.issue(owner, name="", lifetime=timedelta(hours=2)) for _ in range(2))
    assert lived is not None
    assert lives is not None
    earlier = {name: F(name) - timedelta(hours=3) for name in ("created_at", "expires_at")}
    ApiToken.objects.filter(pk=lived.id).update(**earlier)
    skewed = datetime.now(UTC) + timedelta(hours=hours)

    monkeypatch.setattr(timezone, "now", lambda: skewed)

    signed_in = sign_in()
    assert signed_in.status_code == 200
    assert abs(datetime.fromisoformat(signed_in.json()["expires_at"]) - skewed) > timedelta(days=40)
    assert works(signed_in.json()["token"])
    assert works(lives.token)
    assert not works(lived.token)
    listed = caller(lives.token).get(TOKENS).json()["results"]
    assert lived.id not in [each["id"] for each in listed]


def test_an_inactive_users_token_is_refused_and_not_revoked(owner: User) -> None:
    token = sign_in().json()["token"]

    User.objects.update(is_active=False)
    refused = works(token)
    User.objects.update(is_active=True)

    assert not refused
    assert works(token)


def test_who_is_made_inactive_while_signing_in_gets_no_token(owner: User) -> None:
    User.objects.update(is_active=False)

    assert api_tokens.issue(owner, name="", lifetime=None) is None
    assert not ApiToken.objects.exists()


def test_a_call_revokes_once_also_the_token_in_use(owner: User) -> None:
    phone, laptop = sign_in().json(), sign_in().json()
    client = caller(laptop["token"])

    statuses = [client.delete(f"{TOKENS}{phone['id']}/").status_code for _ in range(2)]

    assert statuses == [204, 404]
    assert not works(phone["token"])
    assert client.delete(f"{TOKENS}{laptop['id']}/").status_code == 204
    assert not works(laptop["token"])


def test_nobody_sees_or_revokes_the_tokens_of_another(as_alice: APIClient, owner: User) -> None:
    token = sign_in().json()

    refused = as_alice.delete(f"{TOKENS}{token['id']}/")
    clicked = in_browser(User.objects.get(username="alice")).post(
        reverse("revoke-api-token", args=[token["id"]])
    )

    assert refused.status_code == 404
    assert clicked.status_code == 303
    assert works(token["token"])
    assert token["id"] not in [each["id"] for each in as_alice.get(TOKENS).json()["results"]]
    assert APIClient().get(TOKENS).status_code == 401
    assert APIClient().delete(f"{TOKENS}{token['id']}/").status_code == 401


def test_a_session_of_the_pages_revokes_over_the_api_with_its_csrf_token_only(owner: User) -> None:
    token = sign_in().json()
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)

    assert client.delete(f"{TOKENS}{token['id']}/").status_code == 403
    assert works(token["token"])


def test_a_click_on_the_page_revokes_and_a_second_one_changes_nothing(owner: User) -> None:
    token = sign_in(name="<b>phone</b>").json()
    client = in_browser(owner)
    url = reverse("revoke-api-token", args=[token["id"]])
    shown = client.get("/account/").text

    clicks = [client.post(url) for _ in range(2)]

    assert "&lt;b&gt;phone" in shown
    assert token["token"] not in shown
    assert url in shown
    assert [(each.status_code, each["Location"]) for each in clicks] == [
        (303, "/account/?note=revoked")
    ] * 2
    assert not works(token["token"])
    assert "is revoked" in client.get(clicks[0]["Location"]).text


def test_the_page_asks_for_a_session_and_its_form_for_a_csrf_token(owner: User) -> None:
    token = sign_in().json()
    url = reverse("revoke-api-token", args=[token["id"]])
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)

    assert Client().get("/account/")["Location"] == "/sign-in/?next=/account/"
    assert Client().post(url).status_code == 302
    assert client.post(url).status_code == 403
    assert client.get(url).status_code == 405
    assert works(token["token"])


def test_staff_who_may_delete_tokens_revoke_in_the_admin_and_nobody_else(owner: User) -> None:
    token = sign_in().json()
    clerk = User.objects.create_user("clerk", is_staff=True)
    may_view = Permission.objects.get(codename="view_apitoken")
    clerk.user_permissions.add(may_view)
    changelist = reverse("admin:web_apitoken_changelist")
    selected = {"action": "delete_selected", "_selected_action": [token["id"]], "post": "yes"}

    shown = in_browser(clerk).get(changelist)
    in_browser(clerk).post(changelist, selected)
    still_works = works(token["token"])
    forbidden = in_browser(clerk).post(reverse("admin:web_apitoken_delete", args=[token["id"]]))
    clerk.user_permissions.add(Permission.objects.get(codename="delete_apitoken"))
    revoked = in_browser(clerk).post(changelist, selected)

    assert shown.status_code == 200
    digest = api_tokens.digest(token["token"])
    assert digest not in shown.text
    assert digest not in in_browser(owner).get(f"{changelist}{token['id']}/change/").text
    assert still_works
    assert forbidden.status_code == 403
    assert revoked.status_code == 302
    assert not works(token["token"])
    assert in_browser(owner).get(reverse("admin:web_apitoken_add")).status_code == 403


def test_a_user_with_tokens_can_be_deleted_in_the_admin(owner: User) -> None:
    customer = User.objects.create_user("customer")
    api_token_of(customer)
    url = reverse("admin:auth_user_delete", args=[customer.pk])

    in_browser(owner).post(url, {"post": "yes"})

    assert not User.objects.filter(username="customer").exists()


# --- A new password


def on_the_page(user: User) -> None:
    form = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
    client = in_browser(user)
    changed = client.post(reverse("change-password"), form)
    assert (changed.status_code, changed["Location"]) == (303, "/account/?note=password")
    assert client.get("/account/").status_code == 200  # this session goes on


def on_the_admins_page_of_ones_own(user: User) -> None:
    form = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
    assert in_browser(user).post(reverse("admin:password_change"), form).status_code == 302


def in_the_admin(user: User) -> None:
    boss = User.objects.create_superuser("boss")
    form = {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    assert in_browser(boss).post(url, form).status_code == 302


def disabled_in_the_admin(user: User) -> None:
    boss = User.objects.create_superuser("boss")
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    form = {"usable_password": "false", "unset-password": "1"}
    assert in_browser(boss).post(url, form).status_code == 302


def by_the_command(user: User) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("getpass.getpass", lambda **_: OTHER)
        call_command("changepassword", user.username, stdout=io.StringIO())


def in_the_shell(user: User) -> None:
    user.set_password(OTHER)
    user.save(update_fields=["password"])


def by_a_hash_of_another_password(user: User) -> None:
    user.password = make_password(OTHER)
    user.save(update_fields=["password"])


def by_an_update(user: User) -> None:
    User.objects.filter(pk=user.pk).update(password=make_password(OTHER))


def in_psql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET password = '!' WHERE id = %s", [user.pk])


WAYS = (
    on_the_page,
    on_the_admins_page_of_ones_own,
    in_the_admin,
    disabled_in_the_admin,
    by_the_command,
    in_the_shell,
    by_a_hash_of_another_password,
    by_an_update,
    in_psql,
)


@pytest.mark.parametrize("change", WAYS, ids=lambda way: way.__name__)
def test_a_new_password_revokes_all_tokens_of_its_user_and_no_other(
    change: Callable[[User], None], owner: User, alice: User
) -> None:
    tokens = [sign_in().json()["token"], api_token_of(owner)]
    of_alice = api_token_of(alice)

    change(owner)

    assert not User.objects.get(pk=owner.pk).check_password(PASSWORD)
    assert [works(token) for token in tokens] == [False, False]
    assert works(of_alice)


@pytest.mark.parametrize(
    "change", [in_the_shell, by_an_update, on_the_page], ids=lambda way: way.__name__
)
def test_a_new_password_and_the_end_of_the_tokens_are_one_commit(
    change: Callable[[User], None], owner: User
) -> None:
    token = sign_in().json()["token"]

    with transaction.atomic():
        change(owner)
        assert not works(token)
        transaction.set_rollback(True)

    assert User.objects.get().check_password(PASSWORD)
    assert works(token)


def test_a_refused_change_of_the_password_revokes_nothing(owner: User) -> None:
    token = sign_in().json()["token"]
    form = {"old_password": "wrong", "new_password1": OTHER, "new_password2": OTHER}

    page = in_browser(owner).post(reverse("change-password"), form)

    assert page.status_code == 200
    assert 'role="alert"' in page.text
    assert works(token)


def test_tries_of_the_old_password_are_counted_as_attempts_to_sign_in(
    owner: User, settings: Any
) -> None:
    settings.SIGN_IN_RATE = (2, 10**9)
    client, form = in_browser(owner), {"old_password": "wrong"}

    tried = [client.post(reverse("change-password"), form) for _ in range(3)]

    assert [response.status_code for response in tried] == [200, 200, 429]
    assert int(tried[2]["Retry-After"]) > 0
    assert sign_in().status_code == 429


WEAK, STRONG = (f"django.contrib.auth.hashers.{name}PasswordHasher" for name in ("MD5", "PBKDF2"))


@pytest.mark.parametrize("sign", ["api", "page"])
def test_a_stronger_hash_of_the_same_password_revokes_nothing(
    sign: str, owner: User, settings: Any
) -> None:
    User.objects.create_user("another")  # without a password
    User.objects.filter(pk=owner.pk).update(first_name="Olga")  # now hers is not the first row
    token = sign_in().json()["token"]
    settings.PASSWORD_HASHERS = [STRONG, WEAK]
    form = {"username": "owner", "password": PASSWORD}

    if sign == "api":
        assert sign_in().status_code == 200
    else:
        assert Client().post("/sign-in/", form).status_code == 302

    owner.refresh_from_db()
    assert owner.password.startswith("pbkdf2_sha256$")
    assert works(token)
    in_the_shell(owner)
    assert not works(token)


def test_another_password_revokes_also_where_the_hash_was_weak(owner: User, settings: Any) -> None:
    token = sign_in().json()["token"]
    settings.PASSWORD_HASHERS = [STRONG, WEAK]

    in_the_shell(owner)

    assert not works(token)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["the change", "the sign-in"])
def test_a_sign_in_with_the_old_password_gets_no_token_that_outlives_it(first: str) -> None:
    User.objects.create_user("owner", password=PASSWORD)
    checked = User.objects.get()  # whose password was right a moment ago

    if first == "the change":
        in_the_shell(User.objects.get())
        issued = api_tokens.issue(checked, name="", lifetime=timedelta(days=1))
        assert issued is None
    else:
        api_tokens.issue(checked, name="", lifetime=timedelta(days=1))
        in_the_shell(User.objects.get())

    assert not ApiToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_sign_ins_and_a_change_at_the_same_instant_no_old_token_is_left() -> None:
    User.objects.create_user("owner", password=PASSWORD)
    users = [User.objects.get() for _ in range(8)]

    def act(number: int) -> Any:
        if number == 0:
            return in_the_shell(users[0])
        return api_tokens.issue(users[number], name="", lifetime=timedelta(days=1))

    for _ in range(5):
        together(8, act)
        assert not ApiToken.objects.exists()
        for user in users:
            user.refresh_from_db()


# --- Tokens from elsewhere


def test_tokens_of_the_earlier_version_work_on_until_their_password_is_changed(
    owner: User,
) -> None:
    call_command("migrate", "web", "0002", verbosity=0)
    key = "0123456789abcdef0123456789abcdef01234567"
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz NOT"
            " NULL, user_id integer UNIQUE NOT NULL REFERENCES auth_user)"
        )
        cursor.execute("INSERT INTO authtoken_token VALUES (%s, now(), %s)", [key, owner.pk])

    written = io.StringIO()
    call_command("migrate", "web", "0003", verbosity=0, stderr=written, skip_checks=False)

    assert "DROP TABLE authtoken_token" in written.getvalue()
    assert works(key)
    in_the_shell(owner)
    assert not works(key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM authtoken_token")
        assert cursor.fetchone() == (1,)  # it is the earlier version's
        cursor.execute("DROP TABLE authtoken_token")
    assert old_tokens(databases=["default"]) == []


def test_the_demos_tokens_are_the_same_each_time_and_stored_as_digests(db: None) -> None:
    printed = [user["token"] for user in seed()["users"]]
    for user in User.objects.filter(username="alice"):
        user.api_tokens.all().delete()

    assert [user["token"] for user in seed()["users"]] == printed
    assert all(works(token) for token in printed)
    assert not set(printed) & set(ApiToken.objects.values_list("digest", flat=True))


def test_the_demos_tokens_are_as_secret_as_its_password(db: None, settings: Any) -> None:
    before = [user["token"] for user in seed()["users"]]

    settings.DEMO_PASSWORD = "a password of one's own"
    after = [user["token"] for user in seed()["users"]]

    assert not set(before) & set(after)
    assert not [token for token in before if works(token)]


def created(*arguments: str) -> str:
    written = io.StringIO()
    call_command("create_api_token", *arguments, stdout=written)
    return written.getvalue().strip()


def test_the_command_prints_a_token_that_works_and_another_one_each_time(
    alice: User, owner: User
) -> None:
    relay, other = created("owner", "--name", "relay"), created("owner", "--days", "7")

    assert works(relay)
    assert works(other)
    assert set(ApiToken.objects.values_list("user", flat=True)) == {owner.pk}
    assert ApiToken.objects.get(expires_at=None).name == "relay"
    assert ApiToken.objects.get(expires_at__gt=timezone.now() + timedelta(days=6)).name == ""


def test_the_command_makes_no_token_for_nobody(owner: User) -> None:
    User.objects.update(is_active=False)

    for name in ("owner", "nobody"):
        with pytest.raises(CommandError, match=f"no active user '{name}'"):
            created(name)
    assert not ApiToken.objects.exists()
