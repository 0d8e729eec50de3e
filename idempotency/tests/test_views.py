"""Views of every kind, requests of every kind, responses of every kind: once, then replayed."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from idempotency import idempotent
from idempotency.errors import Unstorable
from idempotency.models import Record
from idempotency.tests.conftest import charges, signed_in
from idempotency.tests.project.models import User

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = ["/rest/", "/set/", "/function/", "/plain/", "/plain_json/", "/class/7/", "/binary/"]


def post(client: Client, path: str, key: str | None = "k", **more: Any) -> Any:
    headers = more.pop("headers", {}) | ({"Idempotency-Key": key} if key else {})
    more = {"data": {"amount": 1}, "content_type": "application/json"} | more
    return client.post(path, headers=headers, **more)


@pytest.mark.parametrize("path", KINDS)
def test_a_view_of_any_kind_runs_once_and_is_replayed_byte_for_byte(
    path: str, client: Client
) -> None:
    first, retry = post(client, path), post(client, path)

    assert 200 <= first.status_code < 300
    assert (retry.status_code, retry.content) == (first.status_code, first.content)
    assert retry.get("Content-Type") == first.get("Content-Type")
    assert retry.get("Location") == first.get("Location")
    assert "Idempotent-Replayed" not in first
    assert retry["Idempotent-Replayed"] == "true"
    assert charges() == 1


def test_an_empty_response_is_stored_and_replayed(client: Client) -> None:
    first, retry = (client.delete("/rest/", headers={"Idempotency-Key": "k"}) for _ in range(2))

    assert (first.status_code, retry.status_code, retry.content) == (204, 204, b"")
    assert retry["Idempotent-Replayed"] == "true"
    assert charges() == 1


def test_a_cookie_is_never_replayed(client: Client) -> None:
    assert "secret" in post(client, "/plain_json/").cookies
    assert "secret" not in post(client, "/plain_json/").cookies


@pytest.mark.parametrize("path", ["/rest/", "/function/", "/plain/"])
def test_a_file_counts_by_its_content(path: str, client: Client) -> None:
    def send(content: bytes) -> Any:
        upload = SimpleUploadedFile("a.bin", content)
        return client.post(path, {"file": upload}, headers={"Idempotency-Key": "k"})

    assert send(b"one").status_code < 300
    assert send(b"one")["Idempotent-Replayed"] == "true"
    assert send(b"two").status_code == 422
    assert charges() == 1


@pytest.mark.parametrize(
    ("same", "other"),
    [
        ({"data": '{"b": 1.0, "a": [1]}', "content_type": "application/json"}, None),
        ({"data": {"amount": 2}, "content_type": "application/json"}, 422),
        ({"data": "raw", "content_type": "text/plain"}, 422),
        ({"data": None, "content_type": "application/json"}, 422),
    ],
)
def test_the_body_counts_and_its_spelling_does_not(
    same: dict[str, Any], other: int | None, client: Client
) -> None:
    first = {"data": '{"a":[1.0],"b":1}', "content_type": "application/json"}
    assert post(client, "/plain/", **first).status_code == 200

    duplicate = post(client, "/plain/", **same)

    assert duplicate.status_code == (other or 200)
    assert charges() == 1


def test_the_query_string_counts(client: Client) -> None:
    assert post(client, "/plain/?a=1&b=2").status_code == 200
    assert post(client, "/plain/?b=2&a=1")["Idempotent-Replayed"] == "true"
    assert post(client, "/plain/?a=1&b=3").status_code == 422


def test_a_fingerprint_of_the_views_own_decides_alone(client: Client) -> None:
    def send(amount: int, note: str) -> Any:
        form = {"amount": amount, "note": note}
        return client.post("/by_amount/", form, headers={"Idempotency-Key": "k"})

    assert send(1, "a").status_code == 200
    assert send(1, "b")["Idempotent-Replayed"] == "true"
    assert send(2, "a").status_code == 422
    assert Record.objects.get().fingerprint_by.endswith("views.only_the_amount")


def test_a_record_of_another_fingerprint_function_is_refused_and_never_run(client: Client) -> None:
    client.post("/by_amount/", {"amount": 1}, headers={"Idempotency-Key": "k"})
    refused = post(client, "/plain/", key="k")

    assert refused.status_code == 500
    assert refused.json()["type"] == "/problems/idempotency-record-unreadable"
    assert charges() == 1


@pytest.mark.parametrize("path", ["/streaming/", "/file/", "/large/"])
def test_what_cant_be_stored_is_an_error_that_says_so_and_charges_nothing(
    path: str, client: Client
) -> None:
    with pytest.raises(Unstorable, match=r"can't be stored|more than the"):
        post(client, path)

    assert charges() == 0
    assert not Record.objects.exists()


@pytest.mark.parametrize("path", ["/broken/", "/unavailable/"])
def test_a_failure_leaves_nothing_and_the_key_may_try_again(path: str, client: Client) -> None:
    client.raise_request_exception = False
    for _ in range(2):
        assert post(client, path).status_code >= 500
    assert charges() == 0
    assert not Record.objects.exists()


@pytest.mark.parametrize("path", ["/rest/", "/function/", "/plain/"])
def test_without_a_key_a_request_is_refused_and_leaves_nothing(path: str, client: Client) -> None:
    for key in (None, "", "with space"):
        refused = post(
            client, path, headers={"Idempotency-Key": key} if key is not None else {}, key=None
        )
        assert refused.status_code == 400
    assert charges() == 0


def test_an_optional_key_protects_where_it_is_sent(client: Client) -> None:
    assert [post(client, "/optional/", key=None).content for _ in range(2)] == [b"1", b"2"]
    assert [post(client, "/optional/").content for _ in range(2)] == [b"3", b"3"]


def test_equal_keys_of_two_users_never_meet(client: Client) -> None:
    bob = signed_in(User.objects.create_user("bob"))
    post(client, "/plain/")

    assert "Idempotent-Replayed" not in post(bob, "/plain/")
    assert charges() == 2


def test_a_guest_has_a_scope_of_the_projects_choice() -> None:
    def send(guest: str) -> Any:
        return post(Client(), "/guest/", headers={"X-Guest": guest})

    assert send("1").content == b"1"
    assert send("1")["Idempotent-Replayed"] == "true"
    assert send("2").content == b"2"
    assert {record.scope for record in Record.objects.all()} == {"guest:1", "guest:2"}


@pytest.mark.parametrize(
    ("path", "status"), [("/plain/", 401), ("/rest/", 403), ("/function/", 403)]
)
def test_nobody_gets_no_replay(path: str, status: int, client: Client) -> None:
    post(client, path)
    assert post(Client(), path).status_code == status


def test_a_user_with_records_can_be_deleted_and_the_key_stays_used(
    client: Client, alice: User
) -> None:
    post(client, "/plain/")
    scope = f"user:{alice.pk}"

    alice.delete()

    assert Record.objects.get().scope == scope


def test_the_admins_page_of_a_record_opens(client: Client, alice: User) -> None:
    post(client, "/plain/")
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    record = Record.objects.get()

    for page in ("", f"{record.pk}/change/"):
        assert client.get(f"/admin/idempotency/record/{page}").status_code == 200
    assert client.get("/admin/idempotency/token/").status_code == 200


@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
def test_a_busy_key_is_409_with_retry_after(path: str, client: Client, alice: User) -> None:
    from django.db import connection

    from idempotency.claim import Claim

    other = connection.copy()
    with other.cursor() as cursor:
        lock = Claim(f"user:{alice.pk}", "k").key_lock
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock])
        busy = post(client, path, headers={"Prefer": "wait=0"})
    other.close()

    assert (busy.status_code, busy["Retry-After"]) == (409, "1")
    assert charges() == 0


def test_a_problem_of_a_plain_view_says_how_to_go_on(client: Client) -> None:
    post(client, "/plain/")
    refused = post(client, "/plain/?other")

    assert refused["Content-Type"] == "application/problem+json"
    assert refused["Link"] == '</problems/idempotency-key-reused>; rel="describedby"'
    assert json.loads(refused.content) == {
        "type": "/problems/idempotency-key-reused",
        "title": "Idempotency key reused",
        "status": 422,
        "detail": "This Idempotency-Key belongs to a different request. Use a new key.",
        "outcome": "none",
        "retryable": False,
        "same_key": False,
    }


def test_what_became_of_a_key_is_for_its_owner_alone(client: Client) -> None:
    assert client.get("/api/keys/k/").status_code == 404
    post(client, "/plain/")
    inquiry = client.get("/api/keys/k/").json()
    bob = signed_in(User.objects.create_user("bob"))

    assert (inquiry["state"], inquiry["status"]) == ("completed", 200)
    assert bob.get("/api/keys/k/").status_code == 404
    assert Client().get("/api/keys/k/").status_code == 403
    assert charges() == 1


def test_a_token_is_the_key_of_one_request(client: Client) -> None:
    token = client.post("/api/tokens/").json()["token"]

    assert post(client, "/plain/", key=token).status_code == 200
    assert post(client, "/plain/", key=token)["Idempotent-Replayed"] == "true"
    assert post(client, "/plain/", key="tok_made-up").status_code == 400


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (type("View", (), {}), "not the class"),
        (lambda: None, None),
    ],
)
def test_a_wrong_decoration_is_an_error_at_start(view: Any, says: str | None) -> None:
    if says is None:
        idempotent()(view)
        return
    with pytest.raises(TypeError, match=says):
        idempotent()(view)


def test_an_async_view_and_a_safe_method_are_refused_at_decoration() -> None:
    async def view(request: Any) -> None: ...

    def get(self: Any, request: Any) -> None: ...

    for wrong, says in ((view, "async"), (get, "safe")):
        with pytest.raises(TypeError, match=says):
            idempotent()(wrong)


def test_an_inquiry_is_a_get_that_nobody_stores(client: Client) -> None:
    post(client, "/plain/", key="k")

    response = client.get("/django/keys/k/")

    assert response.json()["state"] == "completed"
    assert "no-store" in response["Cache-Control"]
    assert client.post("/django/keys/k/").status_code == 405
    assert client.get("/django/tokens/").status_code == 405
