"""The claim that a request makes: whose key it is, what it is for, what it is about."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from idempotency import ahead, errors, keys
from idempotency.adapters import Adapter, adapter_of
from idempotency.claim import Claim
from idempotency.conf import called, conf
from idempotency.fingerprint import Content
from idempotency.scope import scope_of


def claim_by(
    adapter: Adapter,
    *,
    subject: str = "",
    scope: Callable[[Any], str] | str | None = None,
    fingerprint: Callable[[Any], Any] | str | None = None,
    using: str = "default",
) -> Claim:
    """Return the claim of a request that has a key.

    :raises errors.KeyMissing: it has none
    :raises errors.KeyInvalid: this is no key
    :raises errors.Unauthenticated: it has no scope
    """
    key = keys.read_key(adapter.http)
    if key is None:
        raise errors.KeyMissing
    owner = scope_of(adapter.request, scope)
    return Claim(
        scope=owner,
        key=key,
        content=_content(adapter, called(fingerprint)),
        subject=subject,
        request_id=request_id(adapter.http),
        using=using,
        rate=conf().EXECUTION_RATE,
        seen=ahead.seen(adapter.http, identity=keys.identity(owner, key), using=using),
    )


def claim_of(request: Any, *, subject: str = "") -> Claim:
    """Return the claim of a request, Django's or DRF's, as the decorator makes it.

    :raises errors.Refusal: as `claim_by`
    """
    return claim_by(adapter_of((request,), {}), subject=subject)


def claim_of_form(
    request: HttpRequest, key: str, *, path: str = "", body: Any = None, subject: str = ""
) -> Claim:
    """Return the claim of a form that carries its key.

    :param path: of the API's call which the form stands for: both are then one request, and each
        is a duplicate of the other; left out: the form's own
    :param body: what the form is for; left out: all of that is in its path
    :raises errors.KeyInvalid: this is no key
    :raises errors.Unauthenticated: nobody is signed in
    """
    content = Content(request.method or "", path or request.path, body=body or {})
    return Claim(
        scope=scope_of(request),
        key=keys.checked(key),
        content=content,
        subject=subject,
        request_id=request_id(request),
        rate=conf().EXECUTION_RATE,
    )


def request_id(request: HttpRequest) -> str:
    """Return what a project's middleware calls the request, or an empty text."""
    return str(getattr(request, "request_id", ""))[:128]


def _content(adapter: Adapter, own: Callable[[Any], Any] | None) -> Content:
    if own is None:
        return Content.of(adapter.http, adapter.body())
    return Content(body=own(adapter.request), by=f"{own.__module__}.{own.__qualname__}"[:255])
