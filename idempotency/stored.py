"""A response as the dedup table stores it, and as it is replayed."""

import json
from typing import Any, NamedTuple

from django.http import HttpResponse
from django.http.response import HttpResponseBase

from idempotency import errors
from idempotency.conf import called, conf

NEVER_STORED = frozenset({"set-cookie", "content-type", "content-length"})


class Stored(NamedTuple):
    """What the dedup table holds under a key; without status and body it is a tombstone."""

    fingerprints: dict[int, str]  # by their version
    made_by: str
    is_retained: bool
    status: int | None
    content_type: str
    headers: str
    body: bytes | None


def rendered(response: HttpResponseBase) -> HttpResponse:
    """Return a view's response with its content made, so that what is stored is what is sent.

    :raises errors.Unstorable: it streams, or it is no response
    """
    if not isinstance(response, HttpResponse):
        kind = type(response).__name__
        raise errors.Unstorable(
            f"An idempotent view returned a {kind}, which can't be stored. Return an HttpResponse "
            "with all of its content; stream a file from another, safe URL."
        )
    if callable(render := getattr(response, "render", None)):
        render()
    return response


def columns_of(response: HttpResponse) -> dict[str, Any]:
    """Return what is stored of a rendered response.

    :raises errors.Unstorable: its body is larger than RESPONSE_BYTES_MAX
    """
    body, content_type = response.content, response.get("Content-Type", "")
    if redact := called(conf().REDACT):
        body = redact(body, content_type)
    if len(body) > (most := conf().RESPONSE_BYTES_MAX):
        raise errors.Unstorable(
            f"An idempotent view returned {len(body):,} bytes, more than the {most:,} that "
            "IDEMPOTENCY['RESPONSE_BYTES_MAX'] allows. Nothing was committed."
        )
    names = [name for name in conf().STORED_HEADERS if name.lower() not in NEVER_STORED]
    return {
        "status": response.status_code,
        "content_type": content_type,
        "headers": json.dumps({name: response[name] for name in names if name in response}),
        "body": body,
    }


def replay(stored: Stored) -> HttpResponse:
    """Return a stored response, which is no tombstone, again: byte for byte, marked as a replay.

    :raises errors.RecordUnreadable: it makes no sense
    """
    assert stored.body is not None
    body = bytes(stored.body)
    is_json = stored.content_type.split(";")[0] == "application/json"
    if body and is_json and not _parses(body):
        raise errors.RecordUnreadable
    headers = {**json.loads(stored.headers), conf().REPLAYED_HEADER: "true"}
    response = HttpResponse(body, status=stored.status, headers=headers)
    if stored.content_type:
        response["Content-Type"] = stored.content_type
    else:
        del response["Content-Type"]
    return response


def _parses(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
