"""Reading the Idempotency-Key, the Prefer header and the fingerprint of a request."""

import json
from typing import Any

import pytest
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from idempotency.errors import KeyInvalid
from idempotency.fingerprint import Content, compute
from idempotency.keys import read_key, read_wait


def request(body: Any = None, path: str = "/pay/", method: str = "POST", **headers: str) -> Request:
    raw = body if isinstance(body, str) else json.dumps(body)
    made = APIRequestFactory().generic(
        method, path, raw, content_type="application/json", headers=headers
    )
    return Request(made, parsers=[JSONParser()])


def fingerprint(made: Request) -> str:
    (only,) = compute(Content(made.method or "", made.path, body=made.data)).values()
    return only


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("  abc ", "abc"),
        ("!#~", "!#~"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('a"b', 'a"b'),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_the_same_quoted_and_bare(header: str, key: str) -> None:
    assert read_key(request(**{"Idempotency-Key": header})) == key


@pytest.mark.parametrize(
    "header", ["", '""', "x" * 256, "a b", '"a b"', '"abc', '"a"b"', r'"a\b"', "schlüssel", "a\tb"]
)
def test_a_key_that_is_not_1_to_255_visible_characters_is_invalid(header: str) -> None:
    with pytest.raises(KeyInvalid):
        read_key(request(**{"Idempotency-Key": header}))


def test_a_request_without_a_key_has_none() -> None:
    assert read_key(request()) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 5),
        ("wait=0", 0),
        ("wait=12", 12),
        ("wait=31", 30),
        ("WAIT = 7", 7),
        ('wait="3"', 3),
        ("respond-async, wait=4", 4),
        ("respond-async; foo=1, wait=4; bar", 4),
        ("wait=soon", 5),
        ("wait=-1", 5),
        ("nowait=3", 5),
        ("wait=" + "9" * 50, 5),
    ],
)
def test_prefer_wait_says_how_long_a_retry_waits(header: str, seconds: int) -> None:
    assert read_wait(request(Prefer=header)) == seconds


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [2]}', '{"b":[2],\n "a":1}'),
        ('{"a": 100}', '{"a": 1e2}'),
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 0.5}', '{"a": 5e-1}'),
        ('{"a": "é"}', '{"a": "\\u00e9"}'),
        ('{"a": 0}', '{"a": -0.0}'),
    ],
)
def test_spelling_does_not_change_a_fingerprint(one: str, other: str) -> None:
    assert fingerprint(request(one)) == fingerprint(request(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (request({"a": 1}), request({"a": 2})),
        (request({"a": 1}), request({"a": "1"})),
        (request({"a": 1}), request({"a": True})),
        (request({"a": None}), request({})),
        (request({"a": [1, 2]}), request({"a": [2, 1]})),
        (request({"a": 1}), request({"a": 1.5})),
        (request({"a": 1}), request({"a": 1}, path="/refund/")),
        (request({"a": 1}), request({"a": 1}, method="PUT")),
    ],
)
def test_another_wish_has_another_fingerprint(one: Request, other: Request) -> None:
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("body", ['{"a": 1e400}', '{"a": "\\ud800"}', '{"a": "\\u0000"}'])
def test_any_json_has_a_fingerprint(body: str) -> None:
    assert len(fingerprint(request(body))) == 64
