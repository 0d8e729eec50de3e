"""Ready-made views: issue a token, and inquire what became of a key. Plain Django, JSON."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from idempotency import errors, keys, problems, records, tokens
from idempotency.claim import Claim
from idempotency.scope import scope_of


def state_of(scope: str, key: str, *, using: str = "default") -> dict[str, Any] | None:
    """Return what became of a scope's key, or None where it was never used; executes nothing.

    `state` is `in_flight`, `completed` (with `status` and `completed_at`) or `expired`.

    :raises errors.KeyInvalid: this is no key
    """
    claim = Claim(scope, keys.checked(key))
    found = records.inquire(claim.identity, using=using, key_made_at=claim.key_made_at)
    if found.is_used and found.is_retained and found.status and found.created_at:
        completed_at = found.created_at.isoformat()
        return {"state": "completed", "status": found.status, "completed_at": completed_at}
    if found.is_used or found.is_too_old:
        return {"state": "expired"}
    return {"state": "in_flight"} if records.is_locked(claim.key_lock, using=using) else None


@never_cache
@require_safe
def inquiry(request: HttpRequest, key: str) -> HttpResponse:
    """Return what became of one's own key; 404 where it was never used."""
    try:
        state = state_of(scope_of(request), key)
    except errors.Refusal as refusal:
        return problems.response(refusal)
    if state is None:
        return JsonResponse({"detail": "This key was never used."}, status=404)
    return JsonResponse(state)


@never_cache
@require_POST
def issue_token(request: HttpRequest) -> HttpResponse:
    """Issue a token. A repeated request issues another one: an unused token has no effect."""
    try:
        token, expires_at = tokens.issue(scope_of(request))
    except errors.Refusal as refusal:
        return problems.response(refusal)
    return JsonResponse({"token": token, "expires_at": expires_at.isoformat()}, status=201)
