"""What identifies a duplicate: the Idempotency-Key header and the request's fingerprint."""

import hashlib
import json
import re
from typing import Any

from rest_framework.exceptions import NotAuthenticated, ParseError
from rest_framework.request import Request

from idempotency.errors import KeyInvalid, KeyMissing

FINGERPRINT_VERSION = 1
DEFAULT_WAIT_SECONDS = 5
MAX_WAIT_SECONDS = 30

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)


def read_key(request: Request) -> str:
    """Return the key of a request, quoted (RFC 9651 string) or bare, in its bare form.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.1.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        raise KeyMissing
    return checked(_unquote(header.strip()))


def checked(key: str) -> str:
    """Return what can be a key, as it is.

    :raises KeyInvalid: it can't
    """
    if not _KEY.fullmatch(key):
        raise KeyInvalid
    return key


def digest(key: str) -> str:
    """Return what logs may know of a key: enough to find it by, not enough to send it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _unquote(header: str) -> str:
    if not header.startswith('"'):
        return header
    quoted = _QUOTED.fullmatch(header)
    if quoted is None:
        raise KeyInvalid
    return re.sub(r"\\(.)", r"\1", quoted[1])


def caller_of(request: Request) -> int:
    """Return who the key belongs to; the view has authenticated the request before."""
    if request.user.pk is None:
        raise NotAuthenticated
    return request.user.pk


def read_wait(request: Request) -> int:
    """Return how many seconds a duplicate may wait for the first (RFC 7240, `Prefer: wait`)."""
    preferred = preferred_wait(request)
    return DEFAULT_WAIT_SECONDS if preferred is None else preferred


def preferred_wait(request: Request) -> int | None:
    """Return how many seconds the caller is ready to wait; None: no preference."""
    preference = _WAIT.search(request.headers.get("Prefer", ""))
    return None if preference is None else min(int(preference[1]), MAX_WAIT_SECONDS)


def fingerprint(method: str | None, path: str, body: Any) -> str:
    """Return a digest that is equal for requests for the same thing.

    Method, path and parsed body count; member order, white space and the spelling of numbers
    do not.
    """
    try:
        content = json.dumps([method, path, _canonical(body)], sort_keys=True)
    except RecursionError as error:
        raise ParseError("JSON parse error - nested too deeply") from error
    return hashlib.sha256(content.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _canonical(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_canonical(member) for member in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
