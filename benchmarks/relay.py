"""How much faster a relay is than one round trip at a time: `python -m benchmarks.relay`.

Between the order service and the payment system lie 50 ms in each direction. Runs of a relay with
concurrency 1 and with more take turns, on a database of their own; what counts is the ratio.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from typing import Any
from uuid import uuid4

LATENCY_SECONDS = 0.05  # one way
ROUNDS = 3


def main() -> None:
    """Print orders settled per second, with one and with many at a time, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--orders", type=int, default=400, help="in each run with many at a time")
    chosen = parser.parse_args()
    ports: Any = multiprocessing.Queue()
    system = multiprocessing.Process(target=_payment_system, args=(ports,), daemon=True)
    system.start()
    os.environ |= {"PAYMENTS_URL": f"http://127.0.0.1:{ports.get()}", "PAYMENTS_TOKEN": "t"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ["LOG_LEVEL"] = "ERROR"
    import django

    django.setup()
    _compare(concurrency=chosen.concurrency, orders=chosen.orders)
    system.kill()


def _compare(*, concurrency: int, orders: int) -> None:
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        rates: dict[int, list[float]] = {1: [], concurrency: []}
        for _ in range(ROUNDS):
            rates[1].append(_run(concurrency=1, orders=20))
            rates[concurrency].append(_run(concurrency=concurrency, orders=orders))
        for at_once, measured in rates.items():
            shown = ", ".join(f"{rate:.1f}" for rate in measured)
            sys.stdout.write(f"{at_once:>4} at a time: {shown} orders a second\n")
        ratios = sorted(many / one for one, many in zip(*rates.values(), strict=True))
        sys.stdout.write(f"ratio: {ratios[len(ratios) // 2]:.1f} (median of {ROUNDS} runs)\n")
    finally:
        connection.creation.destroy_test_db("", verbosity=0)


def _run(*, concurrency: int, orders: int) -> float:
    """Accept so many pays, then settle them with one relay; return orders per second."""
    from orders.models import PaymentRequest
    from orders.relay import Relay

    _accept(orders)
    relay = Relay(concurrency=concurrency)
    thread = threading.Thread(target=relay.run)
    started = time.perf_counter()
    thread.start()
    while PaymentRequest.objects.filter(settled_at=None).exists():
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    relay.stop()
    thread.join()
    return orders / seconds


def _accept(orders: int) -> None:
    from django.contrib.auth.models import User

    from orders.models import Product
    from orders.services import Line, pay_order, place_order

    alice, _ = User.objects.get_or_create(username="alice")
    Product.objects.get_or_create(sku="TEA", defaults={"price": 250, "currency": "EUR"})
    for _ in range(orders):
        order = place_order(customer=alice, lines=[Line("TEA", 1)])
        pay_order(customer=alice, order_id=order.pk, account_id=1)


def _payment_system(ports: Any) -> None:
    asyncio.run(_serve(ports))


async def _serve(ports: Any) -> None:
    server = await asyncio.start_server(_answer_all, "127.0.0.1", 0)
    ports.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every payment with success, after the latency of there and back."""
    while not reader.at_eof():
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        await asyncio.sleep(2 * LATENCY_SECONDS)
        del asked["customer"]
        made = {"id": str(uuid4()), "outcome": "succeeded", "created_at": "2026-01-01T00:00:00Z"}
        body = json.dumps(asked | made).encode()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


if __name__ == "__main__":
    main()
