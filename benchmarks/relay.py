"""Compare a relay with one round trip at a time: `python -m benchmarks.relay`.

Between the order service and the payment service lie 50 ms in each direction. Runs of a relay with
concurrency 1 and with more alternate, on a database of their own; what counts is the ratio.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import threading
import time
from typing import Any, NamedTuple

from benchmarks.payment_service import serve

ROUNDS = 3
ORDERS_ONE_BY_ONE = 20  # in each run with concurrency 1: they take 0.1 s each
DATABASE = "benchmark_relay"


class RelayRun(NamedTuple):
    """The measurements of one run."""

    orders_per_second: float
    cpu_ms_per_order: float


def main() -> None:
    """Print orders settled per second, with one and with many at a time, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--orders", type=int, default=400, help="in each run with many at a time")
    options = parser.parse_args()
    ports: Any = multiprocessing.Queue()
    service = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    service.start()
    try:
        _set_up(payments_url=f"http://127.0.0.1:{ports.get()}")
        _compare(concurrency=options.concurrency, orders=options.orders)
    finally:
        service.kill()


def _set_up(*, payments_url: str) -> None:
    """Load Django as the order service alone: the payments have no tables in this database."""
    os.environ |= {"ROLE": "orders", "PAYMENTS_URL": payments_url, "PAYMENTS_TOKEN": "t"}
    os.environ |= {"LOG_LEVEL": "ERROR"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()


def _compare(*, concurrency: int, orders: int) -> None:
    from django.db import connection

    usual = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = DATABASE
    # No timeouts: to make and to drop a database may take longer on a busy machine.
    connection.settings_dict["OPTIONS"].pop("options", None)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        runs: dict[int, list[RelayRun]] = {1: [], concurrency: []}
        for _ in range(ROUNDS):
            runs[1].append(_run(concurrency=1, orders=ORDERS_ONE_BY_ONE))
            runs[concurrency].append(_run(concurrency=concurrency, orders=orders))
    finally:
        connection.creation.destroy_test_db(usual, verbosity=0)
    for at_once, measured in runs.items():
        _print(f"{at_once:>4} at a time", measured)
    pairs = list(zip(*runs.values(), strict=True))
    _print_range("ratio", [many.orders_per_second / one.orders_per_second for one, many in pairs])


def _print(title: str, runs: list[RelayRun]) -> None:
    _print_range(f"{title}, orders per second", [run.orders_per_second for run in runs])
    _print_range(f"{title}, CPU ms per order", [run.cpu_ms_per_order for run in runs])


def _print_range(title: str, values: list[float]) -> None:
    shown = ", ".join(f"{value:.1f}" for value in values)
    sys.stdout.write(f"{title}: {shown} (min {min(values):.1f}, max {max(values):.1f})\n")


def _run(*, concurrency: int, orders: int) -> RelayRun:
    """Accept so many pays, then settle them with one relay."""
    from orders.models import PaymentRequest
    from orders.relay import Relay

    _accept(orders)
    relay = Relay(concurrency=concurrency)
    thread = threading.Thread(target=relay.run)
    started, cpu = time.perf_counter(), _cpu_seconds()
    thread.start()
    while PaymentRequest.objects.filter(settled_at=None, dead_lettered=False).exists():
        time.sleep(0.1)
    seconds, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    relay.stop()
    thread.join()
    if refused := PaymentRequest.objects.filter(dead_lettered=True).first():
        sys.exit(f"A payment was refused: {refused.last_error}")
    return RelayRun(orders / seconds, 1000 * cpu / orders)


def _cpu_seconds() -> float:
    """Return the CPU time of this process, without the database's and the payment service's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _accept(orders: int) -> None:
    from django.contrib.auth.models import User

    from orders.models import Product
    from orders.services import Line, pay_order, place_order

    alice, _ = User.objects.get_or_create(username="alice")
    Product.objects.get_or_create(sku="TEA", defaults={"price": 250, "currency": "EUR"})
    for _ in range(orders):
        order = place_order(customer=alice, lines=[Line("TEA", 1)])
        pay_order(customer=alice, order_id=order.pk, account_id=1)


if __name__ == "__main__":
    main()
