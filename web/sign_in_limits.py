"""How often may be tried to sign in: nobody's attempts lock out who comes from elsewhere.

An attempt counts for its address, for the name from that address, and for the name from wherever
it is tried. From an address where the name has signed in before it does not count for the last,
from such a browser for neither: that has a count of its own.
"""

import re
import secrets
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from idempotency import rate_limit

ATTEMPTS_PER_ADDRESS = 5  # times the limit for one name from that address
ATTEMPTS_PER_NAME = 5  # times the same: one address alone never uses them up
ORIGINS_PER_USER_MAX = 20
ORIGIN_LIFETIME = timedelta(days=90)
DEVICE_COOKIE = "device"
_DEVICE = re.compile(r"[A-Za-z0-9_-]{43}")

KNOWN = """
SELECT digest FROM web_knownorigin
 WHERE digest = ANY(%(digests)s) AND seen_at > now() - %(lifetime)s
"""

REMEMBER = """
INSERT INTO web_knownorigin (user_id, digest)
SELECT %(user)s, unnest(%(digests)s::text[])
ON CONFLICT (digest) DO UPDATE SET seen_at = now()
"""

# Whoever signs in clears away what is too much of theirs, and what is too old of anybody's.
# SKIP LOCKED: nobody waits for another.
DELETE_SURPLUS = """
DELETE FROM web_knownorigin WHERE id IN (
    SELECT id FROM web_knownorigin WHERE user_id = %(user)s
     ORDER BY seen_at DESC, id DESC OFFSET %(keep)s FOR UPDATE SKIP LOCKED)
"""
DELETE_OLD = """
DELETE FROM web_knownorigin WHERE id IN (
    SELECT id FROM web_knownorigin WHERE seen_at < now() - %(lifetime)s
     LIMIT 100 FOR UPDATE SKIP LOCKED)
"""

# An attempt makes three counters at most and deletes more: made-up names don't pile up.
DELETE_FINISHED_COUNTERS = """
DELETE FROM idempotency_ratecount WHERE subject IN (
    SELECT subject FROM idempotency_ratecount WHERE ends_at < now()
     ORDER BY ends_at LIMIT 10 FOR UPDATE SKIP LOCKED)
"""


def count_attempt(request: HttpRequest | Request, username: str) -> None:
    """Count an attempt to sign in under a name, from an address and a browser.

    :raises idempotency.errors.RateLimited: there were too many recently
    """
    limit, seconds = settings.SIGN_IN_RATE
    name, address, device = username.lower(), _address_of(request), _device_of(request)
    from_device, from_address = _origin(name, "device", device), _origin(name, "address", address)
    known = _known(from_device, from_address)
    if from_device in known:
        rate_limit.count(f"sign-in-device:{from_device}", limit=limit, seconds=seconds)
        return
    # The address first: past its limit, made-up names make no counters.
    counters = [
        (f"sign-in-address:{address}", ATTEMPTS_PER_ADDRESS * limit),
        (f"sign-in:{address}:{name}", limit),
    ]
    if from_address not in known:
        counters.append((f"sign-in-name:{name}", ATTEMPTS_PER_NAME * limit))
    for subject, attempts in counters:
        rate_limit.count(subject, limit=attempts, seconds=seconds)
    with connection.cursor() as cursor:
        cursor.execute(DELETE_FINISHED_COUNTERS)


def remember(
    request: HttpRequest | Request, user: User, response: HttpResponseBase | None = None
) -> None:
    """Remember from where a user has signed in; a repeated call refreshes it.

    :param response: what goes to a browser, which then gets a cookie
    """
    name = user.get_username().lower()
    digests = [_origin(name, "address", _address_of(request))]
    if response is not None:
        device = _device_of(request) or secrets.token_urlsafe(32)
        digests.append(_origin(name, "device", device))
        _set_cookie(response, device)
    values: dict[str, Any] = {
        "user": user.pk,
        "digests": digests,
        "keep": ORIGINS_PER_USER_MAX,
        "lifetime": ORIGIN_LIFETIME,
    }
    with connection.cursor() as cursor:
        for statement in (REMEMBER, DELETE_SURPLUS, DELETE_OLD):
            cursor.execute(statement, values)


def _known(*origins: str) -> set[str]:
    """Return which of some origins have been signed in from. The name need not be a user's."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"digests": list(origins), "lifetime": ORIGIN_LIFETIME}
        cursor.execute(KNOWN, values)
        return {digest for (digest,) in cursor.fetchall()}


def _origin(name: str, kind: str, value: str) -> str:
    """Return what the database stores of an origin: nobody can derive an address from it."""
    message = f"{kind}:{value}|{name}"
    return salted_hmac("web.sign_in_limits", message, algorithm="sha256").hexdigest()


def _address_of(request: HttpRequest | Request) -> str:
    """Return the client's address; of IPv6 its network, which one customer has as a whole."""
    text: str = request.META.get("REMOTE_ADDR", "")
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return text if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def _device_of(request: HttpRequest | Request) -> str:
    sent: str = request.COOKIES.get(DEVICE_COOKIE, "")
    return sent if _DEVICE.fullmatch(sent) else ""


def _set_cookie(response: HttpResponseBase, device: str) -> None:
    response.set_cookie(
        DEVICE_COOKIE,
        device,
        max_age=ORIGIN_LIFETIME,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
