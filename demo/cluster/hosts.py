"""Which hosts there are: names only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hosts:
    """The hosts of a system.

    :ivar name: of the system, of its database, and of its user there
    """

    name: str
    databases: tuple[str, ...]
    webs: tuple[str, ...]
    front: str
    relays: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.databases, *self.webs, self.front, *self.relays)


SHOP = Hosts("shop", ("db1", "db2", "db3"), ("web1", "web2"), "front")
ORDERS = Hosts(
    "orders",
    ("orders-db1", "orders-db2", "orders-db3"),
    ("orders-web1", "orders-web2"),
    "orders-front",
    ("relay1", "relay2"),
)
PAYMENTS = Hosts(
    "payments",
    ("payments-db1", "payments-db2", "payments-db3"),
    ("payments-web1", "payments-web2"),
    "payments-front",
)
CLIENTS = "clients"
BETWEEN = "between"  # the losing network between the two systems

ONE_SYSTEM = (*SHOP.all, CLIENTS)
TWO_SYSTEMS = (*ORDERS.all, *PAYMENTS.all, BETWEEN, CLIENTS)
