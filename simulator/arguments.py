"""The command line of `manage.py simulate`."""

from argparse import ArgumentParser

from lab.harness import command as lab
from lab.harness.scenarios import SCENARIOS as LAB_SCENARIOS
from simulator.scenarios import SCENARIOS
from web.arguments import new_file, number_up_to, url

HELP = (
    "Clicks on pay many times for each order, over HTTP, as impatient customers do, and counts "
    "what the server charged. Signs in as the demo's customers (manage.py seed_demo); nothing "
    "else may spend their money meanwhile. Exits with 1 if an order was charged twice, money "
    "is missing, a click got no response or a wrong one, or the audit finds a breach; with 2 if "
    "the server can't be used. With --mechanism it plays the lab's scenario instead, by itself "
    "(only --clicks, 2 to 25 of them, and --json count then), and exits with 1 if a mechanism "
    "did not do what lab/expected.py has, with 2 if it can't play."
)
SCENARIO_HELP = (
    "double_click (default): all clicks on an order at the same instant, first with "
    "one key, then with a key each. back_and_resubmit: one after another, with one key. "
    "rpc_retry: as double_click with one key, for a payment system whose responses get lost "
    "(--payments-url, --chaos-url); accepted clicks are retried until the outcome is known. "
)
ADDRESSES = (
    ("--payments-url", "the payment system, if it is another server: accounts are read there"),
    (
        "--chaos-url",
        "the proxy before the payment system (python -m simulator.chaos): it counts the requests "
        "that passed it, how many responses were lost and how many duplicates arrived",
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


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options to a parser."""
    _add_scenario(parser)
    here = "http://127.0.0.1:8000"
    meaning = "the server (default: %(default)s)"
    parser.add_argument("--base-url", type=url, default=here, metavar="URL", help=meaning)
    for name, meaning in ADDRESSES:
        parser.add_argument(name, type=url, metavar="URL", help=meaning)
    for name, limit, default, meaning in NUMBERS:
        kind = number_up_to(limit)
        parser.add_argument(name, type=kind, default=default, metavar="N", help=meaning)
    parser.add_argument(
        "--contrast",
        action="store_true",
        help="first send as many clicks to servers of the lab that have no mechanism at all",
    )
    meaning = "write the results to this file as well"
    parser.add_argument("--json", type=new_file, metavar="FILE", help=meaning)
    parser.add_argument(
        "--no-audit",
        action="store_true",
        help="do not check the invariants afterwards. The audit reads the database of the "
        "settings: leave it out for a server that works on another one",
    )


def _add_scenario(parser: ArgumentParser) -> None:
    only_in_the_lab = ", ".join(sorted(LAB_SCENARIOS.keys() - SCENARIOS.keys()))
    parser.add_argument(
        "scenario",
        nargs="?",
        choices=sorted(SCENARIOS | LAB_SCENARIOS),
        default="double_click",
        metavar="SCENARIO",
        help=f"{SCENARIO_HELP}Others want --mechanism: {only_in_the_lab}",
    )
    parser.add_argument(
        "--mechanism",
        choices=lab.MECHANISMS,
        metavar="NAME",
        help=f"play the scenario in the lab with one of {', '.join(lab.MECHANISMS)}",
    )
