"""Every route of the URL conf, and an address for each: what a test of all routes walks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)")


@dataclass(frozen=True)
class Route:
    """A route: its text as people write it, `orders/<uuid:order_id>/`, and its view."""

    text: str
    view: Any

    def path(self, values: dict[str, Any]) -> str:
        """Return an address of the route; a value by the whole route goes before its name's."""
        of_this = values.get(self.text, {})

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            return str(of_this[name] if name in of_this else values[name])

        return "/" + _ARGUMENT.sub(value, self.text)


def routes() -> list[Route]:
    """Return every route that leads to a view."""
    return list(_walk(get_resolver().url_patterns, ""))


def _walk(patterns: list[Any], prefix: str) -> Iterator[Route]:
    for each in patterns:
        text = prefix + re.sub(r"^\^|\$$|\\Z$", "", str(each.pattern))
        if isinstance(each, URLResolver):
            yield from _walk(each.url_patterns, text)
        elif isinstance(each, URLPattern):
            yield Route(_named(text), each.callback)


def _named(text: str) -> str:
    """Return a route without what a regular expression allows for its arguments."""
    return _ARGUMENT.sub(lambda match: match[0] if match[1] else f"<{match[2]}>", text)
