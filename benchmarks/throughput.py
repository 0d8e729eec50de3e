"""Paying and placing beside the same effects without protection: ratios of interleaved bursts."""

import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from benchmarks.costs import Costs, costs
from benchmarks.load import burst, forever, post
from benchmarks.systems import QUANTITY, SKU, Customer, System, postgres_cpu_seconds, system

MADE_AHEAD_PER_SECOND = 700  # orders of a burst, for all its customers
PLACED = json.dumps({"lines": [{"sku": SKU, "quantity": QUANTITY}]}).encode()
COSTED = 20  # requests by which the costs of one are measured, half of them to begin with


@dataclass(frozen=True)
class Kind:
    """A kind of request that is measured.

    :param path: of the API, or of what is compared with it
    :param beside: the kind whose throughput is 1
    """

    name: str
    system: str
    path: str
    beside: str
    pays: bool
    replays: bool = False
    keyed: bool = True


KINDS = [
    Kind("naive pay", "naive", "naive/orders/", "naive pay", pays=True, keyed=False),
    Kind("pay, services", "ours", "unprotected/orders/", "naive pay", pays=True, keyed=False),
    Kind("first pay", "ours", "orders/", "naive pay", pays=True),
    Kind("replay of a pay", "ours", "orders/", "naive pay", pays=True, replays=True),
    Kind("naive place", "naive", "naive/orders/", "naive place", pays=False, keyed=False),
    Kind(
        "place, services",
        "ours",
        "unprotected/orders/",
        "naive place",
        pays=False,
        keyed=False,
    ),
    Kind("first place", "ours", "orders/", "naive place", pays=False),
    Kind("replay of a place", "ours", "orders/", "naive place", pays=False, replays=True),
]


@dataclass
class Measured:
    """The bursts of one kind."""

    ratios: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    python_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)
    costs: Costs = field(default_factory=lambda: Costs(0, None))


def compare(
    server: dict[str, Any], *, clients: int, seconds: float, rounds: int
) -> dict[str, Measured]:
    """Measure every kind in each round, in another order each time.

    :param server: the parameters of a connection to the PostgreSQL to use
    """
    measured = {kind.name: Measured() for kind in KINDS}
    with ExitStack() as stack:
        systems = {
            name: stack.enter_context(
                system(server, f"benchmark_{name}", customers=clients, guarded=name == "ours")
            )
            for name in ("naive", "ours")
        }
        for kind in KINDS:
            measured[kind.name].costs = _costs(kind, systems[kind.system])
            _measure(kind, systems[kind.system], min(seconds, 1), Measured())  # sessions, plans
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            for kind in random.sample(KINDS, len(KINDS)):
                _measure(kind, systems[kind.system], seconds, measured[kind.name])
            for kind in KINDS:
                beside = measured[kind.beside].per_second[-1]
                measured[kind.name].ratios.append(measured[kind.name].per_second[-1] / beside)
    return measured


def _measure(kind: Kind, target: System, seconds: float, measured: Measured) -> None:
    count = int(MADE_AHEAD_PER_SECOND * max(seconds, 0.3) / len(target.customers)) + 1
    requests = [_requests(kind, target, customer, count) for customer in target.customers]
    python, postgres = target.cpu_seconds(), postgres_cpu_seconds()
    done = burst(target.address, requests, seconds=seconds, expected=_expected(kind))
    measured.per_second.append(done.per_second)
    per_request = 1000 / len(done.latencies)
    measured.python_ms.append((target.cpu_seconds() - python) * per_request)
    if postgres is not None:
        measured.postgres_ms.append(((postgres_cpu_seconds() or 0) - postgres) * per_request)


def _requests(kind: Kind, target: System, customer: Customer, count: int) -> Iterator[bytes]:
    """Return a customer's requests, made ahead; a replay's first execution has taken place."""
    make = _pays(kind, target, customer) if kind.pays else _places(kind, customer)
    if not kind.replays:
        return iter(make(count))
    (request,) = make(1)
    first = burst(target.address, [iter([request])], seconds=0, expected=(b"HTTP/1.1 20",))
    assert len(first.latencies) == 1
    return forever(request)


def _pays(kind: Kind, target: System, customer: Customer) -> Callable[[int], list[bytes]]:
    body = json.dumps({"account": customer.account}).encode()

    def make(count: int) -> list[bytes]:
        return [
            post(f"/api/v1/{kind.path}{order}/pay/", body, token=customer.token, key=_key(kind))
            for order in target.place(customer, count)
        ]

    return make


def _places(kind: Kind, customer: Customer) -> Callable[[int], list[bytes]]:
    def make(count: int) -> list[bytes]:
        return [
            post(f"/api/v1/{kind.path}", PLACED, token=customer.token, key=_key(kind))
            for _ in range(count)
        ]

    return make


def _key(kind: Kind) -> str:
    return str(uuid4()) if kind.keyed else ""


def _expected(kind: Kind) -> tuple[bytes, ...]:
    status = b'"status":2' if kind.pays else b'"status":0'
    code = b"HTTP/1.1 200 " if kind.pays else b"HTTP/1.1 201 "
    replayed = (b"\r\nIdempotent-Replayed: true\r\n",) if kind.replays else ()
    return (code, status, *replayed)


def _costs(kind: Kind, target: System) -> Costs:
    customer = target.customers[0]
    requests = _requests(kind, target, customer, COSTED)
    return costs(target.environment, [next(requests) for _ in range(COSTED)])
