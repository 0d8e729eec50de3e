"""The requests of the header fuzzer: hostile values, by header, path, query, body and method.

A request is made from a seed and its number alone: `make_request(seed, number, target)` gives the
same bytes whatever ran before it.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.surface import values


@dataclass(frozen=True)
class Target:
    """What is attacked: an address of each route, and credentials that are right.

    :param paths: by route
    :param credentials: headers by who has them
    """

    paths: Mapping[str, str]
    credentials: Mapping[str, dict[str, str]]


@dataclass(frozen=True)
class HostileRequest:
    """A request as it goes over the wire, and what a reader of its response must know.

    :param is_framed: whether the body is as long as it claims, so that another request may follow
    :param is_itself: whether the path is the route's own, and not one made up from it
    :param identifier: the X-Request-Id that an application's response carries, or an empty text
    """

    name: str
    route: str
    method: str
    path: str
    data: bytes
    is_framed: bool
    is_itself: bool
    identifier: str


def make_request(seed: str, number: int, target: Target) -> HostileRequest:
    """Return one request; the same for the same seed and number."""
    chance = random.Random(f"{seed}:{number}")
    route = chance.choice(sorted(target.paths))
    method = chance.choice(values.METHODS)
    path = target.paths[route]
    is_itself = chance.random() < 0.8
    if not is_itself:
        path = chance.choice(values.PATHS).replace("{}", path)
    query = chance.choice(values.QUERIES) if chance.random() < 0.4 else ""
    body = _body(chance) if chance.random() < 0.6 else b""
    identifier = f"fuzz-{seed}-{number}"
    headers = [("X-Request-Id", identifier), *_headers(chance, target, body)]
    named = [name.lower() for name, _ in headers]
    is_plain = named.count("x-request-id") == 1
    head = [(method, path, query), *headers]
    return HostileRequest(
        name=f"{seed}:{number}",
        route=route,
        method=method,
        path=path,
        data=_wire(head) + body,
        is_framed=named.count("content-length") == 1 and "transfer-encoding" not in named,
        is_itself=is_itself,
        identifier=identifier if is_plain else "",
    )


def _headers(chance: random.Random, target: Target, body: bytes) -> list[tuple[str, str]]:
    headers = {"Host": values.HOST, "Content-Type": "application/json"}
    headers |= target.credentials[chance.choice(sorted(target.credentials))]
    hostile = [
        (name, _value(chance, name))
        for name in chance.sample(sorted(values.HEADERS), chance.choice((0, 1, 1, 2, 3)))
    ]
    if chance.random() < 0.15:
        hostile.append((chance.choice(sorted(values.HEADERS)), chance.choice(values.ANYWHERE)))
    replaced = {name for name, _ in hostile if chance.random() < 0.9}
    unchanged = [(name, value) for name, value in headers.items() if name not in replaced]
    if "Content-Length" not in replaced:
        unchanged.append(("Content-Length", str(len(body))))
    chance.shuffle(hostile)
    return unchanged + hostile


def _value(chance: random.Random, name: str) -> str:
    value = chance.choice(values.HEADERS[name])
    if chance.random() < 0.15:
        value += chance.choice(values.SUFFIXES)
    return value


def _body(chance: random.Random) -> bytes:
    kind = chance.randrange(4)
    if kind == 0:
        return chance.choice(values.BODIES)
    picked = chance.sample(sorted(values.MEMBERS), chance.randrange(1, 5))
    members: dict[str, Any] = {name: chance.choice(values.MEMBERS[name]) for name in picked}
    if kind == 1:
        return urlencode(members, quote_via=quote, errors="replace").encode()
    return json.dumps(members).encode()


def _wire(head: list[Any]) -> bytes:
    (method, path, query), *headers = head
    lines = [f"{method} {path}{query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
