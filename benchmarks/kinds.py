"""The kinds of requests that are compared, and the requests themselves, made ahead."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from uuid import UUID, uuid4

from benchmarks.load import Address, Exchange, post, response_to
from benchmarks.systems import PRICE, QUANTITY, SKU, Customer

REPLAYED = 25  # requests of each customer, replayed in turns
PLACED = json.dumps({"lines": [{"sku": SKU, "quantity": QUANTITY}]}).encode()


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    :param system: which of `benchmarks.systems.SYSTEMS` it is sent to
    :param path: of the API, or of what is compared with it
    :param naive: the kind whose throughput is 1
    """

    name: str
    system: str
    path: str
    naive: str
    pays: bool
    keyed: bool = True
    replays: bool = False


def _kinds(act: str, *, pays: bool) -> Iterator[Kind]:
    naive = f"naive {act}"
    yield Kind(naive, "tutorial", "naive/orders/", naive, pays, keyed=False)
    yield Kind(f"{naive}, tuned", "tuned", "naive/orders/", naive, pays, keyed=False)
    yield Kind(f"{act} without a key", "ours", "unprotected/orders/", naive, pays, keyed=False)
    yield Kind(f"first {act}", "ours", "orders/", naive, pays)
    yield Kind(f"replay of a {act}", "ours", "orders/", naive, pays, replays=True)


KINDS = (*_kinds("pay", pays=True), *_kinds("place", pays=False))


class Target(Protocol):
    """What requests are made for: a `System`, or a cluster."""

    @property
    def address(self) -> Address: ...

    @property
    def customers(self) -> list[Customer]: ...

    def place(self, customer: Customer, count: int) -> list[UUID]:
        """Place so many orders of a customer's at once."""
        ...


class Requests:
    """The requests of a kind to a system, each with what its response has to be."""

    def __init__(self, kind: Kind, target: Target) -> None:
        self.kind, self.target = kind, target

    def ahead(self, count: int) -> list[Iterator[Exchange]]:
        """Return so many requests of each customer; where they are replays, without an end."""
        if self.kind.replays:
            return [itertools.cycle(exchanges) for exchanges in self._replays]
        return [iter(self._made(customer, count)) for customer in self.target.customers]

    @cached_property
    def _replays(self) -> list[list[Exchange]]:
        """The requests that have had their first response, and have to be given it once more."""
        return [
            [self._replay(first) for first in self._made(customer, REPLAYED)]
            for customer in self.target.customers
        ]

    def _replay(self, first: Exchange) -> Exchange:
        body = response_to(self.target.address, first).partition(b"\r\n\r\n")[2]
        replayed = (b"\r\nIdempotent-Replayed: true\r\n", b"\r\n\r\n" + body)
        return first._replace(contained=replayed)

    def _made(self, customer: Customer, count: int) -> list[Exchange]:
        return self._pays(customer, count) if self.kind.pays else self._places(customer, count)

    def _pays(self, customer: Customer, count: int) -> list[Exchange]:
        """Return payments of orders that are placed now, past the server."""
        body = json.dumps({"account": customer.account}).encode()
        return [
            Exchange(
                self._post(f"{order}/pay/", body, customer),
                200,
                (b'{"id":"%s","status":2,' % str(order).encode(), b'"outcome":"succeeded"'),
            )
            for order in self.target.place(customer, count)
        ]

    def _places(self, customer: Customer, count: int) -> list[Exchange]:
        right = (b'"status":0,', b'"amount":%d,' % (QUANTITY * PRICE))
        return [Exchange(self._post("", PLACED, customer), 201, right) for _ in range(count)]

    def _post(self, path: str, body: bytes, customer: Customer) -> bytes:
        key = str(uuid4()) if self.kind.keyed else ""
        return post(f"/api/v1/{self.kind.path}{path}", body, token=customer.token, key=key)
