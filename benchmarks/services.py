"""Measure a pay through two services: `python -m benchmarks.services`.

An order service, a payment service and one relay, each as deployed, on two databases of one server.
A customer pays one order after another and each response is final: the order's service waits until
the relay has settled it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from subprocess import DEVNULL
from typing import Any

import psycopg
from uuid_utils.compat import uuid7

from benchmarks import report, systems
from benchmarks.load import Address, Exchange, WrongResponse, burst, post, response_to
from benchmarks.packages.servers import database, database_server, free_port
from demo.processes import START_SECONDS_MAX, manage, running, wait_until_ready
from web.arguments import number_up_to

PER_SECOND_MAX = 400  # pays that the two services are sure not to exceed
WARM_UP_SECONDS = 2.0
SERVICE = "service-of-the-benchmark"  # the order service's own token
MAY_CHARGE = """
INSERT INTO auth_user_user_permissions (user_id, permission_id)
SELECT %s, id FROM auth_permission WHERE codename = 'charge'
"""


def main() -> None:
    """Print the pays per second, p50 and p99 of one customer and of several at a time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    meaning = "of them at a time, beside one alone (%(default)s)"
    parser.add_argument("--clients", type=number_up_to(64), default=8, metavar="N", help=meaning)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each burst (%(default)s)")
    parser.add_argument("--rounds", type=number_up_to(64), default=5, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server, connection = database_server()
    about = report.machine(connection) | {"rounds": options.rounds}
    with _services(server, clients=options.clients) as shop:
        measured = {
            clients: shop.measure(clients, options.seconds, options.rounds)
            for clients in (1, options.clients)
        }
    if options.json:
        sys.stdout.write(json.dumps({**about, "customers": measured}, indent=1) + "\n")
        return
    sys.stdout.write(f"{report.in_words(about)}\n\n")
    for clients, values in measured.items():
        shown = "  ".join(f"{name} {value}" for name, value in values.items())
        sys.stdout.write(f"{clients} at a time: {shown}\n")


class Shop:
    """The order service, and the customers with their accounts in the payment service."""

    def __init__(
        self, address: Address, session: psycopg.Connection[Any], customers: list[systems.Customer]
    ) -> None:
        self.address, self.session, self.customers = address, session, customers

    def wait_for_relay(self) -> None:
        """Return once a pay is settled while its request waits, which it does for a relay at work.

        :raises WrongResponse: that does not come to be in time
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            (attempt,) = self._pays_of(self.customers[0], 1)
            try:
                response_to(self.address, attempt)
            except WrongResponse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)  # while nobody settles, a pay does not wait
            else:
                return

    def measure(self, clients: int, seconds: float, rounds: int) -> dict[str, Any]:
        """Have so many customers pay in bursts; every response is a payment that succeeded."""
        burst(self.address, self._pays(clients, WARM_UP_SECONDS), seconds=WARM_UP_SECONDS)
        bursts = [
            burst(self.address, self._pays(clients, seconds), seconds=seconds)
            for _ in range(rounds)
        ]
        latencies = [each for done in bursts for each in done.latencies]
        per_second = sorted(done.per_second for done in bursts)
        return {
            "pays per second": round(median(per_second), 1),
            "min..max": f"{per_second[0]:.1f}..{per_second[-1]:.1f}",
            **report.percentiles(latencies),
        }

    def _pays(self, clients: int, seconds: float) -> list[Iterator[Exchange]]:
        count = int(PER_SECOND_MAX * seconds / clients)
        return [iter(self._pays_of(customer, count)) for customer in self.customers[:clients]]

    def _pays_of(self, customer: systems.Customer, count: int) -> list[Exchange]:
        body = json.dumps({"account": customer.account}).encode()
        orders = systems.place(self.session, customer, count)
        return [
            Exchange(
                post(
                    f"/api/v1/orders/{order}/pay/",
                    body,
                    token=customer.token,
                    key=str(uuid7()),
                ),
                200,
                (b'"status":2,', b'"outcome":"succeeded"'),
            )
            for order in orders
        ]


@contextmanager
def _services(server: dict[str, Any], *, clients: int) -> Iterator[Shop]:
    ports = {side: free_port() for side in ("orders", "payments")}
    with ExitStack() as stack:
        sessions, environments = {}, {}
        for side, port in ports.items():
            url = stack.enter_context(database(server, f"{server['dbname']}_benchmark_{side}"))
            environments[side] = systems.environment(url, port=port) | {
                "ROLE": side,
                "PAYMENTS_URL": f"http://127.0.0.1:{ports['payments']}" * (side == "orders"),
                "PAYMENTS_TOKEN": SERVICE,
            }
            assert manage("migrate", "--verbosity", "0", environment=environments[side]) == 0
            sessions[side] = stack.enter_context(psycopg.connect(url, autocommit=True))
        customers = _customers(sessions, clients)
        for side, port in ports.items():
            command = ("-m", "gunicorn", "--config", "config/gunicorn.py")
            started = running(*command, environment=environments[side], stdout=DEVNULL)
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", stack.enter_context(started))
        relay = running("manage.py", "relay", environment=environments["orders"])
        stack.enter_context(relay)
        shop = Shop(("127.0.0.1", ports["orders"]), sessions["orders"], customers)
        shop.wait_for_relay()
        yield shop


def _customers(sessions: dict[str, psycopg.Connection[Any]], count: int) -> list[systems.Customer]:
    """Return customers who are users of both services, with money in the payment service."""
    orders, payments = sessions["orders"], sessions["payments"]
    orders.execute(systems.PRODUCT, [systems.SKU, systems.PRICE])
    payments.execute(systems.SETTLEMENT)
    service = systems.user(payments, "order-service", token=SERVICE)
    payments.execute(MAY_CHARGE, [service])
    made = []
    for number in range(count):
        name, token = f"customer{number}", f"benchmark-{number}"
        customer = systems.user(orders, name, token=token)
        account = systems.account(payments, systems.user(payments, name))
        made.append(systems.Customer(customer, token, account))
    return made


if __name__ == "__main__":
    main()
