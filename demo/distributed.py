"""The two systems as two services, each with a database of its own, and a network that loses.

On three ports in a row: the order service, the payment service, and the proxy through which the
relays of the order service reach the payment service. The proxy loses responses in a storm, and
while the demo serves; but not while it compares both sides, nor once a page's switch says so.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from subprocess import DEVNULL, PIPE, Popen
from typing import Self

from demo import proxy
from demo.processes import (
    START_SECONDS_MAX,
    gunicorn,
    is_free,
    manage,
    running,
    say,
    wait_until_ready,
)
from embedded_postgres.places import home as embedded_home

Server = Popen[bytes]

SIDES = ("orders", "payments")
RELAYS = 2
# Of the requests whose response is not lost, half arrive twice. The seed is one without a long run
# of losses: relays let up to 5 s pass before they retry.
FAULTS = ("--cut-response", str(proxy.LOST_SHARE), "--duplicate", "0.5", "--seed", "375")
LOAD = ("--clicks", "5", "--concurrency", "50")
TWO_DATABASES = (
    "Two systems need two databases: set ORDERS_DATABASE_URL and PAYMENTS_DATABASE_URL, or none "
    "and no DATABASE_URL."
)
WELCOME = """
Serving until Ctrl-C:
  shop      {urls[orders]}/               sign in as alice, bob, carol or dave with one click
  accounts  {accounts}
  admin     {urls[orders]}/admin/dashboard/    sign in as admin / {password}
  orders    {urls[orders]}/api/v1/        docs: {urls[orders]}/api/docs/
  payments  {urls[payments]}/api/v1/        docs: {urls[payments]}/api/docs/
  network   {urls[network]}/chaos          loses {lost} of the payment service's responses;
            a switch on every page of the shop makes it calm, or lose them again
  customers alice, bob, carol, dave / {password}
