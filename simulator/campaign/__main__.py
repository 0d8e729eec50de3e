"""Break a cluster while customers click, and count what was lost: `make demo-cluster`.

Three PostgreSQL under Patroni, two web servers behind HAProxy and PgBouncer, each on a host of its
own: a network namespace. With --two-systems, orders and payments have such a cluster each; two
relays request the payments, through a network that loses responses and delivers requests twice.
Ctrl-C removes everything, and so does the end of this process, whatever ends it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from demo.cluster import hosts, places
from demo.cluster.cluster import wait_until_whole
from demo.cluster.janitor import fresh_hosts, run_on
from demo.cluster.servers import DEMO_PASSWORD, until
from demo.cluster.systems import Systems, start_one_system, start_two_systems
from demo.processes import say
from simulator.campaign import rows
from simulator.campaign.rows import Row
from simulator.campaign.storm import Storm
from simulator.campaign.verdict import Verdict, verdict_on

BEFORE, AFTER = 100, 100  # successes before a fault is injected, and after it has hit
HIT_SECONDS_MAX = 120
ASYNCHRONOUS = "primary split, asynchronous"  # the last row, of one system
HEADINGS = {
    "fault": "fault",
    "silence_seconds": "seconds without a success",
    "responses": "responses",
    "acknowledged": "acknow- ledged",
    "lost": "lost",
    "charged_twice": "charged twice",
    "contradictions": "different responses",
    "unfinished": "unfinished",
    "left_paying": "left in 1",
}


def main() -> int:
    """Make hosts, have a child break what runs on them, remove them; return its exit code."""
    options = _options()
    if options.child:
        return _campaign(options)
    if reason := places.prepare():
        say(f"{reason} It did not run.")
        return 0 if options.short else 1
    needed = hosts.TWO_SYSTEMS if options.two_systems else hosts.ONE_SYSTEM
    try:
        with fresh_hosts(needed):
            command = ("-m", "simulator.campaign", "--child", *sys.argv[1:])
            return run_on(hosts.CLIENTS, *command)
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


def _campaign(options: argparse.Namespace) -> int:
    began = time.monotonic()
    systems = start_two_systems() if options.two_systems else start_one_system()
    urls = ", ".join(each.url for each in systems.clusters)
    say(f"Up after {time.monotonic() - began:.0f} s: {urls}")
    verdicts: list[Verdict] = []
    try:
        verdicts.extend(_verdict(systems, name, _rows(options)[name]) for name in options.only)
        if options.asynchronous:
            systems.orders.replicate(synchronously=False)
            verdicts.append(_verdict(systems, ASYNCHRONOUS, rows.ONE_SYSTEM["primary split"]))
    except TimeoutError as error:
        say(f"{error} The servers' logs: {places.LOGS}")
        return 1
    finally:
        if options.json:
            sys.stdout.write(json.dumps([asdict(each) for each in verdicts], indent=2) + "\n")
        else:
            _print(verdicts)
    return _judge(verdicts)


def _verdict(systems: Systems, name: str, row: Row) -> Verdict:
    """Have customers click, break something, and see what they were promised and what is there."""
    say(f"{name} …")
    wait_until_whole(*systems.clusters)
    with Storm(systems.orders.url, systems.payments.url, password=DEMO_PASSWORD) as storm:
        _await_successes(storm, BEFORE)
        since = time.monotonic()
        with row.fault(getattr(systems, row.system)) as has_hit:
            until(has_hit, seconds=HIT_SECONDS_MAX, what=f"the fault has hit: {name}")
            _await_successes(storm, AFTER)
    wait_until_whole(*systems.clusters)
    return verdict_on(storm, systems, fault=name, since=since)


def _await_successes(storm: Storm, more: int) -> None:
    wanted = len(storm.journal.successes()) + more
    until(
        lambda: len(storm.journal.successes()) >= wanted,
        seconds=HIT_SECONDS_MAX,
        what=f"{more} successes",
    )


def _print(verdicts: list[Verdict]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in (*HEADINGS.values(), "audit"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for each in verdicts:
        shown = [f"{getattr(each, name)}" for name in HEADINGS]
        table.add_row(*shown, "breaches" if each.breaches else "ok")
    Console(width=120).print(table)


def _judge(verdicts: list[Verdict]) -> int:
    """Return 0 if nothing was lost that was promised, and something where it was to be."""
    failures = [each for each in verdicts if each.is_clean == (each.fault == ASYNCHRONOUS)]
    for each in failures:
        say(f"Not as it should be: {each.fault}. {each.breaches}")
    return 1 if failures else 0


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo-cluster",
        description=__doc__,
        epilog=f"faults:{_listed(rows.ONE_SYSTEM)}\n\nof two systems:{_listed(rows.TWO_SYSTEMS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--two-systems",
        action="store_true",
        help="orders and payments on a cluster each, with other faults",
    )
    parser.add_argument("--only", nargs="+", metavar="FAULT", help="some of the faults below")
    parser.add_argument(
        "--no-asynchronous",
        dest="asynchronous",
        action="store_false",
        help="leave out the last row: what is lost where no COMMIT waits for a standby",
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="two rows only; where no cluster can run, say so and exit with 0",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    short = rows.SHORT_OF_TWO if options.two_systems else rows.SHORT_OF_ONE
    options.only = short if options.short else options.only or list(_rows(options))
    options.asynchronous &= not (options.short or options.two_systems)
    if unknown := set(options.only) - set(_rows(options)):
        parser.error(f"--only has no such fault: {', '.join(sorted(unknown))}")
    return options


def _rows(options: argparse.Namespace) -> dict[str, Row]:
    return rows.TWO_SYSTEMS if options.two_systems else rows.ONE_SYSTEM


def _listed(names: Iterable[str]) -> str:
    return "".join(f"\n  {name}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
