"""Serve the project in the foreground: `python -m demo.serve [--storm]`. Ctrl-C ends it all.

This process only supervises the others. They load Django, and it does not, so that it needs little
memory.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys

import environ
import psutil

from demo import distributed
from demo.processes import ROOT, gunicorn, is_free, manage, say, wait_until_ready
from embedded_postgres import server as embedded
from web.arguments import number_up_to

IDLE_SECONDS = 10  # by then the connections that the storm opened are closed
WELCOME = """
Serving until Ctrl-C:
  shop      {url}/               sign in as alice, bob, carol or dave with one click
  lab       {url}/lab/           watch the naive version overcharge beside the safe ones
  admin     {url}/admin/dashboard/    sign in as admin / {password}
  API       {url}/api/v1/        docs: {url}/api/docs/
  customers alice, bob, carol, dave / {password}
  tokens    .venv/bin/python manage.py seed_demo --json
"""
MEMORY = "The web server and the database now hold {} MB of resident memory.\n"


def main() -> int:
    """Set up, serve and, with --storm, click; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="where to listen (8000)")
    parser.add_argument("--storm", action="store_true", help="have impatient customers click first")
    meaning = "orders in each row of the storm (%(default)s)"
    parser.add_argument(
        "--orders", type=number_up_to(10_000), default=20, metavar="N", help=meaning
    )
    meaning = (
        "an order service and a payment service, on this port and the next, and a lossy network"
    )
    parser.add_argument("--distributed", action="store_true", help=meaning)
    chosen = parser.parse_args()
    if (ROOT / ".env").exists():
        environ.Env.read_env(ROOT / ".env")
    serve = distributed.serve if chosen.distributed else _serve
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, interrupt)
    try:
        return serve(chosen.port, storm=chosen.storm, orders=chosen.orders)
    except KeyboardInterrupt:
        say("\nStopped.")
        return 0


def interrupt(number: int, frame: object) -> None:
    """End everything in order, once.

    Of a signal to the whole group a second one arrives, from make: it would come between a process
    and its end, and leave that process behind.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _serve(port: int, *, storm: bool, orders: int) -> int:
    url = f"http://127.0.0.1:{port}"
    if not is_free(port):
        say(f"Port {port} is in use. Choose another one: PORT={port + 1}")
        return 1
    say("Setting up the database …")
    if not os.environ.get("DATABASE_URL"):
        embedded.ensure_running()  # it stops with the last process that called this
    if manage("migrate", "--verbosity", "0") or manage("seed_demo"):
        return 1
    say("Starting the web server …")
    load = ("--orders", str(orders), "--concurrency", "40")
    with gunicorn(port, environment=os.environ) as web:
        wait_until_ready(f"{url}/readyz", web)
        if storm:
            say("Impatient customers click on Pay …")
            if manage("simulate", "double_click", "--contrast", "--base-url", url, *load):
                return 1
        password = os.environ.get("DEMO_PASSWORD", "only-for-the-demo")
        say(WELCOME.format(url=url, password=password))
        with contextlib.suppress(subprocess.TimeoutExpired):
            return web.wait(IDLE_SECONDS)
        say(MEMORY.format(_resident_mb()))
        return web.wait()


def _resident_mb() -> int:
    """Return the memory of this process, its descendants, and the database.

    Linux counts a page that processes share (PostgreSQL's buffers, mostly) in parts that add up to
    one page; elsewhere it counts in each of them.
    """
    roots = [psutil.Process(pid) for pid in (os.getpid(), embedded.postmaster()) if pid]
    sizes: list[int] = []
    for each in {member for root in roots for member in (root, *root.children(recursive=True))}:
        with contextlib.suppress(psutil.Error):  # it has just ended
            memory = each.memory_full_info()
            sizes.append(getattr(memory, "pss", memory.rss))
    return sum(sizes) // 2**20


if __name__ == "__main__":
    sys.exit(main())
