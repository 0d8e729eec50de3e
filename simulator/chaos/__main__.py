"""Break HTTP on purpose, between a client and a server, and count what was broken.

Each request has a connection of its own to the server, so that nothing is lost but what a fault
loses. Where several losses come up for a request, the first of those below happens. SIGUSR1 turns
the faults off or on; PUT /chaos with {"faults": false} turns them off, and with true on. SIGINT or
SIGTERM ends the proxy, which then prints its counts; until then GET /chaos returns them.
"""

import argparse
import re
import signal
import sys

from simulator.chaos.faults import LOSSES
from simulator.chaos.proxy import ChaosProxy
from web.arguments import number_up_to


def main() -> int:
    """Run the proxy until SIGINT or SIGTERM, print the counts and return the exit code."""
    options = _parser().parse_args()
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in the proxy's thread too: sigwait has them
    try:
        proxy = ChaosProxy(options.target, host=options.host, port=options.port, seed=options.seed)
    except OSError as error:
        sys.exit(f"can't listen: {error.strerror}")
    chances = {fault: vars(options)[fault] for fault in LOSSES}
    proxy.chance = chances | {"delay": options.delay_ms > 0}
    proxy.delay_ms = options.delay_ms
    with proxy:
        _print(f"Forwarding {proxy.url} to {proxy.target[0]}:{proxy.target[1]} until Ctrl-C.")
        _wait_for_the_end(signals, proxy)
    for name, count in [("requests", proxy.requests), *sorted(proxy.happened.items())]:
        _print(f"{name} {count}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator.chaos", description=__doc__)
    add, port = parser.add_argument, number_up_to(65_535)
    add("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    add("--port", type=port, required=True, metavar="N", help="where to listen")
    add("--target", type=_address, required=True, metavar="HOST:PORT", help="the server")
    add("--seed", type=int, default=0, metavar="N", help="the same one, the same faults (0)")
    for fault, effect in LOSSES.items():
        meaning = f"how probable it is, 0 to 1 a request, that {effect}"
        add(f"--{fault}", type=_probability, dest=fault, default=0.0, metavar="P", help=meaning)
    meaning = "how many milliseconds every request waits before it is forwarded"
    add("--delay-ms", type=number_up_to(600_000), default=0, metavar="N", help=meaning)
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", number_up_to(65_535)(port)


def _probability(text: str) -> float:
    if not re.fullmatch(r"0|1|[01]?\.\d+", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability from 0 to 1")
    return float(text)


def _wait_for_the_end(signals: set[signal.Signals], proxy: ChaosProxy) -> None:
    """Turn the faults off or on with SIGUSR1; return with any other signal."""
    while signal.sigwait(signals) == signal.SIGUSR1:
        switch = proxy.resume if proxy.is_calm else proxy.calm
        switch()
        _print("Faults off." if proxy.is_calm else "Faults on.")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
