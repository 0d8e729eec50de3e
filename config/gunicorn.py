"""How the web server runs: `gunicorn --config config/gunicorn.py`. Values from the environment."""

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
try:
    # Checked here, before there are workers: gunicorn would restart those for ever. Not imported:
    # after a reload the workers read them anew.
    settings = runpy.run_path(str(ROOT / "config" / "settings.py"))
except ImproperlyConfigured as error:
    sys.exit(str(error))

env = environ.Env()  # with .env, which the settings have read

wsgi_app = "config.wsgi:application"
bind = f"{env.str('HOST', default='127.0.0.1')}:{env.int('PORT', default=8000)}"
worker_class = "web.server.worker.BufferingWorker"
workers = settings["WEB_WORKERS"]
threads = settings["WEB_THREADS"]
worker_connections = settings["WEB_CONNECTIONS"]
raw_env = [f"DATABASE_IDLE_SECONDS={env.int('DATABASE_IDLE_SECONDS', default=5)}"]
timeout = 60
graceful_timeout = 35  # longer than the longest `Prefer: wait`
keepalive = 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
errorlog = "-"
loglevel = env.str("GUNICORN_LOG_LEVEL", default="warning")
control_socket_disable = True
sendfile = False  # a thread would wait for the client to take the file
# No header of a client's changes path, prefix or scheme. What a proxy forwards: web/proxies.py
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}


# --- The folder that all workers count in (operations/metrics.py): new with every server
COUNTERS = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Make the folder, before a worker imports what counts."""
    folder = tempfile.mkdtemp(prefix="charge-once-metrics-", dir=worker_tmp_dir)
    os.chown(folder, server.cfg.uid, server.cfg.gid)
    os.environ[COUNTERS] = folder


def pre_fork(server: Any, worker: Any) -> None:
    """Make the folder again if it is gone: no worker starts without it."""
    os.makedirs(os.environ[COUNTERS], mode=0o700, exist_ok=True)


def child_exit(server: Any, worker: Any) -> None:
    """Drop an ended worker's requests in flight, and its place; its counts stay."""
    worker.give_place_back()
    # Imported before there is a folder, it would count in this process only.
    from prometheus_client import multiprocess  # noqa: PLC0415

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the folder."""
    shutil.rmtree(os.environ[COUNTERS], ignore_errors=True)
