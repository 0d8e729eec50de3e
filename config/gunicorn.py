"""How the web server runs: `gunicorn --config config/gunicorn.py`. Values from the environment."""

import os

wsgi_app = "config.wsgi:application"
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
raw_env = ["DATABASE_IDLE_SECONDS=" + os.environ.get("DATABASE_IDLE_SECONDS", "5")]
timeout = 60  # the last line against a database that accepts and never answers
graceful_timeout = 35  # longer than the longest `Prefer: wait`
keepalive = 5
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
errorlog = "-"
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "warning")
control_socket_disable = True