"""


def serve(port: int, *, storm: bool, orders: int) -> int:
    """Serve both systems until Ctrl-C and, with a storm, click first; return the exit code."""
    if used := [each for each in range(port, port + 3) if not is_free(each)]:
        say(f"Port {used[0]} is in use. Choose three others in a row: PORT={port + 10}")
        return 1
    with Demo(port) as demo:
        demo.set_up()
        demo.start()
        if storm:
            demo.storm(orders)
        demo.turn_faults(on=True)
        demo.welcome()
        return demo.wait()


class Demo:
    """The processes of both systems; leaving it ends them all."""

    def __init__(self, port: int) -> None:
        ports = dict(zip((*SIDES, "network"), range(port, port + 3), strict=True))
        self.ports = ports
        self.urls = {name: f"http://127.0.0.1:{each}" for name, each in ports.items()}
        self.environments = {side: os.environ | where for side, where in _databases().items()}
        self.environments["payments"] |= {"ROLE": "payments", "PAYMENTS_URL": ""}
        network = self.urls["network"]
        of_orders = {"ROLE": "orders", "PAYMENTS_URL": network, "DEMO_NETWORK_URL": network}
        self.environments["orders"] |= of_orders
        self._running = ExitStack()
        self._servers: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def set_up(self) -> None:
        """Set up two databases with tables and the demo's data; a repeated call adds nothing."""
        say("Setting up two databases …")
        for environment in self.environments.values():
            if not environment.get("DATABASE_URL"):
                self._start_postgres(environment)
        self._run("payments", "migrate", "--verbosity", "0")
        seeded = _output("manage.py", "seed_demo", "--json", of=self.environments["payments"])
        self.seeded = json.loads(seeded)
        self.environments["orders"]["PAYMENTS_TOKEN"] = self.seeded["service_token"]
        self._run("orders", "migrate", "--verbosity", "0")
        self._run("orders", "seed_demo")
        for side, environment in self.environments.items():
            name = f"{side.upper()}_DATABASE_URL"  # what `reconcile` and the dashboard read
            self.environments["orders"].setdefault(name, _address(environment))

    def start(self) -> None:
        """Start the services, the network and the relays; return when they are ready."""
        say("Starting two services, the network between them, and the relays …")
        orders, payments = (self.environments[side] for side in SIDES)
        paying = self._add(gunicorn(self.ports["payments"], environment=payments))
        network = self._add(running(*self._proxy(), environment=orders, stdout=DEVNULL))
        ordering = self._add(gunicorn(self.ports["orders"], environment=orders))
        wait_until_ready(f"{self.urls['network']}/chaos", network)
        self.turn_faults(on=False)  # what an interrupted storm has left is settled first
        wait_until_ready(f"{self.urls['payments']}/readyz", paying)
        wait_until_ready(f"{self.urls['orders']}/readyz", ordering)
        for _ in range(RELAYS):  # no warnings: responses are meant to get lost
            self._add(running("manage.py", "relay", environment={"LOG_LEVEL": "ERROR", **orders}))

    def storm(self, orders: int) -> None:
        """Click while responses get lost, then check both sides; SystemExit if a check fails."""
        urls = ("--base-url", self.urls["orders"], "--payments-url", self.urls["payments"])
        storm = ("rpc_retry", "--orders", str(orders), *LOAD, "--no-audit", *urls)
        self.turn_faults(on=True)
        say(f"{proxy.LOST} of the payment service's responses lost:")
        self._run("orders", "simulate", *storm, "--chaos-url", self.urls["network"])
        self.turn_faults(on=False)
        for side in SIDES:
            say(f"\nThe database of {side}:")
            self._run(side, "audit")
        # Every click got its outcome, so that nothing is in flight.
        self._run("orders", "reconcile", "--grace", "0")

    def turn_faults(self, *, on: bool) -> None:
        """Have responses get lost between the services, or none."""
        proxy.turn_faults(self.urls["network"], on=on, timeout_seconds=START_SECONDS_MAX)

    def welcome(self) -> None:
        """Print where everything is."""
        password = os.environ.get("DEMO_PASSWORD", "only-for-the-demo")
        accounts = ", ".join(
            f"{user['username']} {account['id']} ({account['currency']})"
            for user in self.seeded["users"]
            for account in user["accounts"]
        )
        facts = {"urls": self.urls, "password": password, "accounts": accounts}
        say(WELCOME.format(**facts, lost=proxy.LOST))

    def wait(self) -> int:
        """Wait until a process ends that should not, and return 1."""
        while all(server.poll() is None for server in self._servers):
            time.sleep(1)
        say("One of the processes has ended; its reason is above.")
        return 1

    def _start_postgres(self, environment: Mapping[str, str]) -> None:
        """Run an embedded server for as long as the demo runs."""
        command = ("-m", "embedded_postgres", "run")
        server = self._add(running(*command, environment=environment, stdout=PIPE))
        assert server.stdout
        if not server.stdout.readline():
            sys.exit("The database does not start; its reason is above.")

    def _add(self, server: AbstractContextManager[Server]) -> Server:
        self._servers.append(self._running.enter_context(server))
        return self._servers[-1]

    def _proxy(self) -> tuple[str, ...]:
        target = f"127.0.0.1:{self.ports['payments']}"
        place = ("--port", str(self.ports["network"]), "--target", target)
        return ("-m", "simulator.chaos", *place, *FAULTS)

    def _run(self, side: str, *arguments: str) -> None:
        """Run a command of manage.py on a side; SystemExit if it fails."""
        if code := manage(*arguments, environment=self.environments[side]):
            sys.exit(code)


def _databases() -> dict[str, dict[str, str]]:
    """Return the settings that name each side's database."""
    urls = {side: os.environ.get(f"{side.upper()}_DATABASE_URL") for side in SIDES}
    if all(urls.values()):
        return {side: {"DATABASE_URL": url} for side, url in urls.items() if url}
    if os.environ.get("DATABASE_URL") or any(urls.values()):
        sys.exit(TWO_DATABASES)
    return {side: {"EMBEDDED_POSTGRES_HOME": f"{embedded_home()}-{side}"} for side in SIDES}


def _address(environment: Mapping[str, str]) -> str:
    if url := environment.get("DATABASE_URL"):
        return url
    return _output("-m", "embedded_postgres", "dsn", of=environment).strip()


def _output(*command: str, of: Mapping[str, str]) -> str:
    """Run a Python program and return its output; SystemExit if it fails."""
    with running(*command, environment=of, stdout=PIPE) as program:
        output, _ = program.communicate()
    if program.returncode:
        sys.exit(program.returncode)
    return output.decode()
