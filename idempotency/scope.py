"""Who a key belongs to: a text, by default the authenticated user."""

import hashlib
from collections.abc import Callable
from typing import Any

from idempotency.conf import called, conf
from idempotency.errors import Unauthenticated

CHARACTERS_MAX = 255


def scope_of(request: Any, own: Callable[[Any], str] | str | None = None) -> str:
    """Return the scope of a request's key.

    :param own: the view's callable, or its dotted name; else the setting SCOPE, else the user
    :raises errors.Unauthenticated: it has none
    """
    chosen = called(own) or called(conf().SCOPE) or of_user
    scope = chosen(request)
    if not scope:
        raise Unauthenticated
    if len(scope) > CHARACTERS_MAX:
        scope = f"{scope[:190]}#{hashlib.sha256(scope.encode()).hexdigest()}"
    return scope


def of_user(request: Any) -> str:
    """Return `user:<pk>` of the authenticated user, or an empty text."""
    user = getattr(request, "user", None)
    return "" if user is None or user.pk is None else f"user:{user.pk}"
