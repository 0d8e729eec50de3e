import json
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from rich.console import Console
from rich.progress import Progress

from lab.harness import command as lab
from lab.harness import report as lab_report
from simulator import report
from simulator.arguments import HELP, add_arguments
from simulator.http_client import HttpClient, ServerUnusable
from simulator.results import PlanResult
from simulator.scenarios import SCENARIOS
from simulator.simulation import Load, Servers, Simulation


class Command(BaseCommand):
    help = HELP
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["mechanism"]:
            _run_in_the_lab(options)
            return
        if options["scenario"] not in SCENARIOS:
            raise CommandError(
                f"{options['scenario']} is played in the lab: name a --mechanism.", returncode=2
            )
        started = time.monotonic()
        contrast = _contrast(options) if options["contrast"] else None
        try:
            results = _simulate(options)
            audit = None if options["no_audit"] else _audit()
        except ServerUnusable as error:
            self.stderr.write(str(error))
            raise SystemExit(2) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        report.show(results, audit, contrast)
        if options["json"]:
            seconds = time.monotonic() - started
            document = report.as_json(options, results, audit, seconds=seconds)
            document["contrast"] = contrast and asdict(contrast)
            options["json"].write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        if report.failures_of(results, audit):
            raise SystemExit(1)


def _run_in_the_lab(options: dict[str, Any]) -> None:
    finished = lab.run_lab(options["mechanism"], (options["scenario"],), clicks=options["clicks"])
    lab.console().print(lab_report.comparison(finished.rows))
    lab.conclude(finished, options["json"])


def _contrast(options: dict[str, Any]) -> report.Contrast | None:
    """Return what the clicks come to without any mechanism; None where the lab can't run."""
    orders, clicks = options["orders"], options["clicks"]
    console = Console(stderr=True)
    try:
        with console.status("The same clicks on servers without any mechanism …"):
            return report.Contrast(clicks, lab.storm("naive", orders=orders, clicks=clicks))
    except CommandError as error:
        console.print(f"Without the naive row. {error}")
        return None


def _simulate(options: dict[str, Any]) -> list[PlanResult]:
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
    orders = HttpClient(options["base_url"], connections=connections)
    payments, chaos = options["payments_url"], options["chaos_url"]
    return Servers(
        orders,
        HttpClient(payments, connections=1) if payments else orders,
        HttpClient(chaos, connections=1) if chaos else None,
    )


def _audit() -> report.Audit:
    from operations.audit import check_invariants  # noqa: PLC0415 - only it needs a database

    try:
        with Console(stderr=True).status("Checking every invariant …"):
            breaches = sum(finding.breaches for finding in check_invariants())
    except Error as error:
        reason = str(error).partition("\n")[0]
        message = f"The audit can't read its database ({reason}). Leave it out: --no-audit"
        raise ServerUnusable(message) from error
    return {"ok": not breaches, "breaches": breaches}
