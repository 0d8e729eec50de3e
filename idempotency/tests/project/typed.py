"""A project that uses every public name, checked by `mypy --strict`."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import (
    Claim,
    claim_of,
    claim_of_form,
    errors,
    failpoints,
    idempotent,
    is_in_flight,
    key_digest,
    once,
    preferred_wait,
    purge,
    read_key,
    replace_all_provisional,
    replace_provisional,
    respond_once,
    run_once,
    scope_of,
    signals,
    stored_response,
    tokens,
)
from idempotency.problems import response as problem


def tenant_of(request: Any) -> str:
    return "tenant:1"


@idempotent(scope=tenant_of, serialize_by="order:{order_id}")
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    return JsonResponse({"order": order_id})


class Refunds(View):
    @idempotent(required=False, scope="shop.tenant_of")
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)


class RestRefunds(APIView):
    @idempotent(fingerprint=lambda request: request.data["amount"])
    def post(self, request: Request) -> Response:
        return Response(status=204)


def form(request: HttpRequest) -> HttpResponse:
    claim: Claim = claim_of_form(request, "k", path="/refunds/", body={"amount": 1})
    try:
        return respond_once(claim, lambda: HttpResponse("done"), wait_seconds=5)
    except errors.Refusal as refusal:
        return problem(refusal)


def others(request: HttpRequest) -> Iterable[str | int | None]:
    key: str | None = read_key(request)
    seconds: int | None = preferred_wait(request)
    stored: HttpResponse | None = stored_response(claim_of(request, subject="order:1"))
    flying: bool = is_in_flight(scope=scope_of(request), subject="order:1")
    replaced: int = replace_provisional("order:1", HttpResponse("paid"))
    replaced += replace_all_provisional({"order:2": HttpResponse("paid")})
    yield from (key, seconds, flying, replaced, key_digest("k"))
    yield stored.status_code if stored else None
    token, expires_at = tokens.issue("guest:1")
    yield from (token, expires_at.isoformat(), purge.purge_records(batch=100))


def consume(event_id: str) -> object:
    with once("webhooks", event_id, args={"kind": "paid"}) as claim:
        first: bool = claim.is_first
    return first or run_once(scope="events", key=event_id, call=lambda: 1, args={}, wait_seconds=1)


def receive(sender: object, scope: str, key_digest: str, **_: object) -> None: ...


signals.executed.connect(receive)
failpoints.install(None)
