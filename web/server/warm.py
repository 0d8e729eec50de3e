"""A few database sessions that stay open when it is quiet: the next click need not open one.

The first threads of a process work whenever they are idle (`web.server.pool`), so their sessions
are the ones in use. They stay open for long; those of the other threads, which only a storm needs,
are closed after `DATABASE_IDLE_SECONDS`.
"""

import threading
import time
from typing import Any

from django.conf import settings

WARM_THREADS = 2  # of a process
WARM_SECONDS = 3600  # that such a session may be idle, and that it lives

_here = threading.local()


def keep_warm(number: int) -> None:
    """Have this thread's sessions stay open if it is one of the first; called once in a thread."""
    _here.is_warm = number <= WARM_THREADS


def connect_for_long(connection: Any, **_: Any) -> None:
    """Give a warm thread's new session its longer time; behind a pooler sessions are the pooler's.

    A receiver of Django's `connection_created`.
    """
    if not getattr(_here, "is_warm", False) or settings.DATABASE_POOLER:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_session_timeout = '{WARM_SECONDS}s'")
    if connection.close_at is not None:  # None: it is never too old
        connection.close_at = max(connection.close_at, time.monotonic() + WARM_SECONDS)
