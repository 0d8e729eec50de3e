"""`make demo-distributed`: two services, a network that loses responses, and no process left."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.browserless import Visitor, over_the_network
from tests.support.live import ROOT, descendants, ended, free_port, is_running, until

Environment = dict[str, str]
DATABASES = ("DATABASE_URL", "ORDERS_DATABASE_URL", "PAYMENTS_DATABASE_URL")
STORM = ("--storm", "--orders", "4")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    """Two embedded PostgreSQLs of the tests' own, removed afterwards."""
    home = tmp_path / "postgres"
    own = os.environ | {"EMBEDDED_POSTGRES_HOME": str(home), "DEBUG": "true"}
    own = {name: value for name, value in own.items() if name not in DATABASES}
    yield own
    for side in ("orders", "payments"):
        assert postgres("remove", side, own).returncode == 0


def postgres(command: str, side: str, environment: Environment) -> subprocess.CompletedProcess[str]:
    home = f"{environment['EMBEDDED_POSTGRES_HOME']}-{side}"
    return subprocess.run(
        [sys.executable, "-m", "embedded_postgres", command],
        cwd=ROOT,
        env=environment | {"EMBEDDED_POSTGRES_HOME": home},
        capture_output=True,
        text=True,
        check=False,
    )


class Demo:
    """The demo as a process, its output in a file."""

    def __init__(self, log: Path, environment: Environment, *options: str) -> None:
        self.port, self.log = free_port(3), log
        command = ["-m", "demo.serve", "--distributed", "--port", str(self.port), *options]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self.log.read_text()

    def has_printed(self, text: str) -> bool:
        assert self.process.poll() is None, self.output()
        return text in self.output()

    def is_ready(self, number: int) -> bool:
        url = f"http://127.0.0.1:{self.port + number}/readyz"
        return urllib3.request("GET", url, retries=False).status == 200

    def network(self) -> dict[str, Any]:
        """Return what the proxy has broken, and whether it still does."""
        url = f"http://127.0.0.1:{self.port + 2}/chaos"
        state: dict[str, Any] = urllib3.request("GET", url, retries=False).json()
        return state

    def has_requested(self) -> bool:
        """Return True if a request for the payment system has passed the proxy."""
        assert self.process.poll() is None, self.output()
        try:
            return bool(self.network()["requests"])
        except urllib3.exceptions.HTTPError:
            return False

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(environment: Environment, log: Path) -> Iterator[Callable[..., Demo]]:
    """Start the demo with options, and environment variables besides."""
    with ExitStack() as started:

        def start(*options: str, **more: str) -> Demo:
            demo = Demo(log, environment | more, *options)
            started.enter_context(ended(demo.process))
            return demo

        yield start


def table_of(output: str) -> dict[str, str]:
    """Return the cells of the storm's only row by their headings."""
    lines = output.splitlines()
    headings = next(line for line in lines if "clicks" in line)
    row = next(line for line in lines if "same key, responses lost" in line)
    cells = (re.split(r"\s{2,}", line.strip()) for line in (headings, row.partition("lost")[2]))
    return dict(zip(*cells, strict=True))


def seen_by(visitor: Visitor, demo: Demo, *, choice: str = "") -> tuple[str, bool]:
    """Return what a page says of the network, and whether it loses; first make a choice, if any."""
    page = visitor.open("/")
    if choice:
        page = visitor.send(page.form("/demo/network/").filled(network=choice))
    (sentence,) = re.findall(r"The network to the payment service [^<]+", page.text)
    return sentence, demo.network()["faults"]


def assert_nothing_is_left(family: dict[int, str], environment: Environment) -> None:
    assert len(family) >= 7  # two databases' runners, two services, the proxy and two relays
    until(lambda: not any(map(is_running, family)), what=f"the end of {family}")
    for side in ("orders", "payments"):
        assert "not running" in postgres("dsn", side, environment).stderr


def test_two_services_charge_once_while_responses_get_lost_and_end_together(
    start: Callable[..., Demo], environment: Environment
) -> None:
    demo = start(*STORM)
    until(lambda: demo.has_printed("Serving until Ctrl-C"), seconds=300, what=str(demo.log))
    visitor = over_the_network(f"http://127.0.0.1:{demo.port}")
    lossy, calm = seen_by(visitor, demo), seen_by(visitor, demo, choice="calm")
    ready = [demo.is_ready(number) for number in range(3)]  # the third forwards to the second
    family = descendants(demo.process.pid)

    code = demo.end(signal.SIGTERM)

    output = demo.output()
    lines = output.splitlines()
    progress = [line for line in lines if line.endswith("…")]
    assert progress == [lines[0], lines[2]]  # the second one is of the seed
    assert lines[0] == "Setting up two databases …"
    table = table_of(output)
    assert int(table["responses lost"]) > 0
    assert int(table["requests"]) > int(table["orders"]) == 4
    assert (table["charges"], table["double charges"], table["money missing"]) == ("4", "0", "0")
    assert table["responses"] == "200×20"
    assert output.count("Audit") == 2
    assert set(re.findall(r"│ (\d+) +│$", output, re.MULTILINE)) == {"0"}
    assert "4 orders and 4 payments compared; differences older than 0 s: 0." in output
    assert "loses 60 % of the payment service's responses" in output
    assert lossy == ("The network to the payment service loses 60 % of its responses.", True)
    assert calm == ("The network to the payment service loses nothing.", False)
    assert (ready, code) == ([True, True, True], 0), output
    assert_nothing_is_left(family, environment)


def test_ctrl_c_in_the_storm_ends_everything(
    start: Callable[..., Demo], environment: Environment
) -> None:
    demo = start("--storm", "--orders", "100")
    until(demo.has_requested, seconds=300, what=str(demo.log))
    family = descendants(demo.process.pid)

    assert demo.end(signal.SIGINT) == 0, demo.output()
    assert "Traceback" not in demo.output()
    assert_nothing_is_left(family, environment)


@pytest.mark.parametrize("name", DATABASES)
def test_one_database_for_two_systems_is_refused_in_a_line(
    name: str, start: Callable[..., Demo]
) -> None:
    demo = start(**{name: "postgres://nobody@127.0.0.1:1/none"})

    assert demo.process.wait(60) == 1
    (line,) = demo.output().splitlines()
    assert line.startswith("Two systems need two databases")


def test_a_port_in_use_is_reported_in_a_line(start: Callable[..., Demo]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        third = used.getsockname()[1]
        demo = start("--port", str(third - 2))

        assert demo.process.wait(60) == 1
    (line,) = demo.output().splitlines()
    assert re.match(r"Port \d+ is in use\. Choose three others in a row: PORT=\d+$", line)
