"""Which kind of view was called, by its arguments; DRF is imported only where it is in use."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from idempotency import errors, fingerprint, problems, stored
from idempotency.decorators import Adapter


class DjangoAdapter:
    """A plain Django view, a function or a method."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = self.http = request

    def body(self) -> Any:
        return fingerprint.body_of(self.http)

    def rendered(self, response: Any) -> HttpResponse:
        return stored.rendered(response)

    def refused(self, refusal: errors.Refusal) -> HttpResponse:
        return problems.response(refusal)


def adapter_of(args: tuple[Any, ...]) -> Adapter:
    """Return the adapter of a view that is called with these arguments.

    :raises TypeError: none of them is a request
    """
    for argument in args[:2]:
        if isinstance(argument, HttpRequest):
            return DjangoAdapter(argument)
        if isinstance(getattr(argument, "_request", None), HttpRequest):
            from idempotency.drf import RestAdapter  # noqa: PLC0415 - only where DRF is in use

            return RestAdapter(argument)
    raise TypeError("An idempotent view takes the request as its first argument.")
