import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lab.harness import command as lab
from lab.harness import report as lab_report
from lab.harness.scenarios import SCENARIOS as LAB_SCENARIOS
from simulator.client import Client, ServerUnusable
from simulator.simulation import SCENARIOS, Load, Row, Servers, Simulation
from web.arguments import new_file, number_up_to, url

WIDE = 164
HEADINGS = (
    *("", "orders", "clicks", "answers", "replays", "retries", "charges"),
    *("double charges", "money missing", "p50 / p99 ms", "audit"),
)
# Where a proxy before the payment system counts what passes it: instead of replays and retries.
HEADINGS_WITH_PROXY = (
    *("", "orders", "clicks", "answers", "requests", "answers lost", "repeats", "charges"),
    *HEADINGS[7:],
)
ADDRESSES = (
    ("--payments-url", "the payment system, if it is another server: accounts are read there"),
    (
        "--chaos-url",
        "the proxy before the payment system (python -m simulator.chaos): it counts the requests "
        "that passed it, how many answers were lost and how many repeats arrived",
    ),
)
NUMBERS = (
    ("--orders", 10_000, 20, "orders in each row of the table (default: %(default)s)"),
    ("--clicks", 1_000, 20, "clicks on pay for each order (default: %(default)s)"),
    (
        "--concurrency",
        500,
        None,
        "clicks in flight at once (default: as many as --clicks). With more than --clicks, several "
        "orders are clicked on together; with fewer, an order's clicks go in waves",
    ),
)
FAILURES = {
    "double_charges": "{:,} orders were charged more than once",
    "money_missing": "{:,} minor units are missing from the customers' accounts",
    "different_answers": "{:,} answers differ from what was promised",
    "unanswered": "{:,} clicks never got a final answer",
}


