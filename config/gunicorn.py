"""How the web server runs: `gunicorn --config config/gunicorn.py`. Values from the environment."""

import os
import sys
from pathlib import Path

import environ

env = environ.Env()
if (Path(__file__).parent.parent / ".env").exists():
    env.read_env(Path(__file__).parent.parent / ".env")
if not (env.bool("DEBUG", default=False) or env.str("SECRET_KEY", default="")):
    # Told here, before there are workers: gunicorn would start those again and again.
    sys.exit("SECRET_KEY is not set. Production needs one; a local try sets DEBUG=true instead.")

wsgi_app = "config.wsgi:application"
bind = f"{env.str('HOST', default='127.0.0.1')}:{env.int('PORT', default=8000)}"
worker_class = "gthread"
workers = env.int("WEB_WORKERS", default=2)
threads = env.int("WEB_THREADS", default=16)
raw_env = [f"DATABASE_IDLE_SECONDS={env.int('DATABASE_IDLE_SECONDS', default=5)}"]
timeout = 60
graceful_timeout = 35  # longer than the longest `Prefer: wait`
keepalive = 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
errorlog = "-"
loglevel = env.str("GUNICORN_LOG_LEVEL", default="warning")
control_socket_disable = True
