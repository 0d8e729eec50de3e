"""One decorator for every kind of view: Django, Django REST framework, django-ninja."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from idempotency import errors, keys
from idempotency.adapters import adapter_of, contribute_to_ninja
from idempotency.boundary import SubjectOf, respond_once
from idempotency.requests import claim_by

SAFE = frozenset({"get", "head", "options", "trace"})


def idempotent(  # noqa: PLR0913
    *,
    required: bool = True,
    serialize_by: str | None = None,
    subject_of: SubjectOf | None = None,
    scope: Callable[[Any], str] | str | None = None,
    fingerprint: Callable[[Any], Any] | str | None = None,
    using: str = "default",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a view once for a caller's Idempotency-Key, and replay its response ever after.

    The view does all its work in the database `using`. What it returns is final: stored, and
    replayed byte for byte with `Idempotent-Replayed: true`. What it raises, and a returned 400,
    401, 403, 404, 429 or 5xx, is rolled back together with the key, which may then try again.

    :param required: refuse a request without a key (400); else run it as if undecorated
    :param serialize_by: the subject by the URL's arguments, such as "order:{order_id}": of a
        scope's requests about one subject, one that would wait for a row of another is rolled back,
        and runs again when the other has ended
    :param subject_of: returns the subject by the response, where only that knows it
    :param scope: who the key belongs to, by the request: a callable or its dotted name; else the
        setting SCOPE, else the user
    :param fingerprint: returns, by the request, what makes it the same request: anything of JSON
    :raises TypeError: at decoration, for an async view or a method that must be safe
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        _check_decorated(view)

        @functools.wraps(view)
        def once(*args: Any, **kwargs: Any) -> Any:
            adapter = adapter_of(args, kwargs)
            try:
                if not required and keys.read_key(adapter.http) is None:
                    return view(*args, **kwargs)
                claim = claim_by(
                    adapter,
                    subject=serialize_by.format(**kwargs) if serialize_by else "",
                    scope=scope,
                    fingerprint=fingerprint,
                    using=using,
                )
                return respond_once(
                    claim,
                    lambda: adapter.rendered(view(*args, **kwargs)),
                    wait_seconds=keys.read_wait(adapter.http),
                    subject_of=subject_of,
                )
            except errors.Refusal as refusal:
                return adapter.refused(refusal)

        once.idempotent = True  # type: ignore[attr-defined]  # read by the OpenAPI extension
        once.key_required = required  # type: ignore[attr-defined]
        once._ninja_contribute_to_operation = [  # type: ignore[attr-defined]
            *getattr(view, "_ninja_contribute_to_operation", ()),
            contribute_to_ninja,
        ]
        return once

    return decorate


def _check_decorated(view: Callable[..., Any]) -> None:
    name = getattr(view, "__qualname__", repr(view))
    if inspect.isclass(view):
        raise TypeError(f"Decorate a method of {name}, such as post, not the class.")
    if hasattr(view, "cls") or hasattr(view, "view_class"):
        raise TypeError(
            f"{name} is a whole view already: put @idempotent below @api_view, or on the class's "
            "method, so that authentication comes before the key."
        )
    if inspect.iscoroutinefunction(view):
        raise TypeError(
            f"{name} is async. A Django transaction belongs to one thread: write the view without "
            "async, and Django runs it in a thread of its own."
        )
    if getattr(view, "__name__", "") in SAFE:
        raise TypeError(f"{name} is safe by its name: a GET needs no key. Decorate what writes.")
