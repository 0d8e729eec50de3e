"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header) and `Prefer: wait`."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from django.http.request import HttpHeaders

from idempotency.conf import conf
from idempotency.errors import KeyInvalid

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)


class HasHeaders(Protocol):
    """A request, Django's or DRF's."""

    @property
    def META(self) -> Any: ...  # noqa: N802 - the name is Django's


def read_key(request: HasHeaders) -> str | None:
    """Return the key of a request, quoted (RFC 9651 string) or bare, in its bare form; None: none.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.1.

    :raises KeyInvalid: this is no key
    """
    header = _header(request, conf().KEY_HEADER)
    return None if header is None else checked(_unquote(header.strip()))


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


def made_at(key: str) -> datetime | None:
    """Return when a UUIDv7 key was made, as it says itself (RFC 9562, section 5.7), or None."""
    try:
        number = UUID(key)
    except ValueError:
        return None
    return moment(number.int >> 80) if number.version == 7 else None


def moment(milliseconds: int) -> datetime | None:
    """Return the time so long after 1970, or None where that is no time, as in the year 10000."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError):
        return None


def identity(scope: str, key: str) -> bytes:
    """Return what a key of a scope is stored under: equal keys of two scopes differ."""
    return hashlib.sha256(f"{len(scope)}:{scope}{key}".encode()).digest()


def read_wait(request: HasHeaders) -> int:
    """Return how many seconds a duplicate may wait for the first (RFC 7240, `Prefer: wait`)."""
    preferred = preferred_wait(request)
    return conf().WAIT_SECONDS if preferred is None else preferred


def preferred_wait(request: HasHeaders) -> int | None:
    """Return how many seconds the caller is ready to wait; None: no preference."""
    preference = _WAIT.search(_header(request, "Prefer") or "")
    return None if preference is None else min(int(preference[1]), conf().WAIT_SECONDS_MAX)


def _header(request: HasHeaders, name: str) -> str | None:
    """Return a header's value; `request.headers` would name all of them anew."""
    value: str | None = request.META.get(HttpHeaders.to_wsgi_name(name))
    return value


def _unquote(header: str) -> str:
    if not header.startswith('"'):
        return header
    quoted = _QUOTED.fullmatch(header)
    if quoted is None:
        raise KeyInvalid
    return re.sub(r"\\(.)", r"\1", quoted[1])
