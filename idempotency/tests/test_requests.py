"""What a request and a key may be, through the public interface."""

from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from django.utils.datastructures import MultiValueDict

from idempotency import fingerprint, idempotent
from idempotency.fingerprint import Content
from idempotency.tests.conftest import charges, signed_in
from idempotency.tests.project import views
from idempotency.tests.project.models import User
from idempotency.tests.support import age
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
@pytest.mark.parametrize(
    ("bare", "quoted"), [("k", '"k"'), ('a"b', r'"a\"b"'), ("a\\b", r'"a\\b"'), ("k", ' "k" ')]
)
def test_a_quoted_key_and_a_bare_one_are_the_same(
    bare: str, quoted: str, path: str, client: Client
) -> None:
    assert post(client, path, key=bare).status_code < 300
    assert post(client, path, key=quoted)["Idempotent-Replayed"] == "true"
    assert charges() == 1


@pytest.mark.parametrize("key", ['"', '"k', 'k"x" y', '"a\\c"', "k" * 256, "schlüssel", "a\tb"])
def test_what_is_no_key_is_refused_and_leaves_nothing(key: str, client: Client) -> None:
    assert post(client, "/plain/", key=key).status_code == 400
    assert charges() == 0


def test_a_rest_view_with_an_optional_key(client: Client) -> None:
    def put(**headers: str) -> Any:
        return client.put("/rest/", {}, content_type="application/json", headers=headers)

    key = {"Idempotency-Key": "k"}
    assert [put().json()["charges"] for _ in range(2)] == [1, 2]
    assert [put(**key).json()["charges"] for _ in range(2)] == [3, 3]


def test_equal_keys_of_two_users_of_a_rest_view_never_meet(client: Client) -> None:
    bob = signed_in(User.objects.create_user("bob"))
    post(client, "/rest/")

    assert "Idempotent-Replayed" not in post(bob, "/rest/")
    assert charges() == 2


def test_a_form_counts_by_its_values(client: Client) -> None:
    def send(form: str) -> Any:
        return post(client, "/plain/", data=form, content_type="application/x-www-form-urlencoded")

    assert send("a=1&b=2&b=3").status_code == 200
    assert send("b=2&b=3&a=1")["Idempotent-Replayed"] == "true"
    assert send("b=3&b=2&a=1").status_code == 422


@pytest.mark.parametrize("body", [b"", b"\x00\xff raw", b"{not json"])
def test_a_body_of_any_bytes(body: bytes, client: Client) -> None:
    kind = "application/json" if body.startswith(b"{") else "application/octet-stream"

    def send(data: bytes) -> Any:
        return client.generic("POST", "/plain/", data, kind, headers={"Idempotency-Key": "k"})

    assert send(body).status_code == 200
    assert send(body)["Idempotent-Replayed"] == "true"
    assert send(body + b".").status_code == 422


def test_a_file_is_the_views_to_read_after_it_was_counted(client: Client, settings: Any) -> None:
    large = b"0123456789" * 300_000  # above FILE_UPLOAD_MAX_MEMORY_SIZE: on disk

    def send() -> Any:
        file = BytesIO(large)
        file.name = "large.bin"
        return client.post("/reads_file/", {"file": file}, headers={"Idempotency-Key": "k"})

    settings.IDEMPOTENCY = {"RESPONSE_BYTES_MAX": len(large)}
    assert send().content == large
    assert send()["Idempotent-Replayed"] == "true"
    assert charges() == 1


def test_a_large_file_is_read_in_pieces() -> None:
    pieces: list[int] = []

    class Spied(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            pieces.append(len(piece))
            return piece

    upload = TemporaryUploadedFile("large.bin", "application/octet-stream", 10_000_000, None)
    upload.file = Spied(b"x" * 10_000_000)
    files = MultiValueDict({"file": [upload]})

    assert fingerprint.compute(Content("POST", "/", body=[files]))
    assert sum(pieces) == 10_000_000
    assert max(pieces) <= upload.DEFAULT_CHUNK_SIZE


def test_a_fingerprint_of_an_unknown_version_is_refused_and_never_run(client: Client) -> None:
    post(client, "/plain/")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE idempotency_record SET fingerprint_version = 99")

    refused = post(client, "/plain/")

    assert (refused.status_code, refused.json()["outcome"]) == (500, "unknown")
    assert refused.json()["type"] == "/problems/idempotency-record-unreadable"
    assert charges() == 1


@pytest.mark.parametrize("path", ["/plain_json/", "/rest/"])
def test_a_body_that_is_nested_too_deeply_is_refused_and_leaves_nothing(
    path: str, client: Client
) -> None:
    def send(body: str) -> int:
        headers = {"Idempotency-Key": "k"}
        return client.post(path, body, content_type="application/json", headers=headers).status_code

    deep = "[" * 600 + "]" * 600
    assert send(deep) == 400
    assert charges() == 0
    assert send("{}") == 201
    assert send(deep) == 400, "compared with the stored fingerprint"
    assert charges() == 1


@pytest.mark.parametrize("path", ["/api/keys/k/", "/django/keys/k/"])
def test_an_inquiry_says_what_became_of_a_key(
    path: str, client: Client, alice: User, hold: Any
) -> None:
    assert client.get(path).status_code == 404
    with hold(f"user:{alice.pk}"):
        assert client.get(path).json() == {"state": "in_flight"}
    assert client.get(path).status_code == 404

    post(client, "/plain/")
    completed = client.get(path).json()
    assert (completed["state"], completed["status"]) == ("completed", 200)
    assert completed["completed_at"].startswith(str(timezone.now().year))

    age(31)
    assert client.get(path).json() == {"state": "expired"}
    assert charges() == 1


@pytest.mark.parametrize("path", ["/api/keys", "/django/keys"])
@pytest.mark.parametrize("key", ["a/b", "a/", "a?b#c%", "k/./../k"])
def test_any_key_can_be_asked_for(key: str, path: str, client: Client) -> None:
    post(client, "/plain/", key=key)
    assert client.get(f"{path}/{quote(key, safe='')}/").json()["state"] == "completed"
    assert client.get(f"{path}/other/").status_code == 404


@pytest.mark.parametrize("path", ["/api/keys/k/", "/django/keys/k/"])
def test_an_inquiry_is_never_about_anothers_key(path: str, client: Client) -> None:
    post(client, "/plain/")
    bob = signed_in(User.objects.create_user("bob"))

    assert bob.get(path).status_code == 404
    assert Client().get(path).status_code in {401, 403}


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (views.rest_function, "below @api_view"),
        (views.RestView.as_view(), "below @api_view"),
        (views.ClassBased.as_view(), "on the class's method"),
        (views.RestView, "not the class"),
    ],
)
def test_a_whole_view_is_refused_at_decoration(view: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        idempotent()(view)


def test_a_function_that_takes_no_request_says_so_when_it_is_called() -> None:
    @idempotent()
    def task(number: int) -> None: ...

    with pytest.raises(TypeError, match="takes the request as its first argument"):
        task(1)
