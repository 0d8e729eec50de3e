"""How each kind of view is called; DRF is imported only where it is in use, ninja never."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

from django.http import HttpRequest, HttpResponse

from idempotency import errors, fingerprint, problems, stored

OPERATION = "_idempotent_operation"


class Adapter(Protocol):
    """What the boundary needs of a view's kind: its request, its response, its way to refuse."""

    request: Any  # what the view was given, with its `user`
    http: HttpRequest  # Django's own

    def body(self) -> Any:
        """Return the parsed body, for the fingerprint."""
        ...

    def rendered(self, result: Any) -> HttpResponse:
        """Return what the view returned as a response whose content is made."""
        ...

    def refused(self, refusal: errors.Refusal) -> HttpResponse:
        """Return a refusal as this kind of view does, or raise it so."""
        ...


class DjangoAdapter:
    """A plain Django view, a function or a method."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = self.http = request

    def body(self) -> Any:
        return fingerprint.body_of(self.http)

    def rendered(self, result: Any) -> HttpResponse:
        return stored.rendered(result)

    def refused(self, refusal: errors.Refusal) -> HttpResponse:
        return problems.response(refusal)


class NinjaAdapter(DjangoAdapter):
    """An operation of django-ninja: its result becomes a response inside the transaction.

    :param response: the operation's own, where it takes one to set headers on
    """

    def __init__(self, request: HttpRequest, response: HttpResponse | None) -> None:
        super().__init__(request)
        self.operation: Any = getattr(request, OPERATION)
        self.response = response

    def rendered(self, result: Any) -> HttpResponse:
        response = self.response or self.operation.api.create_temporal_response(self.http)
        return stored.rendered(self.operation._result_to_response(self.http, result, response))


def adapter_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Adapter:
    """Return the adapter of a view that is called with these arguments.

    :raises TypeError: the first one or two hold no request
    """
    for argument in args[:2]:
        if isinstance(argument, HttpRequest):
            if not hasattr(argument, OPERATION):
                return DjangoAdapter(argument)
            given = (value for value in kwargs.values() if isinstance(value, HttpResponse))
            return NinjaAdapter(argument, next(given, None))
        if isinstance(getattr(argument, "_request", None), HttpRequest):
            from idempotency.drf import RestAdapter  # noqa: PLC0415 - only where DRF is in use

            return RestAdapter(argument)
    raise TypeError("An idempotent view takes the request as its first argument.")


def contribute_to_ninja(operation: Any) -> None:
    """Have an operation of django-ninja name itself on its request (ninja's own hook)."""
    operation._run_decorators = [*getattr(operation, "_run_decorators", ()), _named]
    operation.run = _named(operation.run)


def _named(run: Callable[..., Any]) -> Callable[..., Any]:
    operation = run.__self__  # type: ignore[attr-defined]  # a bound method, also of a clone

    @functools.wraps(run)
    def named(request: HttpRequest, **values: Any) -> Any:
        setattr(request, OPERATION, operation)
        return run(request, **values)

    named.__self__ = operation  # type: ignore[attr-defined]
    return named
