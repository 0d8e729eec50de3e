"""A relay whose database stops to respond: it neither hangs nor ends, and goes on afterwards."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.live import ROOT, LiveServer, ended, ends_with_the_run, until
from tests.support.outages import Shop
from tests.support.own_postgres import own_postgres


@contextmanager
def relay_of(server: LiveServer, log: Path) -> Iterator[subprocess.Popen[Any]]:
    command = [*ends_with_the_run(), sys.executable, "manage.py", "relay"]
    with log.open("wb") as file:
        relay = subprocess.Popen(
            command, cwd=ROOT, env=server.environment, stdout=file, stderr=file
        )
    with ended(relay):
        yield relay


def test_a_relay_goes_on_after_its_database_was_frozen_and_settles_once(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    with own_postgres() as postgres:
        seeded = postgres.prepare()
        server = LiveServer(database=postgres.parameters, folder=tmp_path, workers=2)
        service = {"PAYMENTS_URL": server.url, "PAYMENTS_TOKEN": seeded["service_token"]}
        server.environment |= service | {"DATABASE_RESPONSE_SECONDS": "3"}
        with server, relay_of(server, log) as relay:
            shop = Shop(server, postgres, seeded)
            order, opening = shop.order(), shop.balance()
            until(lambda: "relay at work" in log.read_text(), what="the relay works")
            relay.send_signal(signal.SIGSTOP)
            assert shop.pay(order, key=uuid4().hex).status == 202
            with postgres.frozen():
                relay.send_signal(signal.SIGCONT)
                until(lambda: "did not respond" in log.read_text(), what="it noticed")
            paths = f"/api/v1/orders/{order}/"
            until(shop.serves, what="all processes serve")
            until(lambda: shop.get(paths).json()["status_label"] == "paid", what="it settled")
            assert relay.poll() is None
            assert opening - shop.balance() == shop.get(paths).json()["amount"]
            postgres.manage("audit")