class Command(BaseCommand):
    help = (
        "Clicks on pay many times for each order, over HTTP, as impatient customers do, and counts "
        "what the server charged. Signs in as the demo's customers (manage.py seed_demo); nothing "
        "else may spend their money meanwhile. Exits with 1 if an order was charged twice, money "
        "is missing, a click got no answer or a wrong one, or the audit finds a breach; with 2 if "
        "the server can't be used. With --mechanism it plays the lab's scenario instead, by itself "
        "(only --clicks, 2 to 25 of them, and --json count then), and exits with 1 if a mechanism "
        "did not do what lab/expected.py has, with 2 if it can't play."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "scenario",
            nargs="?",
            choices=sorted(SCENARIOS | LAB_SCENARIOS),
            default="double_click",
            metavar="SCENARIO",
            help="double_click (default): all clicks on an order at the same instant, first with "
            "one key, then with a key each. back_and_resubmit: one after another, with one key. "
            "rpc_retry: as double_click with one key, for a payment system whose answers get lost "
            "(--payments-url, --chaos-url); accepted clicks ask again until the outcome is known. "
            f"Others want --mechanism: {', '.join(sorted(LAB_SCENARIOS.keys() - SCENARIOS))}",
        )
        parser.add_argument(
            "--mechanism",
            choices=lab.MECHANISMS,
            metavar="NAME",
            help=f"play the scenario in the lab with one of {', '.join(lab.MECHANISMS)}",
        )
        here = "http://127.0.0.1:8000"
        meaning = "the server (default: %(default)s)"
        parser.add_argument("--base-url", type=url, default=here, metavar="URL", help=meaning)
        for name, meaning in ADDRESSES:
            parser.add_argument(name, type=url, metavar="URL", help=meaning)
        for name, most, default, meaning in NUMBERS:
            kind = number_up_to(most)
            parser.add_argument(name, type=kind, default=default, metavar="N", help=meaning)
        meaning = "write the results to this file as well"
        parser.add_argument("--json", type=new_file, metavar="FILE", help=meaning)
        parser.add_argument(
            "--no-audit",
            action="store_true",
            help="do not check the invariants afterwards. The audit reads the database of the "
            "settings: leave it out for a server that works on another one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["mechanism"]:
            _play(options)
            return
        if options["scenario"] not in SCENARIOS:
            raise CommandError(
                f"{options['scenario']} is played in the lab: name a --mechanism.", returncode=2
            )
        started = time.monotonic()
        try:
            rows = _simulate(options)
            audit = None if options["no_audit"] else _audit()
        except ServerUnusable as error:
            self.stderr.write(str(error))
            raise SystemExit(2) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        failures = _failures(rows, audit)
        _show(rows, audit, failures)
        if options["json"]:
            report = {
                "scenario": options["scenario"],
                "base_url": options["base_url"],
                "payments_url": options["payments_url"] or options["base_url"],
                "chaos_url": options["chaos_url"],
                "rows": [asdict(row) for row in rows],
                "audit": audit,
                "ok": not failures,
                "seconds": round(time.monotonic() - started, 2),
            }
            options["json"].write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if failures:
            raise SystemExit(1)


def _play(options: dict[str, Any]) -> None:
    finished = lab.run_lab(options["mechanism"], (options["scenario"],), clicks=options["clicks"])
    lab.print_table(lab_report.comparison(finished.rows))
    lab.conclude(finished, options["json"])


def _simulate(options: dict[str, Any]) -> list[Row]:
    plans = SCENARIOS[options["scenario"]]
    orders, clicks = options["orders"], options["clicks"]
    load = Load(orders, clicks, options["concurrency"] or clicks)
    servers = _servers(options, connections=load.concurrency)
    console, quiet = Console(stderr=True), not sys.stdout.isatty()
    with Progress(console=console, transient=True, disable=quiet) as progress:
        bar = progress.add_task("clicks", total=len(plans) * orders * clicks)
        simulation = Simulation(servers, load, advance=lambda: progress.advance(bar))
        return [simulation.run(plan) for plan in plans]


def _servers(options: dict[str, Any], *, connections: int) -> Servers:
    orders = Client(options["base_url"], connections=connections)
    payments, chaos = options["payments_url"], options["chaos_url"]
    return Servers(
        orders,
        Client(payments, connections=1) if payments else orders,
        Client(chaos, connections=1) if chaos else None,
    )


def _audit() -> dict[str, Any]:
    from operations.audit import run  # noqa: PLC0415 - only the audit needs a database

    try:
        breaches = sum(finding.breaches for finding in run())
    except Error as error:
        reason = str(error).partition("\n")[0]
        message = f"The audit can't read its database ({reason}). Leave it out: --no-audit"
        raise ServerUnusable(message) from error
    return {"ok": not breaches, "breaches": breaches}


def _show(rows: Sequence[Row], audit: dict[str, Any] | None, failures: Sequence[str]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    verdict = "-" if audit is None else "ok" if audit["ok"] else _bad(audit["breaches"])
    headings = HEADINGS if rows[0].requests is None else HEADINGS_WITH_PROXY
    lines = [headings, *((*_cells(row), verdict) for row in rows)]
    if console.width < WIDE:
        lines = list(zip(*lines, strict=True))  # on its side it fits
    table = Table(*lines[0], box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines[1:]:
        table.add_row(*line)
    console.print(table)
    for text in failures or ["Every order was charged once."]:
        console.print(text, highlight=False)


def _cells(row: Row) -> list[str]:
    answers = " · ".join(f"{status}×{count:,}" for status, count in row.answers.items())
    passed = row.requests, row.answers_lost, row.repeats
    counts = *((row.replays, row.retries) if row.requests is None else passed), row.charges
    first = row.row, f"{row.orders:,}", f"{row.clicks:,}", answers, *(f"{n:,}" for n in counts)
    times = f"{row.p50_ms:,.0f} / {row.p99_ms:,.0f}"
    return [*first, _bad(row.double_charges), _bad(row.money_missing), times]


def _bad(count: int) -> str:
    return f"[bold red]{count:,}[/]" if count else "0"


def _failures(rows: Sequence[Row], audit: dict[str, Any] | None) -> list[str]:
    found = [
        f"{row.row}: {text.format(getattr(row, name))}."
        for row in rows
        for name, text in FAILURES.items()
        if getattr(row, name)
    ]
    if audit and not audit["ok"]:
        found.append(f"The audit found {audit['breaches']:,} breaches; see: manage.py audit")
    return found
