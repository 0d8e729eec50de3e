"""The fingerprint of a request: equal for requests for the same thing, whatever their spelling.

Method, path, query and body count. Of a parsed body, member order, white space and the spelling of
numbers do not; of a file, its content counts.

A record holds the fingerprint in every version that its writer knows, and a reader compares the
newest one that it knows too. So servers of two releases understand each other's records, in a
rolling upgrade and after a roll-back. How to change what counts: add the next version to
`_VERSIONS`, and leave the older one there. It goes in a later release, one retention after the last
server that knew nothing newer: until then it has to be written as well as read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.core.files.base import File
from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict

from idempotency.errors import BodyTooDeep

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


@dataclass(frozen=True)
class Content:
    """What a request is for.

    :param body: parsed where its kind is known, else its bytes
    :param by: the dotted name of the project's own function where that made the body; else empty
    """

    method: str = ""
    path: str = ""
    query: list[tuple[str, list[str]]] = field(default_factory=list)
    body: Any = None
    by: str = ""

    @classmethod
    def of(cls, request: HttpRequest, body: Any) -> "Content":
        """Return the content of an HTTP request, whose body the caller has read."""
        query = sorted((name, values) for name, values in request.GET.lists())
        return cls(request.method or "", request.path, query, body)


def compute(content: Content) -> dict[int, str]:
    """Return a request's fingerprint in every version that this code knows, the oldest first.

    :raises errors.BodyTooDeep: it can't be walked
    """
    return {version: _made(content, version) for version in sorted(_VERSIONS)}


def matches(content: Content, recorded: Mapping[int, str]) -> bool | None:
    """Return whether a record is about this request; None: it has no version that is known here.

    :param recorded: the record's fingerprints, by their version
    :raises errors.BodyTooDeep: the request can't be walked
    """
    known = recorded.keys() & _VERSIONS.keys()
    return _made(content, max(known)) == recorded[max(known)] if known else None


def body_of(request: HttpRequest) -> Any:
    """Return the body of a plain Django request, parsed where its content type says how."""
    if request.content_type in FORMS and request.method == "POST":
        return [request.POST, request.FILES]
    kind = request.content_type or ""
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError):
            return request.body
    return request.body or None


def _made(content: Content, version: int) -> str:
    try:
        return _VERSIONS[version](content)
    except RecursionError as error:
        raise BodyTooDeep from error


def _version_1(content: Content) -> str:
    parts = [content.method, content.path, content.query, _canonical(content.body)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


_VERSIONS: dict[int, Callable[[Content], str]] = {1: _version_1}


def _canonical(value: Any) -> Any:  # noqa: C901, PLR0911 - a kind of value each
    match value:
        case MultiValueDict():
            return {name: _canonical(values) for name, values in sorted(value.lists())}
        case dict():
            return {str(name): _canonical(member) for name, member in value.items()}
        case list() | tuple():
            return [_canonical(member) for member in value]
        case float() if value.is_integer():
            return int(value)
        case File():
            return {"file": _digest(value.chunks(), then=lambda: value.seek(0))}
        case bytes():
            return {"bytes": _digest([value])}
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return str(value.normalize())
    return str(value)


def _digest(chunks: Iterable[bytes], then: Callable[[], object] = lambda: None) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    then()
    return digest.hexdigest()
